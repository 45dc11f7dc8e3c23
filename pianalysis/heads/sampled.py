r"""What one block of draws of a head shows: extremes, chord deviations, moved weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray, IntArray
from pianalysis.bounds.interpolation import FORMS, interpolation_bound
from pianalysis.heads import cells, sweep
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec

CHORD_SPANS = 64  # half-integer spans drawn for each head
MASS_SPANS = 128  # spans drawn for each head and range, one in each of as many equal parts
BAND_SPANS = 4  # spans drawn for each head and band
_BANDS_PER_OCTAVE = 4
_FURTHEST = sweep.RANGES[-1][1]
_LARGEST_EXPONENT = 700.0  # e^700 is near the end of float64; a weight below e^-700 is 0

# The columns whose values are counted over all heads, for their quantiles.
ENDS = tuple(last for _, last in sweep.RANGES)
COUNTED = (
    "coefficient",
    "total",
    "cancellation",
    *(f"peak_{end}" for end in ENDS),
    *(f"dip_{end}" for end in ENDS),
    *(f"excess_{end}" for end in ENDS[1:]),
    "deviation",
    *(f"{form}_bound" for form in FORMS),
    "limit",
    "growth",
)


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans drawn for one head, shared by all its draws."""

    chord: FloatArray
    mass: FloatArray
    bands: FloatArray


def band_edges(window: int) -> FloatArray:
    """Return the edges of the span bands in tokens: 1 to 8 L, four an octave, L among them."""
    octaves = int(np.log2(window))
    steps = np.arange(-octaves * _BANDS_PER_OCTAVE, int(np.log2(_FURTHEST)) * _BANDS_PER_OCTAVE + 1)
    edges = np.rint(window * 2.0 ** (steps / _BANDS_PER_OCTAVE))
    return np.unique(np.concatenate([[1.0], edges]))


def draw_spans(window: int, rng: np.random.Generator) -> Spans:
    """Draw the spans of one head."""
    chord = rng.integers(0, window - 1, CHORD_SPANS).astype(np.float64) + 0.5
    mass: list[FloatArray] = []
    for first, last in sweep.RANGES:
        step = (last - first) * window / MASS_SPANS
        drawn = first * window + step * (np.arange(MASS_SPANS) + rng.random(MASS_SPANS))
        mass.append(np.minimum(np.floor(drawn), last * window - 1.0))
    edges = band_edges(window).astype(np.int64)
    bands = rng.integers(edges[:-1, None], edges[1:, None], (len(edges) - 1, BAND_SPANS))
    return Spans(chord, np.concatenate(mass), bands.ravel().astype(float))


def measure(spec: RopeSpec, h: ComplexArray, chord_spans: FloatArray) -> dict[str, FloatArray]:
    r"""Return the columns of a block of draws, h (rows, d/2) in logits."""
    size = np.abs(h)
    high, low = sweep.score_extremes(spec, h)
    inside = np.maximum(high[:, 0], -low[:, 0])
    outside = np.maximum(high[:, 1:].max(axis=1), -low[:, 1:].min(axis=1))
    columns = {"coefficient": size.max(axis=1), "total": size.sum(axis=1)}
    columns["cancellation"] = ratio(columns["total"], inside)
    for index, end in enumerate(ENDS):
        columns[f"peak_{end}"], columns[f"dip_{end}"] = high[:, index], low[:, index]
        if index:
            columns[f"excess_{end}"] = high[:, index] - high[:, 0]
    gaps = np.abs(sweep.scores(spec, h * half_bend(spec), chord_spans))
    columns["deviation"] = gaps.max(axis=1)
    columns["deviation_square"] = np.square(gaps).mean(axis=1)
    columns["chord_span"] = chord_spans[gaps.argmax(axis=1)]
    for form in FORMS:
        bound = interpolation_bound(spec, 0.5, h, form=form)
        columns[f"{form}_bound"] = bound
        columns[f"{form}_violations"] = (gaps > bound[:, None] * (1.0 + 1e-12)).sum(axis=1)
    columns["limit"] = ratio(columns["coefficient"], inside)
    columns["growth"] = ratio(outside, inside)
    return columns


def half_bend(spec: RopeSpec) -> FloatArray:
    r"""Return 2 sin^2(theta_j / 4), which turns a score into its deviation from the chord.

    In closed form, without cancellation:

    .. math:: a(n + \tfrac12) - \tfrac12 (a(n) + a(n+1))
              = \mathrm{Re} \sum_j 2 \sin^2(\theta_j / 4) \, h_j e^{i (n + 1/2) \theta_j}
    """
    return 2.0 * np.sin(spec.frequencies / 4.0) ** 2


def moved_weights(
    own: FloatArray, scores: FloatArray, log_sum: FloatArray, softcap: float | None
) -> FloatArray:
    r"""Return each draw's softmax weight at its true span and averaged over each range, (rows, 5).

    With w the weight at the true span and log Z the log-sum-exp of all causal logits of the query,
    the other keys hold (1 - w) Z, and at span s the key has the weight
    :math:`e^{l(s)} / ((1 - w) Z + e^{l(s)})`. ``own`` (rows,) are the scores at the true spans,
    ``scores`` (rows, spans) those at the drawn ones.
    """
    kept = np.exp(np.minimum(capped(own, softcap) - log_sum, 0.0))
    away = np.minimum(log_sum[:, None] - capped(scores, softcap), _LARGEST_EXPONENT)
    weight = 1.0 / (1.0 + (1.0 - kept)[:, None] * np.exp(away))
    return np.column_stack([kept, range_means(weight)])


def own_scores(spec: RopeSpec, h: ComplexArray, spans: FloatArray) -> FloatArray:
    """Return a(s) of each row at its own span, (rows,)."""
    out: FloatArray = (h * phases.rotations(spec, spans)).real.sum(axis=1)
    return out


def range_means(values: FloatArray) -> FloatArray:
    """Return the mean over the drawn spans of each range, (rows, 4)."""
    out: FloatArray = values.reshape(len(values), len(sweep.RANGES), MASS_SPANS).mean(axis=2)
    return out


def capped(logits: FloatArray, softcap: float | None) -> FloatArray:
    """Return the logits after the softcap, where a layer has one."""
    return logits if softcap is None else softcap * np.tanh(logits / softcap)


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return top / bottom, and 0 where bottom is 0: a pair whose h vanishes has no ratio."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0.0)


def band_counts(spec: RopeSpec, h: ComplexArray, spans: FloatArray) -> IntArray:
    """Count the scores at the spans of each band: (bands, cells)."""
    scores = sweep.scores(spec, h, spans).reshape(len(h), -1, BAND_SPANS)
    return cells.counts(scores.transpose(0, 2, 1).reshape(-1, scores.shape[1]))
