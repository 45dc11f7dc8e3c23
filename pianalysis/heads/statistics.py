r"""The bounds measured on real heads: how a checkpoint's scores behave beyond its window.

From sampled query-key pairs of every head, :math:`a(s) = \mathrm{Re} \sum_j h_j e^{i s \theta_j}`
with :math:`h_j = q_j \bar k_j` (Eq. 3, arXiv:2306.15595) is swept over the spans 0 to 8L - 1: the
query and the key stay what they are, only their distance changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from pianalysis import _validate
from pianalysis._validate import ComplexArray, FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.heads import _cells, _pairs, _sweep
from pianalysis.heads._cells import IntArray
from pianalysis.records import Record
from pianalysis.rope import RopeSpec, check_spec

_ROWS = 1024  # pairs measured at a time: what bounds the memory
_MOST_PAIRS = 1024
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
    "limit": "max_j |h_j| over max |a(n)|, n < L: the H of the worst case",
    "growth": "max |a(s)|, L <= s < 8L, over max |a(n)|, n < L",
    "growth_limit": "limit of the pair with the largest growth",
    "mass_own": "mean softmax weight of the sampled key at its true span",
    "mass_K": "mean softmax weight of the same key at the spans of the range that ends at K L",
    "main_pair": "pair index j with the largest mean share of sum |h|, and that share",
    "slow_share": "mean share of sum |h| on pairs with a wavelength above L",
    "softcap": "of the logits, 0 for none; enters mass_K only",
}


class Heads(Protocol):
    """What the statistics need of one layer: queries and keys before rotation, as complex pairs."""

    @property
    def layer(self) -> int: ...
    @property
    def queries(self) -> ComplexArray: ...
    @property
    def keys(self) -> ComplexArray: ...
    @property
    def spec(self) -> RopeSpec: ...
    @property
    def scaling(self) -> float: ...
    @property
    def softcap(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One layer: the unit that can be stored and combined; it depends on no other layer.

    ``table`` has a value for each head; ``pair_share`` is (heads, d/2); ``counts`` (quantities,
    cells) and ``band_counts`` (bands, cells) hold what the quantiles over all heads are taken from.
    """

    layer: int
    spec: RopeSpec
    seed: int
    tokens: int
    pairs: int
    table: dict[str, FloatArray]
    pair_share: FloatArray
    counts: IntArray
    band_counts: IntArray

    def arrays(self) -> dict[str, Any]:
        """Return everything as arrays of numbers, exact through npz and JSON."""
        spec = self.spec
        return {
            "setting": np.array([self.layer, self.seed, self.tokens, self.pairs]),
            "rope": np.array([spec.head_dim, spec.base, spec.context_window, spec.rotary_fraction]),
            **{name: getattr(self, name) for name in ("pair_share", "counts", "band_counts")},
            **{f"table.{name}": column for name, column in self.table.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> LayerStatistics:
        """Return the layer whose ``arrays()`` these are; lists will do."""
        layer, seed, tokens, pairs = (int(x) for x in arrays["setting"])
        head_dim, base, window, fraction = (float(x) for x in arrays["rope"])
        names = [name for name in arrays if name.startswith("table.")]
        return cls(
            layer,
            RopeSpec(int(head_dim), base, int(window), fraction),
            *(seed, tokens, pairs),
            {name.removeprefix("table."): np.asarray(arrays[name], float) for name in names},
            np.asarray(arrays["pair_share"], float),
            np.asarray(arrays["counts"], np.int64),
            np.asarray(arrays["band_counts"], np.int64),
        )


@dataclass(frozen=True, slots=True)
class Quantiles(Record):
    """Quantiles over the sampled pairs of all heads; ``extreme`` is the largest, of dips the least.

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
class HeadStatistics(Record):
    """Every head of a checkpoint: ``table`` has the columns, a row for each layer and head.

    ``meanings`` says what each column is; a suffix _median, _p95, _max (of dips _median, _p05,
    _min) names the statistic over the head's pairs. ``pair_share`` is (heads, d/2).
    """

    context_window: int
    rotary_dim: int
    seed: int
    tokens: int
    pairs: int
    chord_spans: int
    mass_spans: int
    band_spans: int
    ranges: tuple[tuple[int, int], ...]
    meanings: dict[str, str]
    table: dict[str, FloatArray]
    pair_share: FloatArray
    overall: Quantiles
    bands: ScoreBands

    def columns(self) -> dict[str, Any]:
        """Return the table: column name -> values."""
        return {name: column.tolist() for name, column in self.table.items()}

    def summary(self) -> dict[str, Any]:
        """Return every field but the table, ready for JSON."""
        return {name: value for name, value in Record.summary(self).items() if name != "table"}


def layer_statistics(heads: Heads, *, seed: int, pairs: int = 1) -> LayerStatistics:
    r"""Measure every head of one layer on sampled query-key pairs.

    Parameters
    ----------
    heads : LayerHeads
        Queries (heads, tokens, d/2) and keys (key-value heads, tokens, d/2), complex, before
        rotation; query head i reads key-value head i // (heads / key-value heads).
    seed : int
        Head i of layer l draws from the generator seeded with (seed, l, i), so that a layer's
        numbers do not depend on which other layers are measured.
    pairs : int
        Keys drawn for each query position m and head, uniformly from the positions 0..m.

    Returns
    -------
    LayerStatistics. Logits are a(s) times the layer's scaling, before the softcap.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: shapes that do not fit, NaN, a window shorter than 2.

    Notes
    -----
    *Spans*: [0, L), [L, 2L), [2L, 4L), [4L, 8L), every integer of each, in float64: extremes are
    within about d eps sum|h_j| of the true ones, the same bytes for any number of threads. Work
    and time grow linearly with the tokens (but for the softmax denominators, a small share), 8 L d
    flops a pair; pairs are measured a thousand at a time.

    *Weights that move*: for a sampled query and key, the key is imagined at span s while all other
    keys of the query's causal context stay where they are; its softmax weight, softcap included, is
    averaged over seeded spans of the range (one in each of 128 equal parts), then over the pairs.
    ``mass_own`` is the same at the true span. The causal context is the whole text up to the query,
    also in a layer that itself attends to a sliding window only.

    *Not included*: what a partly rotating head adds with its other dimensions, a constant in s.

    *Chord*: at s = n + 1/2, where Position Interpolation by 2 reads the score, with 0 <= n <= L - 2
    drawn for each head. The weighted and corrected bounds hold for every pair; the paper's form is
    not a theorem, and is counted.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rng = np.random.default_rng(0)
    >>> q, k = rng.normal(size=(2, 2, 16, 8)) + 1j * rng.normal(size=(2, 2, 16, 8))
    >>> layer = SimpleNamespace(layer=0, queries=q, keys=k, spec=RopeSpec(16, 100.0, 64),
    ...                         scaling=0.25, softcap=None)
    >>> found = layer_statistics(layer, seed=0)
    >>> bool((found.table["weighted_ratio"] <= 1.0).all())
    True
    """
    queries, keys = _checked(heads)
    _validate.whole("seed", seed, at_least=0)
    _validate.whole("pairs", pairs, at_most=_MOST_PAIRS)
    group = len(queries) // len(keys)
    counts = np.zeros((len(_pairs.COUNTED), _cells.CELLS), np.int64)
    bands = np.zeros((len(_pairs.band_edges(heads.spec.context_window)) - 1, _cells.CELLS), np.int64)
    tables, shares = [], []
    for index, query in enumerate(queries):
        rng = np.random.default_rng([seed, heads.layer, index])
        row, share = _head(heads, query, keys[index // group], pairs, rng, counts, bands)
        tables.append({"layer": heads.layer, "head": index, **row})
        shares.append(share)
    table = {name: np.array([row[name] for row in tables], dtype=float) for name in tables[0]}
    return LayerStatistics(
        *(heads.layer, heads.spec, seed, queries.shape[1], pairs),
        *(table, np.array(shares), counts, bands),
    )


def _checked(heads: Heads) -> tuple[ComplexArray, ComplexArray]:
    check_spec(heads.spec)
    if heads.spec.context_window < 2:
        raise ValueError(
            f"context_window must be at least 2 to hold a chord, got {heads.spec.context_window}"
        )
    _validate.whole("layer", heads.layer, at_least=0)
    _validate.real("scaling", heads.scaling, above=0.0)
    if heads.softcap is not None:
        _validate.real("softcap", heads.softcap, above=0.0)
    queries = _validate.coefficients(heads.queries, heads.spec.pairs, "queries")
    keys = _validate.coefficients(heads.keys, heads.spec.pairs, "keys")
    if queries.ndim != 3 or keys.ndim != 3 or 0 in queries.shape or 0 in keys.shape:
        raise ValueError(
            "queries and keys must have shape (heads, tokens, d/2), none of them 0, "
            f"got {queries.shape} and {keys.shape}"
        )
    if queries.shape[1] != keys.shape[1] or len(queries) % len(keys):
        raise ValueError(
            "queries and keys must have the same tokens, and query heads a multiple of key-value "
            f"heads, got {queries.shape} and {keys.shape}"
        )
    return queries, keys


def _head(
    heads: Heads,
    query: ComplexArray,
    key: ComplexArray,
    pairs: int,
    rng: np.random.Generator,
    counts: IntArray,
    bands: IntArray,
) -> tuple[dict[str, float], FloatArray]:
    """Return one head's row and pair shares; add its values to the counts."""
    spec, tokens = heads.spec, len(query)
    spans = _pairs.draw_spans(spec.context_window, rng)
    at = np.repeat(np.arange(tokens), pairs)
    to = rng.integers(0, at + 1)
    log_sums = _sweep.causal_log_sums(spec, heads.scaling * query, key, heads.softcap)
    blocks: list[dict[str, FloatArray]] = []
    share, mass = np.zeros(spec.pairs), np.zeros(1 + len(_pairs.ENDS))
    for first in range(0, at.size, _ROWS):
        m, n = at[first : first + _ROWS], to[first : first + _ROWS]
        h = heads.scaling * query[m] * key[n].conj()
        columns = _pairs.measure(spec, h, spans.chord)
        counts += _cells.counts(np.column_stack([columns[name] for name in _pairs.COUNTED]))
        bands += _pairs.band_counts(spec, h, spans.bands)
        share += _pairs.ratio(np.abs(h).T, columns["total"]).sum(axis=1)
        mass += _pairs.moved_weights(
            spec, h, (m - n).astype(float), log_sums[m], spans.mass, heads.softcap
        ).sum(axis=0)
        blocks.append(columns)
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    share, mass = share / at.size, mass / at.size
    slow = spec.wavelengths > spec.context_window
    row = {"base": spec.base, "scaling": heads.scaling, "softcap": heads.softcap or 0.0}
    row |= _row(values, at, to)
    row |= dict(zip(("mass_own", *(f"mass_{end}" for end in _pairs.ENDS)), mass, strict=True))
    row |= {"main_pair": int(share.argmax()), "main_share": share.max()}
    row["slow_share"] = share[slow].sum()
    return row, share


def _row(values: Mapping[str, FloatArray], at: IntArray, to: IntArray) -> dict[str, float]:
    """Return the statistics of one head over its pairs."""
    row: dict[str, float] = {}
    for name in _pairs.COUNTED:
        sample = values[name]
        low = name.startswith("dip")
        row[f"{name}_median"] = np.median(sample)
        row[f"{name}_{'p05' if low else 'p95'}"] = np.quantile(sample, 0.05 if low else 0.95)
        row[f"{name}_{'min' if low else 'max'}"] = sample.min() if low else sample.max()
    for form in FORMS:
        row[f"{form}_violations"] = values[f"{form}_violations"].sum()
        row[f"{form}_ratio"] = _pairs.ratio(values["deviation"], values[f"{form}_bound"]).max()
    row["growth_limit"] = values["limit"][values["growth"].argmax()]
    worst = int(_pairs.ratio(values["deviation"], values["paper_bound"]).argmax())
    row |= {"witness_query": at[worst], "witness_key": to[worst]}
    row["witness_span"] = values["chord_span"][worst]
    row["witness_deviation"] = values["deviation"][worst]
    row["witness_bound"] = values["paper_bound"][worst]
    return row


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
        (p.spec.context_window, p.spec.rotary_dim, p.seed, p.tokens, p.pairs) for p in parts
    }
    if len(settings) > 1:
        raise ValueError(
            "layers must share context_window, rotary dimension, seed, tokens and pairs, "
            f"got {sorted(settings)}"
        )
    window, rotary_dim, seed, tokens, pairs = settings.pop()
    table = {
        name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table
    }
    return HeadStatistics(
        *(window, rotary_dim, seed, tokens, pairs),
        *(_pairs.CHORD_SPANS, _pairs.MASS_SPANS, _pairs.BAND_SPANS, _sweep.RANGES, MEANINGS),
        *(table, np.concatenate([part.pair_share for part in parts])),
        _overall(np.sum([part.counts for part in parts], axis=0), table),
        _bands(np.sum([part.band_counts for part in parts], axis=0), window),
    )


def _overall(counts: IntArray, table: Mapping[str, FloatArray]) -> Quantiles:
    levels = _cells.quantiles(counts, tuple(LEVELS.values())).T
    extreme = [
        table[f"{name}_min"].min() if name.startswith("dip") else table[f"{name}_max"].max()
        for name in _pairs.COUNTED
    ]
    return Quantiles(_cells.RESOLUTION, _pairs.COUNTED, *levels, np.array(extreme))


def _bands(counts: IntArray, window: int) -> ScoreBands:
    edges = _pairs.band_edges(window)
    levels = _cells.quantiles(counts, tuple(LEVELS.values())).T
    return ScoreBands(window, _cells.RESOLUTION, edges[:-1], edges[1:] - 1.0, *levels)
