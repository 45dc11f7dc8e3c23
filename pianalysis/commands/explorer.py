"""An interactive cell for notebooks: controls for model and scheme, the theory of that choice."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.bounds.interpolation import FORMS, interpolation_bound
from pianalysis.bounds.worst_case.case import LARGEST_GRID, WorstCase, worst_case_score
from pianalysis.bounds.worst_case.closed_form import worst_case_bound
from pianalysis.comparison.growth import LIMITS, compare_schemes
from pianalysis.extension import Extension
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.pictures import frame, marks, style
from pianalysis.rope.presets import PRESETS
from pianalysis.rope.spec import RopeSpec, check_spec
from pianalysis.scores.expansion import attention_score

PHASES = ("cell", "zero", "random")
_GIVEN = "as given"
_CURVE = 161  # spans of the closed form's curve
_LONGEST = 2**22
Points = Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, slots=True)
class View:
    """One choice of the controls."""

    spec: RopeSpec
    target: int
    scheme: str
    span: float
    max_coefficient: float
    phases: str

    @property
    def label(self) -> str:
        """The choice as the map of growth and contrast names it."""
        factor = self.target / self.spec.context_window
        return f"{self.scheme} x{factor:g}, H = {self.max_coefficient:g}"


def scheme_explorer(spec: RopeSpec) -> Any:
    """Return a widget: choose model, scheme, span and H; see what the theory says of that choice.

    Four panels: the score against its chord in the cell where Position Interpolation reads the
    span, with the four bounds; theta'_j / theta_j of every pair; the closed form of the worst case
    at every span of the target and, marked, its exact certified value at the span; the scheme's
    point, growth against contrast, among those chosen before. A new choice takes some seconds at
    d = 128 and is kept.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model that the controls start from. Its head_dim, base and window can be
        changed; beyond L d = 2**22 the exact values are left out, the closed form stays.

    Returns
    -------
    ipywidgets.VBox, controls above the picture. It needs a running kernel; without one its
    picture stands in its place.
    """
    import ipywidgets

    check_spec(spec)
    image = ipywidgets.Image(format="png")
    told = ipywidgets.HTML()
    seen: dict[str, tuple[list[float], list[float]]] = {}
    controls = _controls(ipywidgets, spec)
    reset = ipywidgets.Button(description="reset")
    busy = False

    def redraw(_: Any = None) -> None:
        if busy:
            return
        try:
            view = _view(controls, spec)
            image.value = explorer_picture(view, seen)
            told.value = _words(view)
        except ValueError as error:  # a choice that some rule refuses: say which, keep the picture
            told.value = f"<b>refused:</b> {error}"

    def put(values: Mapping[str, Any]) -> None:
        """Set controls together and draw once."""
        nonlocal busy
        busy = True
        try:
            for name, value in values.items():
                controls[name].value = value
        finally:
            busy = False
        redraw()

    def take_preset(change: Any) -> None:
        chosen = spec if change["new"] == _GIVEN else PRESETS[change["new"]].spec
        put(
            {
                **_of(chosen),
                "target": 4 * chosen.context_window,
                "span": 2.5 * chosen.context_window,
            }
        )

    def start_again(_: Any) -> None:
        seen.clear()
        put({name: value for name, (_, value, _) in _defaults(spec).items()})

    for name, control in controls.items():
        control.observe(take_preset if name == "preset" else redraw, names="value")
    reset.on_click(start_again)
    redraw()
    layout = ipywidgets.Layout(flex_flow="row wrap")
    return _with_picture(ipywidgets)(
        [ipywidgets.Box([*controls.values(), reset, told], layout=layout), image]
    )


def _with_picture(ipywidgets: Any) -> Any:
    class Explorer(ipywidgets.VBox):  # type: ignore[misc]
        """A VBox that shows its picture where no kernel runs."""

        def _repr_mimebundle_(self, **kwargs: Any) -> Any:
            bundle = super()._repr_mimebundle_(**kwargs)
            png = base64.b64encode(bytes(self.children[1].value)).decode()
            return {**bundle, "image/png": png}

    return Explorer


def _of(spec: RopeSpec) -> dict[str, Any]:
    return {"head_dim": spec.rotary_dim, "base": spec.base, "window": spec.context_window}


def _defaults(spec: RopeSpec) -> dict[str, tuple[str, Any, dict[str, Any]]]:
    """Return control -> (ipywidgets' class, first value, its options)."""
    own, window = _of(spec), spec.context_window
    later = {"continuous_update": False}
    whole = {"min": 2, "max": _LONGEST, **later}
    return {
        "scheme": ("Dropdown", "yarn", {"options": COMPARABLE}),
        "preset": ("Dropdown", _GIVEN, {"options": (_GIVEN, *PRESETS)}),
        "head_dim": ("BoundedIntText", own["head_dim"], {"min": 2, "max": 256, "step": 2}),
        "base": ("BoundedFloatText", own["base"], {"min": 1.01, "max": 1e9}),
        "window": ("BoundedIntText", window, whole),
        "target": ("BoundedIntText", 4 * window, whole),
        "span": ("FloatSlider", 2.5 * window, {"max": 4.0 * window, "step": 0.25, **later}),
        "H": ("SelectionSlider", 1.0, {"options": LIMITS, **later}),
        "phases": ("Dropdown", PHASES[0], {"options": PHASES}),
    }


def _controls(ipywidgets: Any, spec: RopeSpec) -> dict[str, Any]:
    return {
        name: getattr(ipywidgets, kind)(value=value, description=name, **options)
        for name, (kind, value, options) in _defaults(spec).items()
    }


def _view(controls: Mapping[str, Any], given: RopeSpec) -> View:
    """Return what the controls say; the span's slider ends at the target."""
    model = {name: controls[name].value for name in ("head_dim", "base", "window")}
    spec = given
    if model != _of(given):
        spec = RopeSpec(model["head_dim"], model["base"], model["window"])
    target = max(controls["target"].value, spec.context_window)
    span = min(controls["span"].value, float(target))
    if controls["span"].max != target:
        controls["span"].value = min(span, controls["span"].value)
        controls["span"].max = float(target)
    return View(
        spec, target, controls["scheme"].value, span, controls["H"].value, controls["phases"].value
    )


def coefficients(view: View) -> ComplexArray:
    """Return h_j of modulus H; with phases "cell" every wave bends alike where the span is read."""
    theta = view.spec.frequencies
    middle = math.floor(view.span * view.spec.context_window / view.target) + 0.5
    turns = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, theta.size)
    angles = {"cell": -theta * middle, "zero": np.zeros(theta.size), "random": turns}[view.phases]
    h: ComplexArray = view.max_coefficient * np.exp(1j * angles)
    return h


def _extension(view: View) -> Extension:
    return comparable_extensions(view.spec, view.target, [view.scheme])[view.scheme]


def _solved(spec: RopeSpec) -> bool:
    """Return whether the cone programme takes such a window."""
    return spec.context_window * spec.rotary_dim <= LARGEST_GRID


@lru_cache(maxsize=256)
def _exact(view: View) -> WorstCase | None:
    if not _solved(view.spec):
        return None
    return worst_case_score(
        view.spec, view.span, max_coefficient=view.max_coefficient, extension=_extension(view)
    )


@lru_cache(maxsize=64)
def _closed_form(spec: RopeSpec, target: int, scheme: str, limit: float) -> FloatArray:
    extension = comparable_extensions(spec, target, [scheme])[scheme]
    spans = np.linspace(0.0, target - 1.0, _CURVE)
    return worst_case_bound(spec, spans, max_coefficient=limit, extension=extension)


@lru_cache(maxsize=256)
def _point(
    spec: RopeSpec, scheme: str, target: int, max_coefficient: float
) -> tuple[list[float], list[float]]:
    extensions = comparable_extensions(spec, target, [scheme])
    point = compare_schemes(
        spec, extensions, max_coefficients=[max_coefficient], every_span=False
    ).only(scheme=scheme)
    return [point["growth"]], [point["contrast"]]


def _words(view: View) -> str:
    """Return what is certified of this choice."""
    exact = _exact(view)
    if exact is None:
        return "L d above 2**22: no exact worst case, the closed form alone"
    return (
        f"|a'({view.span:g})| at most {exact.value:.4f}, certified in "
        f"[{exact.lower:.6f}, {exact.upper:.6f}] for |a(n)| &le; 1 in the window, "
        f"|h| &le; {view.max_coefficient:g}"
    )


def explorer_picture(view: View, seen: dict[str, tuple[list[float], list[float]]]) -> bytes:
    """Return the explorer's picture as PNG bytes; ``seen`` holds the map's points and gains one."""
    if _solved(view.spec):
        seen[view.label] = _point(view.spec, view.scheme, view.target, view.max_coefficient)
    points = tuple((label, growth[0], contrast[0]) for label, (growth, contrast) in seen.items())
    return _picture(view, points)


@lru_cache(maxsize=64)
def _picture(view: View, points: tuple[tuple[str, float, float], ...]) -> bytes:
    figure, axes = frame.new_figure(2, 2, width=style.TEXT_WIDTH, height=5.0)
    (bounds, ratios), (worst, plane) = axes
    _draw_bounds(view, bounds)
    extensions = comparable_extensions(
        view.spec, view.target, dict.fromkeys([view.scheme, "linear"])
    )
    marks.curves(
        np.arange(view.spec.pairs, dtype=float),
        {name: extension.ratios for name, extension in extensions.items()},
        ax=ratios,
        xlabel="pair j (fast to slow)",
        ylabel="theta'_j / theta_j",
        title=f"frequencies kept, factor {view.target / view.spec.context_window:g}",
    )
    _draw_worst(view, worst)
    _draw_map(view, {label: ([x], [y]) for label, x, y in points}, plane)
    return frame.png(figure, dpi=110)


def _draw_bounds(view: View, ax: Any) -> None:
    position = view.span * view.spec.context_window / view.target
    cell, h = math.floor(position), coefficients(view)
    part = np.linspace(0.0, 1.0, 61)
    bounds = {
        form: interpolation_bound(view.spec, cell + part, h, form=form, left=cell, right=cell + 1)
        for form in FORMS
    }
    marks.curves(
        part,
        {"|a - chord|": _deviation(view, h, cell, part), **bounds},
        ax=ax,
        xlabel=f"place in the cell [{cell}, {cell + 1}] (tokens)",
        ylabel="deviation from the chord",
        title="read by Position Interpolation",
    )
    here = position - cell
    marks.mark(here, float(_deviation(view, h, cell, np.array([here]))[0]), "here", ax=ax)


def _deviation(view: View, h: ComplexArray, cell: int, part: FloatArray) -> FloatArray:
    left, right = attention_score(view.spec, h, [cell, cell + 1.0])
    gap: FloatArray = np.abs(
        attention_score(view.spec, h, cell + part) - (1.0 - part) * left - part * right
    )
    return gap


def _draw_worst(view: View, ax: Any) -> None:
    curves = {
        name: _closed_form(view.spec, view.target, name, view.max_coefficient)
        for name in dict.fromkeys([view.scheme, "linear", "default"])
    }
    marks.curves(
        np.linspace(0.0, view.target - 1.0, _CURVE),
        curves,
        ax=ax,
        xlabel="span s (tokens)",
        ylabel="|a'(s)| is at most",
        title="worst case: closed form, exact at s",
    )
    exact = _exact(view)
    if exact is not None:
        marks.mark(view.span, exact.value, f"exact {exact.value:.4g}", ax=ax)


def _draw_map(view: View, seen: Points, ax: Any) -> None:
    marks.paths(
        seen,
        ax=ax,
        xlabel="worst-case growth of |a'(s)|",
        ylabel="worst-case adjacent contrast",
        title="chosen so far, the present one marked",
    )
    with style.applied():
        if view.label in seen:
            growth, contrast = seen[view.label]
            ax.scatter(growth, contrast, s=130, facecolor="none", edgecolor=style.BLACK, zorder=4)
        if seen:
            ax.legend(loc="best", fontsize=6)
