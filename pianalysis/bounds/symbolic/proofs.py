"""A small proof checker over sympy: statements, what they rest on, and rules that verify them.

A :class:`Step` holds one statement, its hypotheses and its proofs. A proof decides from the
statement it is given, so a step whose statement is edited no longer checks. Four rules:

* :func:`by_identity`: the difference of both sides is zero (summand by summand under a sum);
* :func:`by_telescoping`: a sum is evaluated, or bounded below, by a discrete antiderivative;
* :func:`by_certificate`: big - small is written as an expression of gaps already known to be
  nonnegative (hypotheses, earlier steps) whose sign sympy reads off;
* :func:`by_convexity` and :func:`by_counterexample`: a convex function at its minimum, and a
  violation enclosed in ball arithmetic.

What the rules take for granted: finite sums keep <=, |sum t| <= sum |t|, and x <= y from
x^2 <= y^2 and y >= 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy as sp

from pianalysis.bounds.symbolic.algebra import Values, ball, is_zero, sides, substitute

Status = Literal["identity", "holds", "false", "corrected"]
STATUSES = ("identity", "holds", "false", "corrected")


@dataclass(frozen=True, slots=True)
class Proof:
    """One way to decide a step: in words, the rule, and whether it refutes or proves."""

    method: str
    decide: Callable[[Step], bool]
    refutes: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One checkable statement of a derivation.

    Attributes
    ----------
    label : str
        Equation of arXiv:2306.15595 it states or corrects.
    title, reason : str
        What it says and why, in words; formulas of the reason in LaTeX.
    status : {"identity", "holds", "false", "corrected"}
        "false": printed so in the paper and refuted; "corrected": true, in place of a false one.
    statement : sympy relation
    hypotheses : sympy relations
        What the statement assumes, for all values of its symbols.
    proofs : Proof
        Every one of them has to succeed.
    """

    label: str
    title: str
    status: Status
    statement: Any
    reason: str
    proofs: tuple[Proof, ...] = field(repr=False)
    hypotheses: tuple[Any, ...] = ()

    @property
    def latex(self) -> str:
        """The statement in LaTeX, with its hypotheses left out."""
        return render(self.statement)

    @property
    def method(self) -> str:
        """How the step is checked, in words."""
        return ", and ".join(proof.method for proof in self.proofs)

    def verdict(self) -> Literal["proved", "refuted", "undecided"]:
        """Run the proofs on the statement as it stands."""
        if not self.proofs or not all(proof.decide(self) for proof in self.proofs):
            return "undecided"
        kinds = {proof.refutes for proof in self.proofs}
        if len(kinds) > 1:
            return "undecided"
        return "refuted" if kinds.pop() else "proved"

    def check(self) -> bool:
        """Return whether the verdict is the one the status claims."""
        if self.status not in STATUSES:
            return False
        if (self.status == "identity") != isinstance(self.statement, sp.Eq):
            return False
        return self.verdict() == ("refuted" if self.status == "false" else "proved")

    def _repr_markdown_(self) -> str:
        return (
            f"**{self.label}** ({self.status}): {self.title}\n\n$${self.latex}$$\n\n{self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Use:
    """A known relation put to use: ``symbol`` stands for its gap once ``at`` is substituted.

    ``source`` is an earlier step or a hypothesis of the step at hand. ``symbol`` is positive for
    a strict relation, nonnegative for <=, zero for an equation; None only discharges hypotheses.
    """

    symbol: Any
    source: Any
    at: Values = field(default_factory=dict)

    def gap(self) -> Any:
        """Return big - small of the relation, substituted; zero for an equation that holds."""
        big, small = sides(self.relation)
        return substitute(big - small, self.at)

    @property
    def relation(self) -> Any:
        """The relation itself."""
        return self.source.statement if isinstance(self.source, Step) else self.source


def render(expression: Any) -> str:
    """Return an expression in LaTeX that both MathJax and Matplotlib's mathtext understand."""
    text = str(sp.latex(expression, ln_notation=True))
    return text.replace(r"\operatorname{a''}", "a''").replace(r"\limits", "")


def _given(step: Step, wanted: Iterable[Any]) -> dict[Any, Any]:
    """Return the wanted equations as substitutions, those only that the step does assume."""
    return {x.lhs: x.rhs for x in wanted if x in step.hypotheses}


def _summands(big: Any, small: Any) -> tuple[Any, Any]:
    """Compare sums over one range by their summands, |sum t| through sum |t|."""
    inner, wrap = (small.args[0], sp.Abs) if isinstance(small, sp.Abs) else (small, lambda x: x)
    if isinstance(big, sp.Sum) and isinstance(inner, sp.Sum) and big.limits == inner.limits:
        return big.function, wrap(inner.function)
    return big, small


@functools.lru_cache(maxsize=256)
def _checked(step: Step) -> bool:
    """Return ``step.check()``; premises are shared, each is checked once."""
    return step.check()


def _available(step: Step, uses: tuple[Use, ...]) -> bool:
    """Return whether every used relation is assumed or proved, with its hypotheses discharged."""
    proved = [use for use in uses if isinstance(use.source, Step)]
    for use in uses:
        if use not in proved:
            if use.source not in step.hypotheses or use.at:
                return False
            continue
        if use.source.status == "false" or not _checked(use.source):
            return False
        for needed in use.source.hypotheses:
            known: list[tuple[Any, Values]] = [(x, {}) for x in step.hypotheses]
            known += [(x, use.at) for x in step.hypotheses if isinstance(x, sp.Eq)]
            known += [(x.relation, x.at) for x in proved if x is not use]
            if not any(_implies(x, at, needed, use.at) for x, at in known):
                return False
    return True


def _implies(known: Any, at: Values, needed: Any, where: Values) -> bool:
    """Return whether two relations of one kind agree up to a positive factor."""
    if known.func is not needed.func:
        return False
    have, want = (
        substitute(sp.Add(x, -y), v) for (x, y), v in ((sides(known), at), (sides(needed), where))
    )
    return have == want or (want != 0 and bool(sp.cancel(have / want).is_positive))


def by_identity(*given: Any) -> Proof:
    """Both sides of an equation agree, after the given equations among its hypotheses."""

    def decide(step: Step) -> bool:
        if not isinstance(step.statement, sp.Eq):
            return False
        left, right = (evaluate(substitute(x, _given(step, given))) for x in step.statement.args)
        return is_zero(left - right)

    def evaluate(expression: Any) -> Any:
        calculus = (sp.Derivative, sp.Integral, sp.MatMul)
        return expression.replace(lambda x: isinstance(x, calculus), lambda x: x.doit(deep=False))

    return Proof("simplification", decide)


def by_expansion(dimension: Any, sizes: Iterable[int], recursion: Any, *given: Any) -> Proof:
    """The equation written out for several dimensions, indexed partial sums unrolled."""
    sizes = tuple(sizes)

    def decide(step: Step) -> bool:
        rule, (index, *_) = recursion.rhs, recursion.lhs.indices[0].free_symbols
        for size in sizes:
            gap = (step.statement.lhs - step.statement.rhs).subs(dimension, size).doit()
            for k in range(size // 2, 0, -1):
                gap = gap.subs(recursion.lhs.subs(index, k - 1), rule.subs(index, k - 1))
            equations = {x.subs(dimension, size): y for x, y in _given(step, given).items()}
            if sp.expand(substitute(gap.subs(dimension, size), equations)) != 0:
                return False
        return recursion in step.hypotheses

    return Proof(f"expansion for d = {', '.join(map(str, sizes))}", decide)


def by_parts(function: Any) -> Proof:
    """An integral of (linear in t) f''(t), by an antiderivative whose derivative is compared."""

    def evaluate(integral: Any) -> Any:
        (t, low, high), integrand = integral.limits[0], integral.function
        weight = sp.cancel(integrand / function(t).diff(t, 2))
        inside = weight * function(t).diff(t) - weight.diff(t) * function(t)
        if not is_zero(inside.diff(t) - integrand):
            raise ArithmeticError("not an antiderivative")
        return inside.subs(t, high).doit() - inside.subs(t, low).doit()

    def decide(step: Step) -> bool:
        gap = step.statement.lhs - step.statement.rhs
        try:
            return is_zero(gap.replace(lambda x: isinstance(x, sp.Integral), evaluate))
        except ArithmeticError:
            return False

    return Proof("integration by parts", decide)


def by_telescoping(total: Any, index: Any, form: Any = sp.S.Zero, *uses: Use,
                   given: tuple[Any, ...] = ()) -> Proof:  # fmt: skip
    """lhs - rhs = Sum(t) + rest, t(k) = G(k+1) - G(k) + form, rest + G(end) - G(0) settles it.

    For an equation the form is zero and the boundary vanishes; for lhs >= rhs both are
    nonnegative, form through ``uses`` as in :func:`by_certificate`.
    """

    def decide(step: Step) -> bool:
        equations = _given(step, given)
        rest, summand, ends = sp.S.Zero, sp.S.Zero, set()
        for term in sp.Add.make_args(step.statement.lhs - step.statement.rhs):
            factor, part = term.as_independent(sp.Sum)
            if isinstance(part, sp.Sum):
                ends.add(part.limits[0][1:])
                summand += factor * part.function.subs(part.limits[0][0], index)
            else:
                rest += term
        if len(ends) != 1 or not _available(step, uses):
            return False
        low, high = ends.pop()
        values = {use.symbol: use.gap() for use in uses}
        jump = total.subs(index, index + 1) - total
        edge = substitute(rest + total.subs(index, high + 1) - total.subs(index, low), equations)
        if not is_zero(substitute(summand - jump, equations) - substitute(form, values)):
            return False
        if isinstance(step.statement, sp.Eq):
            return form == 0 and is_zero(edge)
        return bool(isinstance(step.statement, sp.Ge) and form.is_nonnegative) and bool(
            sp.expand(edge).is_nonnegative
        )

    return Proof("telescoping sum", decide)


def by_certificate(form: Any, *uses: Use, squares: Any = False, given: tuple[Any, ...] = (),
                   rewrite: tuple[Use, ...] = ()) -> Proof:  # fmt: skip
    """Big - small (or the difference of their squares) equals ``form``, whose sign is known.

    ``form`` is an expression in the symbols of ``uses``; sympy has to see that it is nonnegative
    (positive, for a strict statement). ``squares`` compares squares: True where sympy sees that big
    is nonnegative, else big as an expression of ``uses``. ``rewrite`` names equations applied
    inside the statement.
    """

    def decide(step: Step) -> bool:
        if isinstance(step.statement, sp.Eq) or not _available(step, uses + rewrite):
            return False
        for use in uses:
            strict = isinstance(use.relation, (sp.Gt, sp.Lt))
            equation = isinstance(use.relation, sp.Eq)
            if use.symbol is not None and (
                (use.symbol.is_positive and not strict)
                or not (equation or use.symbol.is_nonnegative)
            ):
                return False
        named = [use for use in uses if use.symbol is not None]
        void = {use.symbol: 0 for use in named if isinstance(use.relation, sp.Eq)}
        sign = sp.sympify(form).subs(void)
        strict = isinstance(step.statement, (sp.Gt, sp.Lt))
        if not (sign.is_positive if strict else sign.is_nonnegative):
            return False
        equations = _given(step, given)
        for use in rewrite:
            equations[substitute(use.relation.lhs, use.at)] = substitute(use.relation.rhs, use.at)
        big, small = _summands(*(substitute(x, equations) for x in sides(step.statement)))
        values = {use.symbol: use.gap() for use in named}
        if squares is True and not big.is_nonnegative:
            return False
        if squares not in (True, False) and not (
            squares.is_nonnegative and is_zero(big - squares.subs(values))
        ):
            return False
        gap = big - small if squares is False else big**2 - small**2
        return is_zero(gap - sp.sympify(form).subs(values))

    return Proof("certificate of sign", decide)


def by_convexity(variable: Any, at: Any) -> Proof:
    """F = big - small is convex (F'' > 0), stationary at a point, and not negative there."""

    def decide(step: Step) -> bool:
        if not isinstance(step.statement, (sp.Ge, sp.Le)):
            return False
        big, small = sides(step.statement)
        gap = big - small
        slope = gap.diff(variable)
        return bool(
            slope.diff(variable).is_positive
            and slope.subs(variable, at) == 0
            and gap.subs(variable, at).is_nonnegative
        )

    return Proof("minimum of a convex function", decide)


def by_counterexample(*points: Values, given: tuple[Any, ...] = (), bits: int = 128) -> Proof:
    """Each point meets the hypotheses and violates the inequality, enclosed in ball arithmetic.

    A key of a point may be an indexed symbol h[j]: its value is then a rule in j.
    """

    def decide(step: Step) -> bool:
        from flint import ctx

        if isinstance(step.statement, sp.Eq) or not points:
            return False
        equations = _given(step, given)
        assumed = [x for x in step.hypotheses if x not in given]
        big, small = (substitute(x, equations) for x in sides(step.statement))
        with ctx.workprec(bits):
            return all(
                all(_meets(x, point) for x in assumed)
                and bool((ball(small, point) - ball(big, point)).real > 0)
                for point in points
            )

    return Proof("counterexample in ball arithmetic", decide, refutes=True)


def _meets(hypothesis: Any, point: Values) -> bool:
    """Return whether sympy finds a hypothesis true at a point, for every index."""
    rules = {x: v for x, v in point.items() if isinstance(x, sp.Indexed)}
    numbers = {x: v for x, v in point.items() if x not in rules}
    return bool(hypothesis.func(*(x.subs(rules).subs(numbers) for x in hypothesis.args)) == sp.true)


def restate(step: Step, **changes: Any) -> Step:
    """Return a copy of a step with other fields, its proofs kept: what a check is tried on."""
    return dataclasses.replace(step, **changes)
