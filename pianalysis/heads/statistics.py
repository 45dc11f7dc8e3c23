r"""The bounds measured on real heads: how a checkpoint's scores behave beyond its window.

For draws of a query and a key of every head, the score

.. math:: a(s) = \mathrm{Re} \sum_j h_j e^{i s \theta_j}, \qquad h_j = q_j \bar k_j

(Eq. 3, arXiv:2306.15595) is swept over the spans 0 to 8L - 1: the query and the key stay what they
are, only their distance changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray, IntArray
from pianalysis.heads import cells, sweep
from pianalysis.heads.layer import LayerStatistics, layer_statistics
from pianalysis.heads.sampled import BAND_SPANS, CHORD_SPANS, COUNTED, MASS_SPANS, band_edges
from pianalysis.records import Record

__all__ = [
    "HeadStatistics",
    "HeadTable",
    "LayerStatistics",
    "Quantiles",
    "ScoreBands",
    "combine",
    "layer_statistics",
]

LEVELS = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}

MEANINGS = {
    "coefficient": "max_j |h_j|, logits",
    "total": "sum_j |h_j|, logits",
    "cancellation": "sum_j |h_j| over max |a(n)|, n < L",
    "peak_K": "max a(s) over the integers of the range that ends at K L, logits",
    "dip_K": "min a(s) over the integers of the range that ends at K L, logits",
    "excess_K": "peak_K - peak_1, logits",
    "deviation": "max |a - chord| at the half-integer spans drawn, logits",
    "FORM_bound": "bound of that form on the deviation, logits",
    "FORM_violations": "how many of (pair, span) lie above the bound",
    "FORM_ratio": "largest deviation / bound",
    "witness": "the pair and span of the largest deviation / paper_bound",
    "reach": "largest of sum_j 2 sin^2(theta_j/4) |h_j| over paper_bound, all causal pairs",
    "reach_above": "how many causal pairs have it above 1",
    "found": "the pair and span of the largest deviation / paper_bound found among those pairs",
    "limit": "max_j |h_j| over max |a(n)|, n < L: the H of the worst case",
    "growth": "max |a(s)|, L <= s < 8L, over max |a(n)|, n < L",
    "growth_limit": "limit of the pair with the largest growth",
    "mass_own": "mean softmax weight of the sampled key at its true span",
    "mass_K": "mean softmax weight of the same key at the spans of the range that ends at K L",
    "main_pair": "pair index j with the largest mean share of sum |h|, and that share",
    "slow_share": "mean share of sum |h| on pairs with a wavelength above L",
    "softcap": "of the logits, 0 for none; enters mass_K and what stands after the softmax",
    "beyond": "the pair and span of the largest a(s), L <= s < 2L, and that score, logits",
    "ceiling": "closed-form worst case at that span under the head's own limits: |a(n)| at most "
    "max(-dip_1_min, peak_1_max) for n < L, |h_j| at most coefficient_max; logits",
    "rms_own": "root mean square of a at the true spans, logits",
    "rms_K": "the same at the drawn spans of the range that ends at K L",
    "rms_predicted": "what independent phases give at every span: (sum_j E|h_j|^2 / 2)^(1/2)",
    "rms_deviation": "root mean square of a - chord at the half-integer spans drawn, logits",
    "rms_deviation_predicted": "what independent phases give for it",
    "logit_move": "largest |PI's logit - logit on the chord| of a query, PI by 2",
    "delta_FORM": "largest bound of that form on it over the query's keys, logits",
    "from_chords": "total variation: PI's attention against that of logits on the chords between "
    "trained spans; bounded",
    "from_chords_bound": "tanh(delta_magnitude / 2), above from_chords",
    "from_chords_weighted_bound": "tanh(delta_weighted / 2), above both",
    "from_chords_ratio": "largest from_chords / from_chords_bound",
    "from_unextended": "total variation: PI's attention against the unextended model's; "
    "measured, no bound holds for it",
}


@dataclass(frozen=True, slots=True)
class HeadTable(Record):
    """A record whose columns are those of ``table``, a row for each layer and head."""

    table: dict[str, FloatArray]

    def columns(self) -> dict[str, Any]:
        """Return the table: column name -> values."""
        return {name: column.tolist() for name, column in self.table.items()}

    def summary(self) -> dict[str, Any]:
        """Return every field but the table, ready for JSON, and the sha256 of the table's CSV.

        Table and inputs lie in two files: the digest tells whether they still belong together.
        """
        fields = {name: value for name, value in Record.summary(self).items() if name != "table"}
        return {**fields, "table_sha256": hashlib.sha256(self.csv().encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Quantiles(Record):
    """Quantiles over the draws of all heads; ``extreme`` is the largest, of dips the least.

    The extreme is exact, the quantiles are those of counts on a grid of the stated resolution.
    """

    resolution: str
    quantity: tuple[str, ...]
    p05: FloatArray
    p25: FloatArray
    median: FloatArray
    p75: FloatArray
    p95: FloatArray
    extreme: FloatArray


@dataclass(frozen=True, slots=True)
class ScoreBands(Record):
    """Quantiles of the signed score, logits, at spans ``first`` to ``last`` (tokens, inclusive)."""

    context_window: int
    resolution: str
    first: FloatArray
    last: FloatArray
    p05: FloatArray
    p25: FloatArray
    median: FloatArray
    p75: FloatArray
    p95: FloatArray


@dataclass(frozen=True, slots=True)
class HeadStatistics(HeadTable):
    """Every head of a checkpoint: ``table`` has the columns, a row for each layer and head.

    ``meanings`` says what each column is; a suffix _median, _p95, _max (of dips _median, _p05,
    _min) names the statistic over the head's draws, after the softmax over its drawn queries.
    ``pair_share`` and ``pair_largest`` are (heads, d/2).
    """

    context_window: int
    rotary_dim: int
    seed: int
    tokens: int
    pairs: int  # draws a query and head, by the name that committed records have for them
    chord_spans: int
    mass_spans: int
    band_spans: int
    ranges: tuple[tuple[int, int], ...]
    meanings: dict[str, str]
    pair_share: FloatArray
    pair_largest: FloatArray
    overall: Quantiles
    bands: ScoreBands


def combine(layers: Iterable[LayerStatistics]) -> HeadStatistics:
    """Return the statistics of a checkpoint from those of its layers, in the order of the layers.

    Raises
    ------
    ValueError
        No layer, one twice, or layers measured with other settings.
    """
    parts = sorted(layers, key=lambda part: part.layer)
    if not parts:
        raise ValueError("layers must hold at least one layer, got none")
    numbers = [part.layer for part in parts]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"layers must differ, got {numbers}")
    settings = {
        (p.spec.context_window, p.spec.rotary_dim, p.seed, p.tokens, p.draws) for p in parts
    }
    if len(settings) > 1:
        raise ValueError(
            "layers must share context_window, rotary dimension, seed, tokens and draws, "
            f"got {sorted(settings)}"
        )
    window, rotary_dim, seed, tokens, draws = settings.pop()
    table = {name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table}
    return HeadStatistics(
        table=table,
        context_window=window,
        rotary_dim=rotary_dim,
        seed=seed,
        tokens=tokens,
        pairs=draws,
        chord_spans=CHORD_SPANS,
        mass_spans=MASS_SPANS,
        band_spans=BAND_SPANS,
        ranges=sweep.RANGES,
        meanings=MEANINGS,
        pair_share=np.concatenate([part.pair_share for part in parts]),
        pair_largest=np.concatenate([part.pair_largest for part in parts]),
        overall=_overall(np.sum([part.counts for part in parts], axis=0), table),
        bands=_bands(np.sum([part.band_counts for part in parts], axis=0), window),
    )


def _overall(counts: IntArray, table: Mapping[str, FloatArray]) -> Quantiles:
    extreme = [
        table[f"{name}_min"].min() if name.startswith("dip") else table[f"{name}_max"].max()
        for name in COUNTED
    ]
    return Quantiles(
        resolution=cells.RESOLUTION,
        quantity=COUNTED,
        extreme=np.array(extreme),
        **_levels(counts),
    )


def _bands(counts: IntArray, window: int) -> ScoreBands:
    edges = band_edges(window)
    return ScoreBands(
        context_window=window,
        resolution=cells.RESOLUTION,
        first=edges[:-1],
        last=edges[1:] - 1.0,
        **_levels(counts),
    )


def _levels(counts: IntArray) -> dict[str, FloatArray]:
    values = cells.quantiles(counts, tuple(LEVELS.values())).T
    return dict(zip(LEVELS, values, strict=True))
