"""The notebooks' explorer: every control redraws, refusals are said, the picture stands alone."""

import base64
import re

import numpy as np
import pytest

import pianalysis as pia
from pianalysis.commands import explorer

pytest.importorskip("ipywidgets")
SMALL = pia.RopeSpec(16, 100.0, 64)
NAMES = ["scheme", "preset", "head_dim", "base", "window", "target", "span", "H", "phases"]


@pytest.fixture
def box():
    return explorer.scheme_explorer(SMALL)


def parts(box):
    """Controls by name, the reset button, what is told, the picture."""
    controls, image = box.children
    *named, reset, told = controls.children
    return {control.description: control for control in named}, reset, told, image


def test_it_has_the_controls_of_the_page(box):
    controls, reset, _, _ = parts(box)
    assert list(controls) == NAMES
    assert reset.description == "reset"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scheme", "linear"),
        ("head_dim", 8),
        ("base", 50.0),
        ("window", 96),
        ("target", 512),
        ("span", 100.25),
        ("H", 10.0),
        ("phases", "random"),
    ],
)
def test_each_control_redraws_and_reset_goes_back(box, name, value):
    controls, reset, told, image = parts(box)
    before = bytes(image.value)
    first = {key: control.value for key, control in controls.items()}
    controls[name].value = value
    assert bytes(image.value) != before
    assert "refused" not in told.value
    reset.click()
    assert {key: control.value for key, control in controls.items()} == first
    assert bytes(image.value) == before


def test_what_is_told_is_the_certified_worst_case(box):
    controls, _, told, _ = parts(box)
    controls["scheme"].value = "ntk"
    exact = pia.worst_case_score(
        SMALL, controls["span"].value, max_coefficient=1.0, extension=pia.NTKAware(SMALL, 256)
    )
    numbers = [float(one) for one in re.findall(r"\d+\.\d{4,}", told.value)]
    assert numbers == pytest.approx([exact.value, exact.lower, exact.upper], abs=1e-4)
    assert "certified" in told.value


def test_a_refused_choice_is_said_and_the_picture_stays(box):
    controls, _, told, image = parts(box)
    before = bytes(image.value)
    controls["window"].value = 5  # YaRN has no ramp there
    assert "refused" in told.value
    assert bytes(image.value) == before
    controls["window"].value = 64
    assert "certified" in told.value


def test_a_preset_sets_the_model_and_its_target(box, monkeypatch):
    monkeypatch.setattr(explorer, "_solved", lambda spec: False)
    controls, _, told, _ = parts(box)
    controls["preset"].value = "smollm2-135m"
    assert [controls[name].value for name in ("head_dim", "base", "window", "target")] == [
        64,
        1e5,
        8192,
        4 * 8192,
    ]
    assert "closed form alone" in told.value


def test_the_exact_value_lies_below_the_closed_form():
    view = explorer.View(SMALL, 256, "yarn", 160.0, 1.0, "cell")
    exact = explorer._exact(view)
    bound = pia.worst_case_bound(SMALL, 160.0, max_coefficient=1.0, extension=pia.YaRN(SMALL, 256))
    assert exact.upper <= bound * (1 + 1e-12)


def test_phases_bend_alike_in_the_cell():
    view = explorer.View(SMALL, 128, "yarn", 1.0, 2.0, "cell")
    h = explorer.coefficients(view)
    np.testing.assert_allclose(h, 2.0 * np.exp(-0.5j * SMALL.frequencies), rtol=1e-15)
    gap = explorer._deviation(view, h, 0, np.array([0.5]))
    assert gap == pytest.approx(pia.interpolation_bound(SMALL, 0.5, 2.0, form="sharp"), rel=1e-12)


def test_without_a_kernel_the_picture_is_shown(box):
    _, _, _, image = parts(box)
    bundle = box._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == bytes(image.value)
    assert "application/vnd.jupyter.widget-view+json" in bundle
