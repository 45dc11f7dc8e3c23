"""The bound's supremum over a target window: above every exact worst case, and not far above."""

import itertools

import numpy as np
import pytest

import pianalysis as pia
from pianalysis.bounds.worst_case import supremum
from pianalysis.bounds.worst_case.closed_form import checked_problem

MIDDLE = pia.RopeSpec(16, 100.0, 64)
SCHEMES = (pia.Unscaled, pia.PositionInterpolation, pia.NTKAware, pia.YaRN)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("limit", [0.2, 1.0, 10.0])
def test_above_every_exact_worst_case_and_near_the_largest(scheme, limit, rng):
    extension = scheme(MIDDLE, 256)
    found = pia.largest_worst_case(extension, max_coefficient=limit)
    assert found.lower <= found.upper
    spans = np.append(np.sort(rng.uniform(0, 255, 25)), [0.5, 62.9, 63.25, 255.0])
    exact = [
        pia.worst_case_score(MIDDLE, s, max_coefficient=limit, extension=extension) for s in spans
    ]
    assert max(case.lower for case in exact) <= found.upper
    at = pia.worst_case_score(MIDDLE, found.span, max_coefficient=limit, extension=extension)
    largest = max(at.lower, *(case.lower for case in exact))
    assert found.upper <= 1.7 * largest
    own = pia.worst_case_bound(
        MIDDLE, found.span, max_coefficient=limit, extension=extension, updates=20
    )
    assert at.lower <= found.lower * (1 + 1e-6)
    assert found.lower <= own * (1 + 1e-8)  # what is added for the forms' rounding


def test_other_shapes_and_own_limits(rng):
    for spec, target in ((pia.RopeSpec(24, 3000.0, 101), 333), (pia.RopeSpec(6, 20.0, 7), 40)):
        own = rng.uniform(0.1, 2.0, spec.pairs)
        for scheme in (pia.PositionInterpolation, pia.NTKAware):
            extension = scheme(spec, target)
            found = pia.largest_worst_case(extension, max_coefficient=own)
            assert found.limit == pytest.approx(own)
            uniform = pia.largest_worst_case(extension, max_coefficient=own.max())
            assert found.lower <= uniform.upper * (1 + 1e-9)
            h = own * np.exp(2j * np.pi * rng.uniform(size=(3000, spec.pairs)))
            grid = np.abs(pia.attention_score(spec, h, np.arange(float(spec.context_window))))
            h /= np.maximum(grid.max(axis=1, keepdims=True), 1.0)
            seen = np.abs(pia.attention_score(extension, h, np.linspace(0, target - 1, 400)))
            assert seen.max() <= found.upper


def test_interpolation_of_llama_is_within_a_fifth_of_its_last_span(llama):
    extension = pia.PositionInterpolation(llama, 8192)
    for limit, edge in ((1.0, 1.902), (10.0, 1.936)):
        found = pia.largest_worst_case(extension, max_coefficient=limit)
        assert edge <= found.upper <= 1.1 * edge
        assert found.span == 8191.0
        assert 1.123 < found.inside < 1.6


def test_the_plateau_of_llama(llama):
    found = pia.largest_worst_case(pia.Unscaled(llama, 8192), max_coefficient=10.0)
    assert 307.4 < found.lower <= found.upper < 350.0


def test_each_weighting_is_bounded_between_its_spans():
    """Twenty spans in each cell: below the cell's bound, though above both its ends somewhere."""
    scheme = pia.NTKAware(MIDDLE, 256)
    search = supremum._Search(checked_problem(MIDDLE, 3.0, scheme), 70.0, 110.0, 1.0)
    search.run()
    above = 0
    cells = search._cells()
    for cell, (start, stop) in enumerate(itertools.pairwise(search.ends)):
        objectives = search._objectives(np.linspace(start, stop, 21))
        seen = np.stack([search._at(w, objectives) for w in search.family])
        assert seen.min(axis=0).max() <= cells[cell]
        above += (seen.max(axis=1) > np.maximum(seen[:, 0], seen[:, -1]) * (1 + 1e-9)).sum()
        width = stop - start
        for row, weighting in zip(seen, search.family, strict=True):
            ends = max(row[0], row[-1])
            assert row.max() <= ends + width**2 * weighting.curvature / 8 + 1e-12
            assert row.max() <= _cell(search, cell, weighting, row) + 1e-12
    assert above > 10


def _cell(search, cell, weighting, row):
    """The bound that the search gives one weighting on one cell."""
    alone = supremum._Search(search.problem, search.ends[cell], search.ends[cell + 1], 1e9)
    alone.family = [weighting]
    alone.values = np.array([[row[0], row[-1]]])
    return alone.upper


def test_no_extension_is_the_window_itself():
    found = pia.largest_worst_case(pia.PositionInterpolation(MIDDLE, 64), max_coefficient=1.0)
    assert 1.12 < found.upper < 1.6


def test_the_attention_factor_enters_squared():
    yarn = pia.YaRN(MIDDLE, 256)
    found = pia.largest_worst_case(yarn, max_coefficient=1 / 64)
    assert found.upper == pytest.approx(yarn.attention_factor**2 / 8, rel=0.01)


def test_windows_that_the_cone_programme_cannot_hold():
    spec = pia.RopeSpec(32, 500_000.0, 262_144 // 2)
    extension = pia.PositionInterpolation(spec, 262_144)
    found = pia.largest_worst_case(extension, max_coefficient=1.0)
    assert 1.0 <= found.upper < 2.0


def test_the_record_writes_itself(tmp_path):
    found = pia.largest_worst_case(pia.NTKAware(MIDDLE, 128), max_coefficient=1.0)
    found.save(tmp_path / "largest")
    assert len((tmp_path / "largest.csv").read_text().splitlines()) == 9


@pytest.mark.parametrize(
    ("extension", "limit", "error", "words"),
    [
        (MIDDLE, 1.0, TypeError, "extension must be an extension"),
        (pia.Unscaled(MIDDLE, 256), 0.0, ValueError, "max_coefficient must be"),
        (pia.Unscaled(MIDDLE, 256), 1e7, ValueError, "max_coefficient must be"),
        (pia.Unscaled(MIDDLE, 256), [1.0], ValueError, "max_coefficient must be a number or hold"),
        (pia.Unscaled(MIDDLE, 2**19), 1.0, ValueError, "target must be an integer"),
    ],
)
def test_refusals(extension, limit, error, words):
    with pytest.raises(error, match=words):
        pia.largest_worst_case(extension, max_coefficient=limit)
