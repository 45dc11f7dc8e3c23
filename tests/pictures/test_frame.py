"""Pictures are read back: labels, scales, lines; and drawing leaves Matplotlib as it was."""

import matplotlib as mpl
import numpy as np

from paper_repro import runner
from pianalysis.pictures import frame, marks, style


def test_curves_draw_what_they_are_given():
    _, ax = frame.new_figure()
    x = np.arange(1.0, 5.0)
    marks.curves(x, {"a": x**2, "b": x}, ax=ax, xlabel="x (tokens)", ylabel="y", logy=True)
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert np.array_equal(ax.lines[0].get_ydata(), x**2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (tokens)", "y")
    assert ax.get_yscale() == "log"
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_drawing_changes_no_global_state():
    before = dict(mpl.rcParams)
    figure, ax = frame.new_figure()
    marks.curves([0, 1], {"a": [0, 1]}, ax=ax, xlabel="x", ylabel="y")
    with style.applied():
        figure.canvas.draw()
    assert dict(mpl.rcParams) == before


def test_phase_wheel_tells_full_turns_from_partial():
    _, ax = frame.new_figure()
    marks.phase_wheel(np.array([100.0, 3.0]), ax=ax)
    assert [line.get_color() for line in ax.lines] == [style.SKY, style.RED]
    assert np.allclose(np.hypot(ax.lines[1].get_xdata(), ax.lines[1].get_ydata()), 1.0)


def test_figure_5_axes_and_data():
    records = runner.compute("fig5")
    ax = runner.load("fig5").plot(records)["fig5"].axes[0]
    assert ax.get_xlabel() == "span s (tokens)"
    assert ax.get_ylabel() == "B(s)/d"
    assert np.array_equal(ax.lines[0].get_ydata(), records["fig5"].ratio)
    assert ax.lines[1].get_ydata()[0] == 1.0
