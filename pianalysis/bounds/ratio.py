"""The ~600x of section 2.3: what it divides."""

from __future__ import annotations

from pianalysis import checks
from pianalysis.bounds.extrapolation import extrapolation_bound
from pianalysis.bounds.interpolation import interpolation_bound
from pianalysis.rope.spec import RopeSpec, check_spec

FORMS = ("paper", "corrected", "sharp")


def bound_ratio(spec: RopeSpec, *, form: str = "paper") -> float:
    r"""Return the extrapolation bound over the interpolation bound at u = 1/2, for one max|h|.

    ========== ===============================================================
    paper      2d over d/(32 ln c): 64 ln c, the "~600x", from B(s) >= d
    corrected  2d over the corrected interpolation constant
    sharp      the triangle bound d/2 over the sharp interpolation constant
    ========== ===============================================================

    Notes
    -----
    The ratio compares a deviation from a chord with an absolute value; it does not say that scores
    grow 600 times. B(s) >= d holds up to a definite span only: see
    :func:`~pianalysis.first_span_below`. "sharp" divides two attained suprema and needs no such
    premise.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> [round(bound_ratio(spec, form=f), 2) for f in FORMS]
    [589.46, 512.22, 129.59]
    """
    checks.choice("form", form, FORMS)
    check_spec(spec)
    below = float(interpolation_bound(spec, 0.5, form=form))
    if form == "sharp":
        return float(extrapolation_bound(spec, 0.0, form="triangle")) / below
    return 2.0 * spec.rotary_dim / below
