r"""One pipeline on one model beside the truth: float64 with its error bound, and balls.

The truth is :math:`n \theta'_j` of the exact frequencies, or of the 106-bit ones where a scheme has
no closed form. Computed numbers are binary fractions, so only the truth and cos, sin and arctangent
are ever rounded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pianalysis import checks
from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.extension import Extension
from pianalysis.precision import formats as low
from pianalysis.rope import phases
from pianalysis.rope.balls import exact_frequencies, unit
from pianalysis.rope.spec import RopeSpec

# Bounds on what float64 adds to a phase error (absolute, and as a share of it) and to a score
# error: a lag rounds by 2**-51 of itself, cos, sin and arctangent by a few units of 1e-16.
PHASE_SLACK = 1e-14
SCORE_SLACK = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class Emulation:
    """The frequencies a pipeline holds, and every number it makes of them."""

    model: RopeSpec | Extension
    pipeline: low.Pipeline
    buffer: low.Float32Array

    @property
    def cast(self) -> float:
        """The most that rounding cos and sin may turn a pair, in radians.

        Each is off by the roundings of float64's to float32, of cos, of its product with the
        attention factor, and of the cast; the angle is at most sqrt(2) times all, and a little.
        """
        steps = (low.UNIT_ROUNDOFF[form] for form in (self.pipeline.phases,) * 2)
        last = low.UNIT_ROUNDOFF[self.pipeline.rotations]
        return 1.6 * (sum(steps) + last + 2.0 * low.UNIT_ROUNDOFF["float32"])

    def lags(self, n: FloatArray, pairs: Any) -> tuple[FloatArray, FloatArray]:
        """Return the computed phases, and what they are ahead of n theta'; inf where overflowed."""
        computed = low.computed_phases(n, self.buffer[pairs], self.pipeline).astype(np.float64)
        computed[~np.isfinite(computed)] = np.inf
        theta, tail = self.model.frequencies[pairs], self.model.frequencies_tail[pairs]
        return computed, phases.phase_lags(computed, n, theta, tail)

    def rotations(self, phases: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (cos, sin) that the pipeline makes of its phases."""
        gain = float(self.model.attention_factor)
        cosine, sine = low.computed_rotations(np.cos(phases), np.sin(phases), gain, self.pipeline)
        return cosine.astype(np.float64), sine.astype(np.float64)

    def turned(self, phases: FloatArray) -> FloatArray:
        """Return the angle from e^{i phase} to the computed (cos, sin), in radians."""
        c, s = self.rotations(phases)
        cosine, sine = np.cos(phases), np.sin(phases)
        angle: FloatArray = np.arctan2(s * cosine - c * sine, c * cosine + s * sine)
        return angle

    def caps(self, n: float) -> FloatArray:
        """Return a bound on the phase error of each pair at every position up to ``n``."""
        held = self.buffer.astype(np.float64)
        furthest = n * np.maximum(held, self.model.frequencies)
        steps = low.UNIT_ROUNDOFF[self.pipeline.phases]
        off = n * np.abs(held - self.model.frequencies)
        caps = off + 2.1 * steps * furthest + low.SMALLEST_FLOAT16 + self.cast
        if self.pipeline.phases == "float16":
            caps[np.maximum(furthest, n) > low.LARGEST_FLOAT16] = np.inf
        return caps

    def errors(self, n: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
        """Return the largest phase error, its pair, and the score error at each position."""
        phases, lags = self.lags(n[:, None], slice(None))
        overflowed = ~np.isfinite(phases).all(axis=1)
        phases[overflowed], lags[overflowed] = 0.0, 0.0
        # Only a pair that the cast of cos and sin can still make the largest needs its angle.
        floor = np.abs(lags).max(axis=1, keepdims=True) - 2.0 * self.cast
        close = np.abs(lags) >= floor
        sizes = np.zeros_like(lags)
        sizes[close] = np.abs(lags[close] + self.turned(phases[close]))
        pair = sizes.argmax(axis=1)
        largest = np.take_along_axis(sizes, pair[:, None], axis=1)[:, 0]
        score = self._score_errors(n, phases)
        largest[overflowed] = score[overflowed] = np.inf
        return largest, pair, score

    def _score_errors(self, n: FloatArray, phases: FloatArray) -> FloatArray:
        c, s = self.rotations(phases)
        origin, _ = self.rotations(np.zeros(1))
        gain = float(self.model.attention_factor) ** 2
        true = gain * _true_rotations(self.model, n)
        gap = np.hypot(c * origin - true.real, s * origin - true.imag)
        score: FloatArray = gap.mean(axis=1) / gain
        return score

    def phase_ball(self, n: int, pair: int) -> Any:
        """Return the phase error of one pair at one position as an Arb ball."""
        import flint

        phases, _ = self.lags(np.array([float(n)]), [pair])
        c, s = self.rotations(phases)
        phase = flint.arb(float(phases[0]))
        angle = (flint.acb(float(c[0]), float(s[0])) * unit(-phase)).arg()
        return abs(phase - n * exact_frequencies(self.model)[pair] + angle)

    def score_ball(self, n: int) -> Any:
        """Return the score error at one position as an Arb ball."""
        import flint

        phases, _ = self.lags(np.array([float(n)])[:, None], slice(None))
        c, s = self.rotations(phases[0])
        origin = flint.arb(float(self.rotations(np.zeros(1))[0][0]))
        gain = flint.arb(float(self.model.attention_factor)) ** 2
        total = flint.arb(0)
        for x, y, theta in zip(c, s, exact_frequencies(self.model), strict=True):
            total += abs(origin * flint.acb(float(x), float(y)) - gain * unit(n * theta))
        return total / (gain * self.buffer.size)


def _true_rotations(model: RopeSpec | Extension, n: FloatArray) -> ComplexArray:
    """Return e^{i n theta'}: for consecutive positions, those from 0 turned by the first."""
    if n.size < 2 or not np.array_equal(n, n[0] + np.arange(n.size)):
        return phases.rotations(model, n)
    start: ComplexArray = phases.rotations(model, n[:1])
    return start * _from_zero(model, n.size)


@lru_cache(maxsize=2)
def _from_zero(model: RopeSpec | Extension, count: int) -> ComplexArray:
    return phases.rotations(model, np.arange(float(count)))


def emulation(model: RopeSpec | Extension, pipeline: str) -> Emulation:
    """Return a named pipeline on a model."""
    if not isinstance(model, (RopeSpec, Extension)):
        raise TypeError(f"model must be a RopeSpec or an extension, got {model!r}")
    chosen = low.PIPELINES[checks.choice("pipeline", pipeline, low.PIPELINES)]
    return Emulation(model, chosen, low.frequency_buffer(model, chosen))
