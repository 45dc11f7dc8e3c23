"""The item's figures show its records: scales, labels, lines and markers read back."""

import math

import numpy as np

import pianalysis as pia
from paper_repro.items import phase_error as item
from pianalysis.precision import formats as low
from pianalysis.precision import table

LLAMA = pia.preset("llama-7b")


def test_figures_show_the_records():
    count = item.POSITIONS.size
    drawn = [("default", name) for name in low.PIPELINES]
    drawn += [(scheme, item.ONE) for scheme in item.CURVES[1:]]
    errors = np.arange(1.0, 1.0 + count * len(drawn))
    errors[count * len(low.PIPELINES) - 1] = np.inf  # float16, beyond its range
    curves = item.PhaseCurves(
        spec=LLAMA,
        target=item.TARGET,
        tolerance=0.1,
        scheme=tuple(scheme for scheme, _ in drawn for _ in range(count)),
        pipeline=tuple(name for _, name in drawn for _ in range(count)),
        position=np.tile(item.POSITIONS, len(drawn)),
        phase_error=errors,
        pair=np.zeros(errors.size, dtype=np.int64),
        score_error=errors,
    )
    cases = [(scheme, name) for scheme in item.SCHEMES for name in low.PIPELINES]
    first = item.FirstWrongPositions(
        spec=LLAMA,
        target=item.TARGET,
        tolerance=0.1,
        searched=table.SEARCHED,
        scheme=tuple(scheme for scheme, _ in cases),
        pipeline=tuple(name for _, name in cases),
        first=np.array([math.inf, *range(2, 1 + len(cases))], dtype=float),
        always=np.full(len(cases), math.inf),
    )
    figures = item.plot({"phase_error": curves, "phase_error_first": first})
    left, right = figures["phase_error"].axes
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
    assert left.get_xlabel() == "position (tokens), sampled"
    assert left.get_ylabel() == "largest phase error at sampled\npositions (rad)"
    for ax, names in ((left, tuple(low.PIPELINES)), (right, item.CURVES)):
        lines = [line for line in ax.lines if not line.get_label().startswith("_")]
        marks = ("first wrong of all (proved)", f"L = {LLAMA.context_window}")
        assert tuple(line.get_label() for line in lines) == (*names, *marks)
        assert set(lines[-2].get_ydata()) == {0.1}
        assert set(lines[-1].get_xdata()) == {LLAMA.context_window}
        assert any(set(line.get_ydata()) == {0.1} for line in ax.lines if line not in lines)
    np.testing.assert_array_equal(left.lines[1].get_ydata(), errors[count : 2 * count])
    assert np.isnan(left.lines[5].get_ydata()[-1])
    (ax,) = figures["phase_error_first"].axes
    assert [text.get_text() for text in ax.get_yticklabels()] == list(item.SCHEMES)
    assert ax.lines[0].get_xdata().tolist() == first.first[6::6].tolist()
    assert ax.lines[1].get_xdata().tolist() == first.first[1::6].tolist()
