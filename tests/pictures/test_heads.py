"""Pictures of heads are read back: what is drawn is what the record holds."""

import numpy as np
import pytest
from tiny import synthetic

import pianalysis as pia
from pianalysis.heads import permitted, statistics, summary
from pianalysis.heads.measurement import HeadColumns
from pianalysis.pictures import heads, limits, style


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
    assert figure.axes[3].get_ylabel() == (
        "excess: max a(s) there - max a(n), n < L\n(logits, median of the pairs)"
    )


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
    assert names == [
        *("paper's form (Eq. 5)", "corrected", "weighted", "paper's form, searched pair"),
        "deviation = bound",
    ]
    broken = int((measured.table["found_deviation"] > measured.table["found_bound"]).sum())
    assert f"\n{broken} of {len(measured.table['head'])} heads" in ax.get_title(loc="left")
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
    assert ax.lines[0].get_label() == "permitted at s = 26"


def columns(measured, *prefixes):
    table = {
        name: column
        for name, column in measured.table.items()
        if name in ("layer", "head") or name.startswith(prefixes)
    }
    return HeadColumns(table=table, meanings=measured.meanings, curve=None)


def test_permitted_scores_stand_above_what_is_observed(measured):
    record = permitted.permitted_scores(measured)
    figure = rendered(limits.permitted_picture(record))
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    for label, name in (
        ("permitted: |a(n)| ≤ max(l, u), |h| ≤ H", "two_sided"),
        ("permitted: -l ≤ a(n) ≤ u, |h| ≤ H", "one_sided"),
        ("permitted: each pair's |h_j| limited too", "pairwise"),
        ("observed: largest a(s), L ≤ s < 2L", "observed"),
        ("u: largest trained score", "high"),
    ):
        np.testing.assert_array_equal(lines[label].get_xdata(), [0, 2, 3])
        np.testing.assert_array_equal(lines[label].get_ydata(), getattr(record, name))
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "score (logits)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines)


def test_the_bounded_distance_and_the_other_are_told_apart(measured):
    record = columns(measured, "from_")
    left, right = rendered(limits.softmax_picture(record)).axes
    table = measured.table
    for points, level in zip(left.collections, ("median", "max"), strict=True):
        x, y = points.get_offsets().T
        np.testing.assert_array_equal(x, table[f"from_chords_bound_{level}"])
        np.testing.assert_array_equal(y, table[f"from_chords_{level}"])
        assert (y <= x).all()
    assert (
        left.get_title(loc="left")
        == "PI by 2 against interpolated trained logits:\nbelow the bound"
    )
    shown = {
        points.get_label(): (points.get_offsets()[:, 1], points.get_paths()[0].vertices.shape)
        for points in right.collections
    }
    (other, circle), (chords, square) = shown.values()
    assert list(shown) == [
        "the unextended model (no bound)",
        "interpolated trained logits (bounded)",
    ]
    np.testing.assert_array_equal(other, table["from_unextended_median"])
    np.testing.assert_array_equal(chords, table["from_chords_median"])
    assert circle != square  # another marker: told apart without colour
    assert (left.get_xscale(), left.get_yscale(), right.get_yscale()) == ("log", "log", "log")


def test_averages_are_measured_over_predicted(measured):
    record = columns(measured, "rms_")
    left, right = rendered(limits.average_picture(record)).axes
    table = measured.table
    names = ("rms_own", "rms_1", "rms_2", "rms_deviation")
    for points, name in zip([*left.collections, *right.collections], names, strict=True):
        predicted = "rms_deviation_predicted" if name == "rms_deviation" else "rms_predicted"
        x, y = points.get_offsets().T
        np.testing.assert_allclose(y, table[name] / table[predicted], rtol=1e-15)
        assert (np.rint(x) == table["layer"]).all()
    assert [line.get_ydata()[0] for line in (*left.lines, *right.lines)] == [1.0, 1.0]
    assert left.get_ylabel() == "root mean square, measured /\npredicted by independent phases"
