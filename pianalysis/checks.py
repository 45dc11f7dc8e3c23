"""Argument checks: one sentence per refusal, naming the argument, the rule and the value."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pianalysis.arrays import ComplexArray, FloatArray

# Beyond 2**53 float64 cannot tell neighbouring tokens apart, so no score there means anything.
LARGEST_SPAN = 2.0**53
# Sums and squares of it stay inside float64.
LARGEST_COEFFICIENT = 1e100


def whole(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return ``value`` as an int in [at_least, at_most]."""
    rule = f"{name} must be an integer of at least {at_least}"
    if at_most is not None:
        rule = f"{name} must be an integer from {at_least} to {at_most}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{rule}, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        # A float that is a whole number is what JSON files and arithmetic produce: accept it.
        if not (isinstance(value, numbers.Real) and float(value).is_integer()):
            kind = ValueError if isinstance(value, numbers.Real) else TypeError
            raise kind(f"{rule}, got {value!r}") from None
        number = int(float(value))
    if number < at_least or (at_most is not None and number > at_most):
        raise ValueError(f"{rule}, got {number}")
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return ``value`` as a finite float inside the stated limits."""
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("above", above), ("at least", at_least), ("at most", at_most))
        if limit is not None
    ]
    rule = f"{name} must be a finite number" + (f" {' and '.join(limits)}" if limits else "")
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{rule}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{rule}, got a number beyond the range of float64") from None
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (at_most is not None and number > at_most)
    ):
        raise ValueError(f"{rule}, got {value!r}")
    return number


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Return ``value`` when it is one of ``options``; otherwise name the nearest."""
    known = sorted(options)
    if isinstance(value, str) and value in known:
        return value
    hint = nearest(value, known)
    raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")


def text(name: str, value: Any) -> str:
    """Return ``value`` when it is text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r}")
    return value


def nearest(word: Any, known: Iterable[str]) -> str:
    """Return a ``; did you mean 'x'?`` for an error message, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def array(name: str, value: Any, *, allow_complex: bool = False) -> npt.NDArray[Any]:
    """Return ``value``, which may be a torch tensor, as a finite float64 or complex128 array."""
    out = numbers_of(name, value, allow_complex=allow_complex)
    # For real arrays min and max, which pass NaN on, cost less than a mask of a long array.
    ends = (out.min(), out.max()) if out.size and out.dtype.kind == "f" else out
    if not np.isfinite(ends).all():
        _refuse_infinite(name, out)
    return out


def numbers_of(name: str, value: Any, *, allow_complex: bool = False) -> npt.NDArray[Any]:
    """Return ``value`` as :func:`array` does, but let NaN and infinity pass."""
    if hasattr(value, "detach"):
        if str(value.dtype) in ("torch.bfloat16", "torch.float16"):
            refuse_half(name, str(value.dtype))
        try:
            value = value.detach().cpu().numpy()
        except (RuntimeError, TypeError) as error:  # on the meta device, sparse
            raise TypeError(f"{name} must be a tensor that holds numbers, got {error}") from None
    try:
        out = np.asarray(value)
    except (ValueError, RuntimeError):  # the latter from tensors in a list
        raise ValueError(f"{name} must be a rectangular array of numbers, got {value!r}") from None
    if out.dtype == np.float16:
        refuse_half(name, "float16")
    kinds = "iufc" if allow_complex else "iuf"
    if out.dtype.kind not in kinds:
        wanted = "real or complex numbers" if allow_complex else "real numbers"
        raise TypeError(f"{name} must hold {wanted}, got dtype {out.dtype}")
    return out.astype(np.complex128 if out.dtype.kind == "c" else np.float64, copy=False)


def _refuse_infinite(name: str, values: npt.NDArray[Any]) -> None:
    """Raise for the first entry that is NaN or infinite, if there is one."""
    infinite = np.argwhere(~np.isfinite(values))
    if len(infinite):
        where = tuple(infinite[0])
        index = f" at index {', '.join(map(str, where))}" if where else ""
        raise ValueError(f"{name} must be finite, got {values[where]}{index}")


def refuse_half(name: str, dtype: str) -> None:
    """Raise for half precision, in which a phase beyond a few thousand radians is noise."""
    raise TypeError(f"{name} must be float32 or wider, got {dtype}: convert it first")


def spans(value: Any, name: str = "s") -> FloatArray:
    """Return spans in tokens: finite, real, of magnitude at most 2**53."""
    out = numbers_of(name, value)
    # The ends tell it all: neither NaN nor infinity lies within a limit.
    if out.size and not max(out.max(), -out.min()) <= LARGEST_SPAN:
        _refuse_infinite(name, out)
        worst = float(out.flat[np.abs(out).argmax()])
        raise ValueError(f"{name} must lie within +-2**53 tokens, got {worst:g}")
    return out


def coefficients(value: Any, pairs: int, name: str = "h") -> ComplexArray:
    """Return complex coefficients with the pair axis last."""
    out = array(name, value, allow_complex=True)
    if out.ndim == 0 or out.shape[-1] != pairs:
        raise ValueError(
            f"{name} must have its last axis of length {pairs}, half the rotary dimension, "
            f"got shape {out.shape}"
        )
    if out.size and max(np.abs(out.real).max(), np.abs(out.imag).max()) > LARGEST_COEFFICIENT:
        raise ValueError(f"{name} must be at most {LARGEST_COEFFICIENT:g} in size")
    return out.astype(np.complex128)


def magnitudes(value: Any, pairs: int, name: str = "h") -> FloatArray | float:
    """Return max|h| as a float for a scalar ``h``, else |h_j| with the pair axis last."""
    try:
        single = np.ndim(value) == 0
    except (ValueError, RuntimeError):  # ragged lists, tensors in a list: refused by name below
        single = False
    if single:
        return real(name, value, at_least=0.0, at_most=LARGEST_COEFFICIENT)
    return np.abs(coefficients(value, pairs, name))
