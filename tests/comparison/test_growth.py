"""compare_schemes: both axes against the programmes themselves; the committed map recomputed."""

import json
import math

import numpy as np
import pytest

import pianalysis as pia
from paper_repro.items import schemes as item
from pianalysis.commands import main
from pianalysis.comparison.growth import LIMITS, compare_schemes
from pianalysis.extension import named
from pianalysis.pictures import comparison

SMALL = pia.RopeSpec(16, 100.0, 64)


@pytest.fixture(scope="module")
def small():
    extensions = named.comparable_extensions(SMALL, 256)
    return compare_schemes(SMALL, extensions, max_coefficients=[0.3, 10.0])


def test_a_row_for_each_scheme_and_limit(small):
    assert len(small.scheme) == 2 * len(named.COMPARABLE)
    assert set(small.scheme) == set(named.COMPARABLE)
    assert (small.growth_lower <= small.growth_upper).all()
    assert (small.contrast_lower <= small.contrast_upper).all()
    assert ((small.growth_upper - small.growth_lower) < 1e-6 * small.growth_lower).all()


def test_growth_is_the_largest_worst_case_at_the_spans_tried(small):
    spans = (64 + 0.75 * 191, 64 + 0.95 * 191, 255)
    for scheme in ("default", "linear", "yarn"):
        row = small.only(scheme=scheme, max_coefficient=10.0)
        extension = named.comparable_extensions(SMALL, 256, [scheme])[scheme]
        tried = {
            float(round(span)): pia.worst_case_score(
                SMALL, float(round(span)), max_coefficient=10.0, extension=extension
            ).lower
            for span in spans
        }
        assert row["growth_lower"] == max(tried.values())
        assert row["growth_span"] == max(tried, key=tried.get)


def test_no_extension_grows_nothing_but_the_attention_factor():
    extensions = {"same": pia.PositionInterpolation(SMALL, 64)}
    row = compare_schemes(SMALL, extensions, max_coefficients=[1.0]).only(
        scheme="same", max_coefficient=1.0
    )
    assert row["growth"] == pytest.approx(1.0, rel=1e-9)


def test_interpolation_is_the_stable_end_and_extrapolation_the_other(small):
    for limit in (0.3, 10.0):
        growth = {
            scheme: small.only(scheme=scheme, max_coefficient=limit)["growth"]
            for scheme in named.COMPARABLE
        }
        multiplier = {
            scheme: small.only(scheme=scheme, max_coefficient=limit)["score_multiplier"]
            for scheme in named.COMPARABLE
        }
        contrast = {
            scheme: small.only(scheme=scheme, max_coefficient=limit)["contrast"]
            for scheme in named.COMPARABLE
        }
        assert min(growth, key=growth.get) == "linear"
        cold = {name: value / multiplier[name] for name, value in growth.items()}
        assert max(cold, key=cold.get) == "default"
        assert min(contrast, key=contrast.get) == "linear"


def test_every_span_stays_below_the_bound_shown_beside(small):
    assert (small.growth_lower <= small.largest_upper).all()
    assert (small.largest_lower <= small.largest_upper).all()
    assert (small.largest_upper < 2 * small.growth).all()
    extensions = named.comparable_extensions(SMALL, 256, ["linear"])
    alone = compare_schemes(SMALL, extensions, max_coefficients=[0.3], every_span=False)
    assert np.isnan(alone.largest_upper).all()
    assert alone.growth[0] == small.only(scheme="linear", max_coefficient=0.3)["growth"]


def test_a_window_too_long_for_the_cone_programme():
    spec = pia.RopeSpec(32, 1e6, 2**17 + 2**10)
    found = compare_schemes(
        spec, {"pi": pia.PositionInterpolation(spec, 2**17 + 2**11)}, max_coefficients=[1.0]
    )
    assert np.isnan(found.growth).all()
    assert 1.0 <= found.largest_upper[0] < 2.0
    assert len(comparison.picture(found).axes) == 1


def test_contrast_obeys_the_termwise_bound(small):
    assert (small.contrast_lower <= small.contrast_termwise).all()


def test_attention_factor_is_in_both_axes(small):
    row = small.only(scheme="yarn", max_coefficient=0.3)
    f = 0.1 * math.log(4) + 1
    assert row["score_multiplier"] == pytest.approx(f**2)
    cold = pia.YaRN(SMALL, 256, attention_factor=1.0)
    found = compare_schemes(SMALL, {"cold": cold}, max_coefficients=[0.3]).only(
        scheme="cold", max_coefficient=0.3
    )
    assert found["contrast"] * f**2 == pytest.approx(row["contrast"], rel=1e-6)


def test_processes_change_nothing(small):
    extensions = named.comparable_extensions(SMALL, 256, ["linear", "ntk"])
    one = compare_schemes(SMALL, extensions, max_coefficients=[0.3])
    two = compare_schemes(SMALL, extensions, max_coefficients=[0.3], workers=2)
    assert one.csv() == two.csv()


def test_the_committed_map_is_what_the_programmes_give(rng):
    record = item.read_committed()
    assert len(record.scheme) == len(item.FACTORS) * len(item.COMPARABLE) * len(LIMITS)
    for index in rng.choice(len(record.scheme), 4, replace=False):
        scheme, limit = record.scheme[index], record.max_coefficient[index]
        target = int(record.factor[index] * record.spec.context_window)
        extensions = named.comparable_extensions(record.spec, target, [scheme])
        found = compare_schemes(record.spec, extensions, max_coefficients=[limit])
        for name in ("growth", "contrast", "growth_span", "contrast_termwise"):
            again = found.only(scheme=scheme, max_coefficient=limit)[name]
            assert again == pytest.approx(getattr(record, name)[index], rel=1e-5), (scheme, name)


def test_the_map_is_drawn_from_its_table():
    record = item.read_committed()
    mixed = item.mixed_bases()
    figure = item.plot({"schemes": record, "schemes_mixed_bases": mixed})["schemes"]
    assert len(figure.axes) == 2  # the whole map, and the crowd beside it
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        for line, scheme in zip(ax.lines, item.COMPARABLE, strict=True):
            growth, contrast = record.path(scheme, item.DRAWN)
            np.testing.assert_array_equal(line.get_xdata(), growth)
            np.testing.assert_array_equal(line.get_ydata(), contrast)
            inside = scheme != "linear" or ax is figure.axes[0]
            (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
            seen = (left <= growth) & (growth <= right) & (bottom <= contrast) & (contrast <= top)
            assert seen.all() == inside
    assert {ax.get_xlabel() for ax in figure.axes} == {"worst-case growth of |a'(s)|, |h_j| ≤ 1"}
    assert figure.axes[0].get_ylabel() == "worst-case adjacent contrast"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(item.COMPARABLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_coefficients": []}, "max_coefficients must hold at least one value"),
        ({"max_coefficients": [0.0]}, "max_coefficients must be a finite number above 0"),
        ({"max_coefficients": [math.nan]}, "max_coefficients must be a finite number above 0"),
        ({"workers": 0}, "workers must be an integer from 1 to 64"),
        ({"extensions": {}}, "extensions must share one target"),
        (
            {"extensions": {"a": pia.Unscaled(SMALL, 128), "b": pia.Unscaled(SMALL, 256)}},
            r"extensions must share one target, got \[128, 256\]",
        ),
        (
            {"extensions": {"a": pia.Unscaled(pia.preset("llama-7b"), 4096)}},
            "extensions must extend RopeSpec",
        ),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "extensions": {"pi": pia.PositionInterpolation(SMALL, 128)},
        "max_coefficients": [1.0],
    }
    arguments |= change
    with pytest.raises(ValueError, match=message):
        compare_schemes(SMALL, arguments.pop("extensions"), **arguments)


def test_unknown_schemes_name_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'yarn'"):
        named.comparable_extensions(SMALL, 256, ["yarm"])
    with pytest.raises(ValueError, match="schemes must name at least one scheme"):
        named.comparable_extensions(SMALL, 256, [])


CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "rope_theta": 100.0,
    "max_position_embeddings": 64,
}


def test_command_prints_a_table_and_writes_the_picture(tmp_path, capsys):
    scaling = {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0}
    scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "rope_scaling": scaling}))
    arguments = ["compare", str(path), "--target", "256", "--schemes", "config,linear"]
    assert main.main([*arguments, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "config" in out
    assert "linear" in out
    assert "window 64 -> target 256" in out
    for kind in ("png", "csv", "json"):
        assert (tmp_path / f"compare_config_256.{kind}").stat().st_size > 100
    assert main.main([*arguments, "--out", str(tmp_path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["scheme"][:3] == ["config"] * 3
    assert len(body["growth"]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "1024"], "target must be at least the pretrained context window 2048"),
        (["--target", "8192", "--schemes", "yarm"], "did you mean 'yarn'"),
        (["--target", "8192", "--schemes", "config"], "schemes must not name 'config'"),
        (["--target", "8192", "--out", "nowhere"], "out must be an existing directory"),
        ([], "required"),
    ],
)
def test_bad_commands_are_one_line_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["compare", "llama-7b", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_picture_has_a_panel_for_each_limit(small):
    figure = comparison.picture(small)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["H = 0.3", "H = 10"]


def test_widget_redraws():
    widgets = pytest.importorskip("ipywidgets")
    from pianalysis.commands.explorer import scheme_explorer

    box = scheme_explorer(SMALL)
    controls, image = box.children
    first = bytes(image.value)
    assert first.startswith(b"\x89PNG")
    assert isinstance(image, widgets.Image)
    controls.children[0].value = "ntk"
    assert bytes(image.value) != first
