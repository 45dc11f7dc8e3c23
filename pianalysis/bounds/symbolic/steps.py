r"""The paper's derivations in sympy, step by step, each step checked (arXiv:2306.15595).

Eq. 1-3 from 2 x 2 rotations, Eq. 9-17 (the proof of Theorem 2.1) with the false Eq. 14 and what
replaces it, and the Abel summation of Eq. 8. :func:`derivation` returns the steps; a step's
``check()`` proves its statement, or refutes it where the paper's statement is false, with the
rules of :mod:`pianalysis.bounds.symbolic.proofs`. Symbols: H >= max_j |h_j|,
D >= max_j |h_j - h_{j+1}|, A_k = sum_{j<k} e^{i s theta_j}, a'' the second derivative of a, xi_1
and xi_2 the intermediate points of Taylor's remainder. d is even and positive, spans are real.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

from pianalysis.bounds.symbolic import proofs
from pianalysis.bounds.symbolic.proofs import Proof, Step, Use

c = sp.Symbol("c", positive=True)
d = sp.Symbol("d", even=True, positive=True)
j = sp.Symbol("j", integer=True, nonnegative=True)
s, s1, s2, m, n, t, w, x, y = sp.symbols("s s_1 s_2 m n t w x y", real=True)
xi1, xi2, M, C1, C2 = sp.symbols("xi_1 xi_2 M C_1 C_2", real=True)
z = sp.Symbol("z", complex=True)
H, D = sp.symbols("H D", nonnegative=True)
h, A = sp.IndexedBase("h", complex=True), sp.IndexedBase("A", complex=True)
q, k = sp.IndexedBase("q", real=True), sp.IndexedBase("k", real=True)
a, curvature = sp.Function("a"), sp.Function("a''")
# Gaps of known relations inside a certificate: positive, nonnegative, zero.
_P, _Q, _U, _V = (sp.Dummy(name, positive=True) for name in "PQUV")
_E, _F, _Z = (sp.Dummy(name, nonnegative=True) for name in "EFZ")


def frequency(index: Any) -> Any:
    """Return theta_j = c^(-2j/d) of pair ``index``, in radians per token."""
    return c ** (-2 * index / d)


def derivation() -> tuple[Step, ...]:
    """Return every step, in the order of the paper: Eq. 1-3, Eq. 9-17, Eq. 8.

    Returns
    -------
    tuple of Step
        ``statement`` (a sympy relation), ``latex``, ``reason``, ``status`` and ``check()``.

    Notes
    -----
    *Assumptions* are each step's ``hypotheses``. *False*: the inequality under Eq. 14, Eq. 14,
    Eq. 15 and Eq. 17 (Theorem 2.1, Eq. 5) as printed. *Not checked here*: the mean value theorem,
    which gives the intermediate points of Eq. 9-10.

    Examples
    --------
    >>> steps = derivation()
    >>> [step.label for step in steps if step.status == "false"]
    ['Eq. 14, premise', 'Eq. 14', 'Eq. 15', 'Eq. 17 = Eq. 5']
    >>> geometric = next(step for step in steps if step.title == "geometric sum")
    >>> geometric.statement.rhs, geometric.check()
    ((1 - 1/c**2)/(1 - 1/c**(4/d)), True)
    """
    return rotation_steps() + interpolation_steps() + abel_steps()


def check(steps: Iterable[Step]) -> bool:
    """Return whether every step checks: the true ones proved, the false ones refuted.

    Examples
    --------
    >>> check(step for step in derivation() if step.label.startswith("Eq. 14"))
    True
    """
    return all(step.check() for step in steps)


def latex(steps: Iterable[Step]) -> str:
    r"""Return the steps as one LaTeX ``align`` environment, tagged by equation and status.

    Examples
    --------
    >>> print(latex(derivation()[8:9]))
    \begin{align}
    \operatorname{re}{\left(z\right)} \leq \left|{z}\right| \tag{lemma, holds}
    \end{align}
    """
    rows = [rf"{step.latex} \tag{{{step.label}, {step.status}}}" for step in steps]
    return "\\begin{align}\n" + " \\\\\n".join(rows) + "\n\\end{align}"


def table(steps: Iterable[Step]) -> str:
    """Return a Markdown table of label, statement in words, status, verdict and method.

    Every row runs its step's check.

    Examples
    --------
    >>> print(table(derivation()[8:9]))
    | equation | step | status | verdict | checked | how |
    |---|---|---|---|---|---|
    | lemma | real part | holds | proved | yes | certificate of sign |
    """
    rows = ["| equation | step | status | verdict | checked | how |", "|---|---|---|---|---|---|"]
    for step in steps:
        done = "yes" if step.check() else "NO"
        cells = (step.label, step.title, step.status, step.verdict(), done, step.method)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _over_pairs(summand: Any) -> Any:
    return sp.Sum(summand, (j, 0, d / 2 - 1))


def _le(small: Any, big: Any) -> Any:
    return sp.Le(small, big, evaluate=False)


def _eq(left: Any, right: Any) -> Any:
    return sp.Eq(left, right, evaluate=False)


def _turn(index: Any = j, span: Any = s) -> Any:
    return sp.exp(sp.I * span * frequency(index))


def rotation_steps() -> tuple[Step, ...]:
    """Return Eq. 1-3: rotations of pairs, dependence on the span alone, the basis expansion."""
    theta = frequency(j)

    def turn(angle: Any) -> Any:
        return sp.ImmutableMatrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])

    query, key = (sp.ImmutableMatrix([v[2 * j], v[2 * j + 1]]) for v in (q, k))
    pair_q, pair_k = q[2 * j] + sp.I * q[2 * j + 1], k[2 * j] - sp.I * k[2 * j + 1]

    def dot(at_m: Any, at_n: Any) -> Any:
        return (turn(at_m * theta) * query).dot(turn(at_n * theta) * key)

    turned = pair_q * sp.exp(sp.I * m * theta)
    wave = h[j] * _turn()
    equal = (proofs.by_identity(),)
    return (
        Step("Eq. 1", "rotation of a pair", "identity",
             _eq(sp.MatMul(turn(m * theta), query),
                 sp.ImmutableMatrix([sp.re(turned), sp.im(turned)])),
             r"Multiplying a pair by $e^{i m \theta_j}$ is turning it by the angle $m \theta_j$.",
             equal),
        Step("Eq. 2", "composition", "identity",
             _eq(sp.MatMul(turn(m * theta).T, turn(n * theta)), turn((n - m) * theta)),
             "Rotations of one plane commute; the transpose turns back.", equal),
        Step("Eq. 2", "shift invariance", "identity", _eq(dot(m + t, n + t), dot(m, n)),
             "Hence moving query and key by the same $t$ changes nothing: only $m - n$ enters.",
             equal),
        Step("Eq. 3", "sum over pairs", "identity",
             _eq(_over_pairs(dot(m, n)),
                   _over_pairs(sp.re(pair_q * pair_k * _turn(span=m - n)))),
             r"The score is $\mathrm{Re} \sum_j h_j e^{i s \theta_j}$, $h_j$ the product of both "
             "pairs.",
             equal),
        Step("Eq. 3", "real basis", "identity",
             _eq(sp.re(wave), sp.re(h[j]) * sp.cos(s * theta) - sp.im(h[j]) * sp.sin(s * theta)),
             "Two real coefficients a pair: $d$ degrees of freedom.", equal),
    )  # fmt: skip


def interpolation_steps() -> tuple[Step, ...]:
    """Return Eq. 9-17: the proof of Theorem 2.1 with its false step and the corrections."""
    theta, ratio = frequency(j), c ** (-4 / d)
    u, v = s - s1, s2 - s
    linear = (1 - u / (s2 - s1)) * a(s1) + u / (s2 - s1) * a(s2)
    closed = (1 - c**-2) / (1 - ratio)
    weighted = _over_pairs(sp.Abs(h[j]) * theta**2)
    base, small = sp.Gt(c, 1, evaluate=False), _le(sp.Abs(h[j]), H)
    inside = (sp.Gt(s, s1), sp.Gt(s2, s))
    bounded = (_le(sp.Abs(C1), M), _le(sp.Abs(C2), M))
    score = _eq(a(s), _over_pairs(sp.re(h[j] * _turn())))
    second = _eq(curvature(s), _over_pairs(sp.re(-h[j] * theta**2 * _turn())))

    taylor = Step(
        "Eq. 9-10", "Taylor, integral remainder", "identity",
        _eq(a(s1), a(s) + a(s).diff(s) * (s1 - s)
              + sp.Integral((s1 - t) * a(t).diff(t, 2), (t, s, s1))),
        "Integration by parts, for any twice differentiable $a$; the same at $s_2$.",
        (proofs.by_parts(a),))  # fmt: skip
    mass = Step(
        "Eq. 9-10", "mass of the kernel", "identity",
        _eq(sp.Integral(s1 - t, (t, s, s1)), (s1 - s) ** 2 / 2),
        "The kernel has one sign between $s$ and $s_1$, so the mean value theorem turns the "
        r"remainder into $a''(\xi)$ times this mass.", (proofs.by_identity(),))  # fmt: skip
    lagrange = tuple(
        _eq(
            a(end),
            a(s) + a(s).diff(s) * (end - s) + curvature(xi) * mass.statement.rhs.subs(s1, end),
        )
        for end, xi in ((s1, xi1), (s2, xi2))
    )

    def remainder(first: Any, last: Any) -> Any:
        return -u * (s - s2) / (2 * (s1 - s2)) * (first * u - last * (s - s2))

    chord = Step(
        "Eq. 11", "distance from the chord", "identity",
        _eq(a(s) - linear, remainder(curvature(xi1), curvature(xi2))),
        r"Both expansions, weighted by $1 - \lambda$ and $\lambda$: $a(s)$ and $a'(s)$ cancel.",
        (proofs.by_identity(*lagrange),), lagrange)  # fmt: skip
    derivative = Step(
        "Eq. 12", "second derivative", "identity",
        _eq(sp.Derivative(score.rhs, (s, 2)), second.rhs),
        r"Termwise: every derivative brings down $i \theta_j$.",
        (proofs.by_identity(),))  # fmt: skip
    real_part = Step(
        "lemma", "real part", "holds", _le(sp.re(z), sp.Abs(z)),
        r"$|z|^2 - (\mathrm{Re}\, z)^2 = (\mathrm{Im}\, z)^2$.",
        (proofs.by_certificate(sp.im(z) ** 2, squares=True),))  # fmt: skip
    termwise = Step(
        "Eq. 12", "termwise bound of a''", "holds", _le(sp.Abs(curvature(s)), weighted),
        r"Triangle inequality, then $|\mathrm{Re}\, z| \le |z|$ in each term.",
        (proofs.by_certificate(sp.im(h[j] * theta**2 * _turn()) ** 2, squares=True,
                                given=(second,)),), (second,))  # fmt: skip
    largest = Step(
        "Eq. 13", "largest coefficient", "holds", _le(weighted, _over_pairs(H * theta**2)),
        "Each $|h_j|$ replaced by $H$.",
        (proofs.by_certificate(_E * theta**2, Use(_E, small)),), (small,))  # fmt: skip
    geometric = Step(
        "Eq. 13", "geometric sum", "identity", _eq(_over_pairs(theta**2), closed),
        r"$\theta_j^2 = (c^{-4/d})^j$; partial sums telescope, and the power $d/2$ is $c^{-2}$.",
        (proofs.by_telescoping((1 - ratio**j) / (1 - ratio), j),), (base,))  # fmt: skip
    false_premise = Step(
        "Eq. 14, premise", "c^x against its tangent", "false", _le(c**x, 1 + x * sp.log(c)),
        "The convex exponential lies above its tangent, for $x < 0$ as well.",
        (proofs.by_counterexample({c: 10_000, x: sp.Rational(-4, 128)}),),
        (base, sp.Lt(x, 0)))  # fmt: skip
    tangent = Step(
        "Eq. 14, premise", "exponential above its tangent", "corrected",
        sp.Ge(sp.exp(y), 1 + y, evaluate=False),
        "$e^y - 1 - y$ has second derivative $e^y > 0$, and value and slope 0 at $y = 0$.",
        (proofs.by_convexity(y, 0),))  # fmt: skip
    log_base = Step(
        "lemma", "logarithm of the base", "holds", sp.Gt(sp.log(c), 0, evaluate=False),
        r"The tangent inequality at $y = -\ln c$.",
        (proofs.by_certificate(_E + _P / c, Use(_E, tangent, {y: -sp.log(c)}), Use(_P, base)),),
        (base,))  # fmt: skip
    positive = Step(
        "lemma", "denominator of Eq. 14", "holds", sp.Gt(1 - sp.exp(-w), 0, evaluate=False),
        r"$e^{-w} (e^w - 1)$, and $e^w - 1 \ge w > 0$.",
        (proofs.by_certificate(sp.exp(-w) * (_E + _P), Use(_E, tangent, {y: w}),
                                Use(_P, sp.Gt(w, 0))),), (sp.Gt(w, 0),))  # fmt: skip
    rate = 4 * sp.log(c) / d
    gap = Use(_P, positive, {w: rate}), Use(None, log_base)
    infinite = Step(
        "Eq. 13", "infinite geometric sum", "holds", _le(_over_pairs(theta**2), 1 / (1 - ratio)),
        "The tail, $c^{-2}$ of the whole, is dropped.",
        (proofs.by_certificate(c**-2 / _P + _Z, *gap, Use(_Z, geometric)),), (base,))  # fmt: skip
    printed_14 = Step(
        "Eq. 14", "geometric sum against d/(4 ln c)", "false",
        _le(1 / (1 - ratio), d / (4 * sp.log(c))),
        "Follows from the reversed premise; violated for $d = 128$ and 64, $c = 10000$.",
        (proofs.by_counterexample({d: 128, c: 10_000}, {d: 64, c: 10_000}),), (base,))  # fmt: skip
    corrected_14 = Step(
        "Eq. 14", "the reversed inequality", "corrected",
        sp.Ge(1 / (1 - ratio), d / (4 * sp.log(c)), evaluate=False),
        r"The tangent inequality at $y = -4 \ln c / d$, both sides positive, for every $d$ and "
        "$c > 1$.",
        (proofs.by_certificate(_E / ((_P + _E) * _P), *gap, Use(_E, tangent, {y: -rate})),),
        (base,))  # fmt: skip
    printed_15 = Step(
        "Eq. 15", "bound of a''", "false", _le(sp.Abs(curvature(s)), H * d / (4 * sp.log(c))),
        "$h_j = 1$ at $s = 0$ exceeds it for $d = 128$, $c = 10000$.",
        (proofs.by_counterexample({d: 128, c: 10_000, s: 0, H: 1, h[j]: sp.S.One},
                                   given=(second,)),), (second, small, base))  # fmt: skip
    corrected_15 = Step(
        "Eq. 15", "bound of a''", "corrected", _le(sp.Abs(curvature(s)), H * closed),
        r"Eq. 12-13 with the geometric sum kept exact; attained by $h_j = H e^{-i s \theta_j}$.",
        (proofs.by_certificate(_E + _F + H * _Z, Use(_E, termwise), Use(_F, largest),
                                Use(_Z, geometric)),), (second, small, base))  # fmt: skip
    squares = _E * (_E + 2 * sp.Abs(C1)), _F * (_F + 2 * sp.Abs(C2))
    cross = _U * _V * (squares[0] + squares[1] + (C1 - C2) ** 2)
    bounded_remainder = Step(
        "Eq. 16", "bound of the remainder", "holds",
        _le(sp.Abs(remainder(C1, C2)), M * u * v / 2),
        r"For $|a''| \le M$ at both intermediate points, $C_1$ and $C_2$.",
        (proofs.by_certificate(
            (_U * _V / (2 * (_U + _V))) ** 2
            * (_U**2 * squares[0] + _V**2 * squares[1] + cross),
            Use(_U, inside[0]), Use(_V, inside[1]), Use(_E, bounded[0]), Use(_F, bounded[1]),
            squares=(_E + sp.Abs(C1)) * _U * _V / 2),), (*inside, *bounded))  # fmt: skip
    printed_17 = Step(
        "Eq. 17 = Eq. 5", "Theorem 2.1 as printed", "false",
        _le(sp.Abs(a(s) - linear), d * H * u * v / (8 * sp.log(c))),
        r"$h_j = e^{-i \theta_j / 2}$ at $s = 1/2$ of $[0, 1]$ exceeds it for $d = 128$ and 64, "
        "$c = 10000$.",
        (proofs.by_counterexample(
            *({d: dim, c: 10_000, s: sp.S.Half, s1: 0, s2: 1, H: 1, h[j]: _turn(span=-sp.S.Half)}
              for dim in (128, 64)), given=(score,)),), (score, small, base, *inside))  # fmt: skip

    def conclusion(limit: Any, source: Step) -> tuple[Proof, ...]:
        at = {M: limit, C1: curvature(xi1), C2: curvature(xi2)}
        return (proofs.by_certificate(
            _E, Use(_E, bounded_remainder, at), Use(None, source, {s: xi1}),
            Use(None, source, {s: xi2}), rewrite=(Use(None, chord),)),)  # fmt: skip

    corrected_17 = Step(
        "Eq. 17 = Eq. 5", "Theorem 2.1 corrected", "corrected",
        _le(sp.Abs(a(s) - linear), H * closed * u * v / 2),
        "Eq. 11 and Eq. 16 with $M$ from the corrected Eq. 15.",
        conclusion(H * closed, corrected_15), (*corrected_15.hypotheses, *inside, *lagrange),
    )  # fmt: skip
    weighted_17 = Step(
        "Eq. 17, weighted", "Theorem 2.1 for one known h", "holds",
        _le(sp.Abs(a(s) - linear), weighted * u * v / 2),
        "Eq. 11 and Eq. 16 with $M$ from Eq. 12: the coefficients are not replaced by $H$.",
        conclusion(weighted, termwise), (second, *inside, *lagrange))  # fmt: skip
    return (
        taylor, mass, chord, real_part, derivative, termwise, largest, geometric, false_premise,
        tangent, log_base, positive, infinite, printed_14, corrected_14, printed_15, corrected_15,
        bounded_remainder, printed_17, corrected_17, weighted_17,
    )  # fmt: skip


def abel_steps() -> tuple[Step, ...]:
    """Return Eq. 8: Abel summation, its two bounds, and why it never beats the triangle bound."""
    after, jump = A[j + 1], h[j] - h[j + 1]
    recursion, start = _eq(after, A[j] + _turn()), _eq(A[0], 0)
    convention = _eq(h[d / 2], 0)
    smooth = _le(sp.Abs(jump), D)
    sizes = _le(sp.Abs(h[j]), H), _le(sp.Abs(h[j + 1]), H)
    real_part = next(step for step in interpolation_steps() if step.title == "real part")
    summation = Step(
        "Eq. 8", "Abel summation", "identity",
        _eq(_over_pairs(h[j] * _turn()), _over_pairs(after * jump)),
        "Both summands differ by the step of $A_j h_j$, which starts at $A_0 = 0$ and ends at 0 by "
        "the convention $h_{d/2} = 0$.",
        (proofs.by_telescoping(A[j] * h[j], j, given=(recursion, start, convention)),
         proofs.by_expansion(d, (2, 4, 8, 16), recursion, start, convention)),
        (recursion, start, convention))  # fmt: skip
    difference = Step(
        "Eq. 8", "largest difference", "holds",
        _le(sp.Abs(_over_pairs(sp.re(after * jump))), _over_pairs(D * sp.Abs(after))),
        r"$|a(s)| \le D B(s)$: triangle inequality in the sum above.",
        (proofs.by_certificate(
            _E * (_E + 2 * sp.Abs(jump)) * sp.Abs(after) ** 2 + sp.im(after * jump) ** 2,
            Use(_E, smooth), squares=True),), (smooth,))  # fmt: skip
    twice = Step(
        "Eq. 8", "largest coefficient", "holds", _le(sp.Abs(jump), 2 * H),
        r"$|h_j - h_{j+1}|^2 + |h_j + h_{j+1}|^2 = 2 |h_j|^2 + 2 |h_{j+1}|^2 \le 4 H^2$.",
        (proofs.by_certificate(
            2 * _E * (_E + 2 * sp.Abs(h[j])) + 2 * _F * (_F + 2 * sp.Abs(h[j + 1]))
            + sp.Abs(h[j] + h[j + 1]) ** 2,
            Use(_E, sizes[0]), Use(_F, sizes[1]), squares=True),), sizes)  # fmt: skip
    unit = Step(
        "Eq. 8", "one step of A", "identity", _eq(sp.Abs(after - A[j]), 1),
        r"It is $e^{i s \theta_j}$, of modulus one.",
        (proofs.by_identity(recursion),), (recursion,))  # fmt: skip
    neighbours = Step(
        "Eq. 8", "two neighbours", "holds", sp.Ge(sp.Abs(after) + sp.Abs(A[j]), 1, evaluate=False),
        r"$1 = |A_{j+1} - A_j| \le |A_{j+1}| + |A_j|$.",
        (proofs.by_certificate(
            2 * _E, Use(_E, real_part, {z: -sp.conjugate(A[j]) * (A[j] + _turn())}),
            squares=True, given=(recursion,)),), (recursion,))  # fmt: skip
    floor = Step(
        "Eq. 8", "2 B(s) >= d/2", "holds",
        sp.Ge(2 * _over_pairs(sp.Abs(after)), d / 2, evaluate=False),
        r"Summed over $j$. So $2 H B(s) \ge H d/2$: with $\max|h|$ the Abel bound never beats the "
        "triangle bound, for any $s$, $d$, $c$.",
        (proofs.by_telescoping(j + sp.Abs(A[j]), j, _E, Use(_E, neighbours), given=(start,)),),
        (recursion, start))  # fmt: skip
    return summation, difference, twice, unit, neighbours, floor
