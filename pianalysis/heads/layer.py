"""One layer: every head measured on draws of a query and a key; the unit that can be stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import ComplexArray, FloatArray, IntArray
from pianalysis.bounds.average import expected_deviation, expected_square
from pianalysis.bounds.interpolation import FORMS
from pianalysis.heads import attention, beyond, cells, sampled, search, sweep
from pianalysis.heads.capture import LayerHeads
from pianalysis.rope.spec import RopeSpec, check_spec

_ROWS = 1024  # draws measured at a time: what bounds the memory
_MOST_DRAWS = 1024


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One layer: the unit that can be stored and combined; it depends on no other layer.

    ``table`` has a value for each head; ``pair_share`` and ``pair_largest``, the largest |h_j| of
    each pair (logits), are (heads, d/2); ``counts`` (quantities, cells) and ``band_counts`` (bands,
    cells) hold what the quantiles over all heads are taken from.
    """

    layer: int
    spec: RopeSpec
    seed: int
    tokens: int
    draws: int
    table: dict[str, FloatArray]
    pair_share: FloatArray
    pair_largest: FloatArray
    counts: IntArray
    band_counts: IntArray

    def arrays(self) -> dict[str, Any]:
        """Return everything as arrays of numbers, exact through npz and JSON."""
        spec = self.spec
        return {
            "setting": np.array([self.layer, self.seed, self.tokens, self.draws]),
            "rope": np.array([spec.head_dim, spec.base, spec.context_window, spec.rotary_fraction]),
            "pair_share": self.pair_share,
            "pair_largest": self.pair_largest,
            "counts": self.counts,
            "band_counts": self.band_counts,
            **{f"table.{name}": column for name, column in self.table.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> LayerStatistics:
        """Return the layer whose ``arrays()`` these are; lists will do."""
        layer, seed, tokens, draws = (int(x) for x in arrays["setting"])
        head_dim, base, window, fraction = (float(x) for x in arrays["rope"])
        names = [name for name in arrays if name.startswith("table.")]
        return cls(
            layer=layer,
            spec=RopeSpec(int(head_dim), base, int(window), fraction),
            seed=seed,
            tokens=tokens,
            draws=draws,
            table={name.removeprefix("table."): np.asarray(arrays[name], float) for name in names},
            pair_share=np.asarray(arrays["pair_share"], float),
            pair_largest=np.asarray(arrays["pair_largest"], float),
            counts=np.asarray(arrays["counts"], np.int64),
            band_counts=np.asarray(arrays["band_counts"], np.int64),
        )


def layer_statistics(heads: LayerHeads, *, seed: int, draws: int = 1) -> LayerStatistics:
    r"""Measure every head of one layer on draws of a query and a key.

    Parameters
    ----------
    heads : LayerHeads
        Queries (heads, tokens, d/2) and keys (key-value heads, tokens, d/2), complex, before
        rotation; query head i reads key-value head i // (heads / key-value heads).
    seed : int
        Head i of layer l draws from the generator seeded with (seed, l, i), so that a layer's
        numbers do not depend on which other layers are measured.
    draws : int
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
    grows linearly with the tokens, 8 L d flops a draw, a thousand draws at a time; what grows with
    their square, the softmax denominators and ``reach``, stays a small share to several thousand.

    *Weights that move*: for a sampled query and key, the key is imagined at span s while all other
    keys of the query's causal context stay where they are; its softmax weight, softcap included, is
    averaged over seeded spans of the range (one in each of 128 equal parts), then over the draws.
    ``mass_own`` is the same at the true span. The causal context is the whole text up to the query,
    also in a layer that itself attends to a sliding window only.

    *After the softmax*: Position Interpolation by 2 with the same q and k, at 64 seeded queries a
    head (:mod:`pianalysis.heads.attention`). ``from_chords``, the total variation between its
    attention and that of logits interpolated between trained spans, lies below
    ``from_chords_bound``; ``from_unextended``, that between its attention and the unextended
    model's, is a measurement which nothing here bounds.

    *On average*: ``rms_...`` are root mean squares over the draws and the drawn spans of a range,
    beside what independent phases with the head's own E|h_j|^2 would give.

    *Not included*: what a partly rotating head adds with its other dimensions, a constant in s.

    *Chord*: at s = n + 1/2, where Position Interpolation by 2 reads the score, with 0 <= n <= L - 2
    drawn for each head. The weighted and corrected bounds hold for every draw; the paper's form is
    not a theorem, and is counted. Beside the draws, every query and causal key of the text is asked
    how far their deviation could reach (``reach``), and the sixteen that reach furthest, each with
    another query, are swept over all half-integers of the window (``found_...``).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rng = np.random.default_rng(0)
    >>> q, k = rng.normal(size=(2, 2, 16, 8)) + 1j * rng.normal(size=(2, 2, 16, 8))
    >>> layer = SimpleNamespace(layer=0, queries=q, keys=k, spec=RopeSpec(16, 100.0, 64),
    ...                         scaling=0.25, softcap=None)
    >>> statistics = layer_statistics(layer, seed=0)
    >>> bool((statistics.table["weighted_ratio"] <= 1.0).all())
    True
    """
    queries, keys = _checked(heads)
    checks.whole("seed", seed, at_least=0)
    checks.whole("draws", draws, at_most=_MOST_DRAWS)
    group = len(queries) // len(keys)
    counts = np.zeros((len(sampled.COUNTED), cells.CELLS), np.int64)
    edges = sampled.band_edges(heads.spec.context_window)
    bands = np.zeros((len(edges) - 1, cells.CELLS), np.int64)
    tables, pairs, furthest = [], [], []
    for index, query in enumerate(queries):
        rng = np.random.default_rng([seed, heads.layer, index])
        key = keys[index // group]
        row, of_pairs = _head(heads, query, key, draws, rng, counts, bands)
        tables.append({"layer": heads.layer, "head": index, **row})
        pairs.append(of_pairs)
        m, n = int(row["beyond_query"]), int(row["beyond_key"])
        furthest.append(heads.scaling * query[m] * key[n].conj())
    table = {name: np.array([row[name] for row in tables], dtype=float) for name in tables[0]}
    table |= beyond.largest(heads.spec, np.array(furthest), table)
    return LayerStatistics(
        layer=heads.layer,
        spec=heads.spec,
        seed=seed,
        tokens=queries.shape[1],
        draws=draws,
        table=table,
        pair_share=np.array([share for share, _ in pairs]),
        pair_largest=np.array([largest for _, largest in pairs]),
        counts=counts,
        band_counts=bands,
    )


def _checked(heads: LayerHeads) -> tuple[ComplexArray, ComplexArray]:
    check_spec(heads.spec)
    if heads.spec.context_window < 2:
        raise ValueError(
            f"context_window must be at least 2 to hold a chord, got {heads.spec.context_window}"
        )
    checks.whole("layer", heads.layer, at_least=0)
    checks.real("scaling", heads.scaling, above=0.0)
    if heads.softcap is not None:
        checks.real("softcap", heads.softcap, above=0.0)
    queries = checks.coefficients(heads.queries, heads.spec.pairs, "queries")
    keys = checks.coefficients(heads.keys, heads.spec.pairs, "keys")
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
    heads: LayerHeads,
    query: ComplexArray,
    key: ComplexArray,
    draws: int,
    rng: np.random.Generator,
    counts: IntArray,
    bands: IntArray,
) -> tuple[dict[str, float], tuple[FloatArray, FloatArray]]:
    """Return one head's row, its pairs' shares and largest |h_j|; add its values to the counts."""
    spec, tokens = heads.spec, len(query)
    spans = sampled.draw_spans(spec.context_window, rng)
    at = np.repeat(np.arange(tokens), draws)
    to = rng.integers(0, at + 1)
    asked = attention.draw_queries(tokens, spec.context_window, rng)
    log_sums = sweep.causal_log_sums(spec, heads.scaling * query, key, heads.softcap)
    blocks: list[dict[str, FloatArray]] = []
    share, moments, largest = np.zeros((3, spec.pairs))
    mass, squares = np.zeros((2, 1 + len(sampled.ENDS)))
    for first in range(0, at.size, _ROWS):
        m, n = at[first : first + _ROWS], to[first : first + _ROWS]
        h = heads.scaling * query[m] * key[n].conj()
        columns = sampled.measure(spec, h, spans.chord)
        counts += cells.counts(np.column_stack([columns[name] for name in sampled.COUNTED]))
        bands += sampled.band_counts(spec, h, spans.bands)
        size = np.abs(h)
        share += sampled.ratio(size.T, columns["total"]).sum(axis=1)
        moments += np.square(size).sum(axis=0)
        largest = np.maximum(largest, size.max(axis=0))
        own = sampled.own_scores(spec, h, (m - n).astype(float))
        scores = sweep.scores(spec, h, spans.mass)
        mass += sampled.moved_weights(own, scores, log_sums[m], heads.softcap).sum(axis=0)
        means = np.column_stack([np.square(own), sampled.range_means(np.square(scores))])
        squares += means.sum(axis=0)
        blocks.append(columns)
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    share, mass = share / at.size, mass / at.size
    slow = spec.wavelengths > spec.context_window
    row = {"base": spec.base, "scaling": heads.scaling, "softcap": heads.softcap or 0.0}
    row |= _row(values, at, to)
    ends = ("own", *sampled.ENDS)
    row |= {f"mass_{end}": value for end, value in zip(ends, mass, strict=True)}
    row |= {f"rms_{end}": math.sqrt(x / at.size) for end, x in zip(ends, squares, strict=True)}
    typical = np.sqrt(moments / at.size)
    row["rms_predicted"] = math.sqrt(float(expected_square(spec, 0.0, typical)))
    row["rms_deviation"] = math.sqrt(values["deviation_square"].mean())
    row["rms_deviation_predicted"] = float(expected_deviation(spec, 0.5, typical))
    moved = attention.shifts(spec, heads.scaling * query, key, asked, heads.softcap)
    row |= attention.row(moved)
    row |= {"main_pair": int(share.argmax()), "main_share": share.max()}
    row["slow_share"] = share[slow].sum()
    row |= search.search(spec, heads.scaling * query, key)
    return row, (share, largest)


def _row(values: Mapping[str, FloatArray], at: IntArray, to: IntArray) -> dict[str, float]:
    """Return the statistics of one head over its draws."""
    row: dict[str, float] = {}
    for name in sampled.COUNTED:
        sample = values[name]
        low = name.startswith("dip")
        row[f"{name}_median"] = np.median(sample)
        row[f"{name}_{'p05' if low else 'p95'}"] = np.quantile(sample, 0.05 if low else 0.95)
        row[f"{name}_{'min' if low else 'max'}"] = sample.min() if low else sample.max()
    for form in FORMS:
        row[f"{form}_violations"] = values[f"{form}_violations"].sum()
        row[f"{form}_ratio"] = sampled.ratio(values["deviation"], values[f"{form}_bound"]).max()
    row["growth_limit"] = values["limit"][values["growth"].argmax()]
    worst = int(sampled.ratio(values["deviation"], values["paper_bound"]).argmax())
    row |= {"witness_query": at[worst], "witness_key": to[worst]}
    row["witness_span"] = values["chord_span"][worst]
    row["witness_deviation"] = values["deviation"][worst]
    row["witness_bound"] = values["paper_bound"][worst]
    furthest = int(values["peak_2"].argmax())
    row |= {"beyond_query": at[furthest], "beyond_key": to[furthest]}
    return row
