r"""The arithmetic in which libraries compute RoPE, reproduced bit for bit in NumPy.

Three roundings matter: of the frequencies (the ``inv_freq`` buffer), of positions and their product
with the frequencies (the phases), and of cos and sin. bfloat16 and float16 numbers are float32
numbers too, so every array here is float32 and rounded after each operation. A product of two
bfloat16 or two float16 numbers is exact in float32: rounding it once more rounds it correctly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pianalysis.arrays import FloatArray
from pianalysis.extension import Extension
from pianalysis.extension.base import pretrained
from pianalysis.rope.spec import RopeSpec

Float32Array = npt.NDArray[np.float32]

# Half the distance from 1 to the next number: the largest relative error of one rounding.
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
LARGEST_FLOAT16 = 65504.0
SMALLEST_FLOAT16 = 2.0**-24  # subnormal: below it float16 has nothing but 0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The number formats of one way to compute RoPE."""

    frequencies: str
    phases: str  # positions, their product with the frequencies, cos and sin of it
    rotations: str  # what cos and sin are cast to at the end


PIPELINES: dict[str, Pipeline] = {
    "float32": Pipeline("float32", "float32", "float32"),
    # What transformers does today: only the rotation is cast to the model's own format.
    "float32-then-bfloat16": Pipeline("float32", "float32", "bfloat16"),
    "float32-then-float16": Pipeline("float32", "float32", "float16"),
    # model.to(bfloat16) also casts the buffer; the product in float32 comes too late.
    "bfloat16-frequencies": Pipeline("bfloat16", "float32", "float32"),
    "bfloat16": Pipeline("bfloat16", "bfloat16", "bfloat16"),
    "float16": Pipeline("float16", "float16", "float16"),
}


def rounded(values: Float32Array, form: str) -> Float32Array:
    """Return ``values`` rounded to the format, ties to even, as float32."""
    if form == "float32":
        return values
    if form == "float16":
        with np.errstate(over="ignore"):  # beyond 65504 it is infinity, as in every library
            return values.astype(np.float16).astype(np.float32)
    bits = values.view(np.uint32)
    # bfloat16 is the upper half of float32: add a half, less one bit where the upper half is even.
    even = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) & np.uint32(
        0xFFFF0000
    )
    return np.where(np.isnan(values), values, even.view(np.float32))


def frequency_buffer(model: RopeSpec | Extension, pipeline: Pipeline) -> Float32Array:
    """Return theta'_j as a library holds them: its formula in float32, then the buffer's format.

    1 / base^(2j/d) is a power and a quotient, each rounded to float32; a scheme's ratio is one
    operation more. YaRN, Llama 3, LongRoPE and NTK-by-parts take several operations for their ratio
    in float32; here it is rounded once.
    """
    spec = pretrained(model)
    if model.geometric is None:
        theta = _inverse_powers(spec.base, spec.rotary_dim) * model.ratios.astype(np.float32)
    else:
        base, scale = model.geometric
        theta = _inverse_powers(base, spec.rotary_dim)
        theta = theta if scale == 1 else theta / np.float32(1 / scale)
    return rounded(theta, pipeline.frequencies)


def _inverse_powers(base: float, rotary_dim: int) -> Float32Array:
    exponents = np.arange(0, rotary_dim, 2, dtype=np.float32) / np.float32(rotary_dim)
    with np.errstate(over="ignore"):  # beyond float32 a power is infinite and its pair stands still
        powers = np.float64(np.float32(base)) ** exponents.astype(np.float64)
        return np.float32(1.0) / powers.astype(np.float32)


def computed_phases(
    positions: FloatArray, buffer: Float32Array, pipeline: Pipeline
) -> Float32Array:
    """Return the phases the pipeline computes, positions and frequencies broadcast together."""
    held = rounded(positions.astype(np.float32), pipeline.phases)
    with np.errstate(invalid="ignore"):  # an overflowed position times a frequency of zero
        return rounded(held * buffer, pipeline.phases)


def computed_rotations(
    cosine: FloatArray, sine: FloatArray, gain: float, pipeline: Pipeline
) -> tuple[Float32Array, Float32Array]:
    """Return (cos, sin) as the pipeline rounds them, from float64 ones of its own phases.

    Each is rounded to the phases' format, multiplied by the attention factor there, and cast.
    """
    factor = np.float32(gain)

    def cast(values: FloatArray) -> Float32Array:
        plain = rounded(values.astype(np.float32), pipeline.phases)
        return rounded(rounded(plain * factor, pipeline.phases), pipeline.rotations)

    return cast(cosine), cast(sine)
