"""Pictures of heads are read back: what is drawn is what the record holds."""

import numpy as np
import pytest
from tiny import synthetic

import pianalysis as pia
from pianalysis.heads import statistics, summary
from pianalysis.pictures import heads, style


@pytest.fixture
def measured(rng):
    layers = [
        synthetic(rng, layer=0),
        synthetic(rng, layer=2, heads=2, groups=1),
        synthetic(rng, layer=3),
    ]
    return statistics.combine([statistics.layer_statistics(layer, seed=0) for layer in layers])


def rendered(figure):
    with style.applied():
        figure.canvas.draw()
    return figure


def test_head_map_puts_every_head_in_its_cell(measured):
    figure = rendered(heads.head_map(measured))
    assert len(figure.axes) == 4  # three maps and one colour bar
    table = measured.table
    for ax, end in zip(figure.axes, (2, 4, 8), strict=False):
        drawn = ax.images[0].get_array()
        assert drawn.shape == (3, 4)
        want = table[f"excess_{end}_median"]
        assert drawn[0].tolist() == want[:4].tolist()
        assert drawn[1, :2].tolist() == want[4:6].tolist()
        assert np.ma.getmaskarray(drawn)[1, 2:].all()
        assert drawn[2].tolist() == want[6:].tolist()
        low, high = ax.images[0].get_clim()
        assert low == -high
        assert high >= np.abs(want).max()
        assert ax.get_xlabel() == "head"
    assert figure.axes[0].get_title(loc="left") == "spans L to 2L"
    assert figure.axes[3].get_ylabel() == "median excess (logits)"


def test_score_fan_draws_the_bands(measured):
    ax = rendered(heads.score_fan(measured)).axes[0]
    bands = measured.bands
    line = ax.lines[0]
    np.testing.assert_array_equal(line.get_ydata(), bands.median)
    assert (line.get_xdata() >= bands.first).all()
    assert (line.get_xdata() <= bands.last).all()
    wide, narrow = (part.get_paths()[0].vertices[:, 1] for part in ax.collections)
    assert (wide.min(), wide.max()) == (bands.p05.min(), bands.p95.max())
    assert (narrow.min(), narrow.max()) == (bands.p25.min(), bands.p75.max())
    assert ax.lines[1].get_xdata()[0] == measured.context_window
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_ylabel() == "signed score a(s) (logits)"


def test_deviations_lie_on_the_right_side_of_the_line(measured):
    figure = rendered(heads.deviation_against_bounds(measured))
    ax = figure.axes[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["paper's form (Eq. 5)", "corrected", "weighted", "paper's form, searched pair"]
    *clouds, searched = ax.collections
    for points, form in zip(clouds, ("paper", "corrected", "weighted"), strict=True):
        x, y = points.get_offsets().T
        np.testing.assert_array_equal(x, measured.table[f"{form}_bound_max"])
        np.testing.assert_array_equal(y, measured.table["deviation_max"])
    assert (x >= y).all()
    x, y = searched.get_offsets().T
    np.testing.assert_allclose(y / x, measured.table["found_ratio"], rtol=1e-12)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_growth_is_drawn_with_its_own_limit(measured):
    spec = pia.RopeSpec(6, 50.0, 13)
    curve = summary.worst_case_curve(spec, 26.0, [0.5, 1.0])
    ax = rendered(heads.growth_against_worst_case(measured, curve)).axes[0]
    _, largest = (points.get_offsets() for points in ax.collections)
    np.testing.assert_array_equal(largest[:, 0], measured.table["growth_limit"])
    np.testing.assert_array_equal(largest[:, 1], measured.table["growth_max"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), curve.value)
    assert ax.lines[0].get_label() == "worst case at s = 26"
