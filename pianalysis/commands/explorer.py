"""An interactive cell for notebooks: sliders for scheme, factor and limit, one picture."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis.comparison.growth import LIMITS, compare_schemes
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.pictures import frame, marks, style
from pianalysis.rope.spec import RopeSpec, check_spec

FACTORS = (2, 4, 8, 16, 32)


def scheme_explorer(spec: RopeSpec) -> Any:
    """Return a widget: choose scheme, factor and H; see every pair's ratio and the worst case.

    The left panel shows theta'_j / theta_j of the scheme beside Position Interpolation, the right
    one its point on the map, growth against contrast, beside those chosen before. A new point
    takes two or three seconds and is kept.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model; L d at most 2**22.

    Returns
    -------
    ipywidgets.VBox. It needs a running kernel; the notebook's static figure stands for it without.
    """
    import ipywidgets

    check_spec(spec)
    scheme = ipywidgets.Dropdown(options=COMPARABLE, value="yarn", description="scheme")
    factor = ipywidgets.SelectionSlider(
        options=FACTORS, value=4, description="factor", continuous_update=False
    )
    max_coefficient = ipywidgets.SelectionSlider(
        options=LIMITS, value=1.0, description="H", continuous_update=False
    )
    image = ipywidgets.Image(format="png")
    seen: dict[str, tuple[list[float], list[float]]] = {}

    def redraw(_: Any = None) -> None:
        label = f"{scheme.value} x{factor.value}, H = {max_coefficient.value:g}"
        seen[label] = _point(spec, scheme.value, factor.value, max_coefficient.value)
        image.value = explorer_picture(spec, scheme.value, factor.value, seen)

    for control in (scheme, factor, max_coefficient):
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([ipywidgets.HBox([scheme, factor, max_coefficient]), image])


@lru_cache(maxsize=256)
def _point(
    spec: RopeSpec, scheme: str, factor: int, max_coefficient: float
) -> tuple[list[float], list[float]]:
    extensions = comparable_extensions(spec, factor * spec.context_window, [scheme])
    point = compare_schemes(spec, extensions, max_coefficients=[max_coefficient]).only(
        scheme=scheme
    )
    return [point["growth"]], [point["contrast"]]


def explorer_picture(
    spec: RopeSpec,
    scheme: str,
    factor: int,
    points: dict[str, tuple[list[float], list[float]]],
) -> bytes:
    """Return the explorer's picture as PNG bytes: ratios on the left, map points on the right."""
    target = factor * spec.context_window
    extensions = comparable_extensions(spec, target, dict.fromkeys([scheme, "linear"]))
    figure, (left, right) = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    marks.curves(
        np.arange(spec.pairs, dtype=float),
        {name: extension.ratios for name, extension in extensions.items()},
        ax=left,
        xlabel="pair j (fast to slow)",
        ylabel="theta'_j / theta_j",
        title=f"frequencies kept, factor {factor}",
        legend="best",
    )
    marks.paths(
        points,
        ax=right,
        xlabel="worst-case growth of |a'(s)|",
        ylabel="worst-case adjacent contrast",
        title="chosen so far",
    )
    with style.applied():
        right.legend(loc="best", fontsize=6)
    return frame.png(figure, dpi=110)
