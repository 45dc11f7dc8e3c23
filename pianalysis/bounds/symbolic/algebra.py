"""Sympy expressions decided: zero identically, or enclosed by a ball at a point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

Values = Mapping[Any, Any]


def sides(relation: Any) -> tuple[Any, Any]:
    """Return (big, small) of an inequality, (rhs, lhs) of an equation."""
    return (relation.gts, relation.lts) if hasattr(relation, "gts") else relation.args[::-1]


def substitute(expression: Any, values: Values) -> Any:
    """Substitute; a definition f(t) = ..., free of f, replaces f at every argument."""
    for old, new in values.items():
        if isinstance(old, AppliedUndef) and old.args[0].is_Symbol and not new.has(old.func):
            body, at = new, old.args[0]
            expression = expression.replace(old.func, lambda x, b=body, t=at: b.subs(t, x))
        else:
            expression = expression.subs(old, new)
    return expression


def is_zero(expression: Any) -> bool:
    """Return whether an expression vanishes identically; sums over one range summand by summand."""
    if isinstance(expression, sp.MatrixBase):
        return all(is_zero(entry) for entry in expression)
    index = sp.Dummy("k", integer=True, nonnegative=True)
    sums = {x: sp.Dummy(real=x.is_real) for x in expression.atoms(sp.Sum)}
    masked = expression.xreplace(sums)
    moduli = {x: sp.Dummy(nonnegative=True) for x in masked.atoms(sp.Abs)}
    masked, back = masked.xreplace(moduli), {v: x for x, v in moduli.items()}
    ranges = dict[Any, Any]()
    for total, symbol in sums.items():
        ((old, *ends),) = total.limits
        factor = masked.diff(symbol)
        if factor.has(*sums.values()):
            return False
        part = factor.xreplace(back) * total.function.subs(old, index)
        ranges[tuple(ends)] = ranges.get(tuple(ends), 0) + part
    rest = masked.subs(dict.fromkeys(sums.values(), 0)).xreplace(back)
    return all(_vanishes(part) for part in (rest, *ranges.values()))


def _vanishes(expression: Any) -> bool:
    """Decide zero in real and imaginary parts, moduli as square roots, waves as exponentials."""
    expression = expression.replace(
        sp.Abs, lambda x: sp.Mul(*map(sp.Abs, sp.Mul.make_args(sp.factor(x))))
    )
    moduli = {x: sp.Dummy(nonnegative=True) for x in expression.atoms(sp.Abs)}
    parts, labels = dict[Any, Any](), {x.label for x in expression.atoms(sp.IndexedBase)}
    for x in sorted(expression.atoms(sp.Indexed, sp.Symbol) - labels, key=sp.default_sort_key):
        if x.is_complex and not x.is_real:
            parts[x] = sp.Dummy(real=True) + sp.I * sp.Dummy(real=True)

    def normal(value: Any) -> Any:
        value = value.xreplace(parts)
        if value.has(sp.re, sp.im, sp.conjugate, sp.I):
            value = sp.expand(value, complex=True)
        if value.has(sp.cos, sp.sin):  # as exponentials, products of waves combine by themselves
            value = sp.expand(value.rewrite(sp.exp))
        return sp.expand(sp.numer(sp.together(value)))

    value = normal(expression.xreplace(moduli))
    for modulus, root in moduli.items():
        square = modulus.args[0] * sp.conjugate(modulus.args[0])
        value = value.replace(
            lambda x, r=root: x.is_Pow and x.base == r and x.exp.is_Integer,
            lambda x, r=root, q=square: q.xreplace(parts) ** (x.exp // 2) * r ** (x.exp % 2),
        )
    value = normal(value)
    # Only powers of the base beside its logarithm need more than the normal form.
    return bool(value == 0 or (value.has(sp.log) and sp.simplify(value) == 0))


def ball(expression: Any, point: Values | None = None) -> Any:
    """Return a complex ball (Arb) that contains the value of an expression at a point.

    Examples
    --------
    >>> bool(ball(sp.exp(1) - sp.log(10)).real > 0.41)
    True
    """
    from flint import acb, fmpq

    point = point or {}
    expression = sp.sympify(expression)
    if expression in point:
        return ball(point[expression], point)
    if expression.is_Rational:
        return acb(fmpq(int(expression.p), int(expression.q)))
    if expression is sp.I or expression is sp.E:
        return acb(0, 1) if expression is sp.I else acb(1).exp()
    if isinstance(expression, sp.Indexed):  # the point holds a rule in the index
        (name,) = (x for x in point if isinstance(x, sp.Indexed) and x.base == expression.base)
        rule = {name.indices[0]: expression.indices[0].subs(point)}
        return ball(point[name], {**point, **rule})
    if isinstance(expression, sp.Sum):
        ((index, low, high),) = expression.limits
        span = range(int(low.subs(point)), int(high.subs(point)) + 1)
        return sum((ball(expression.function, {**point, index: k}) for k in span), acb(0))
    args = [ball(x, point) for x in expression.args]
    if isinstance(expression, (sp.Add, sp.Mul)):
        return sum(args, acb(0)) if expression.is_Add else math.prod(args, start=acb(1))
    if isinstance(expression, sp.Pow):
        return args[0] ** args[1]
    functions: dict[Any, Callable[[Any], Any]] = {
        sp.exp: lambda z: z.exp(),
        sp.log: lambda z: z.log(),
        sp.re: lambda z: acb(z.real),
        sp.im: lambda z: acb(z.imag),
        sp.Abs: lambda z: acb(abs(z)),
    }
    if expression.func not in functions:
        raise TypeError(f"expression must have a value at the point, got {expression}")
    return functions[expression.func](*args)
