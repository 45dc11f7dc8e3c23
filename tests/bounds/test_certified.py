"""Certified intervals: they contain the truth, they are thin, and broken proofs are noticed."""

import itertools
import math
from fractions import Fraction

import numpy as np
import oracles
import pytest
from oracles import mp

import pianalysis as pia
from pianalysis.bounds.certified import abel, constants, first, minimum
from pianalysis.bounds.certified.ratio import bound_ratio, ratio_readings
from pianalysis.rope.balls import outward

SPECS = [(128, 1e4), (64, 1e4), (96, 5e5), (6, 3.0), (2, 7.5)]


def spec_of(dim, base):
    return pia.RopeSpec(dim, base, 2048)


def encloses(found, truth):
    """Whether an interval contains a 50-digit number and is thin."""
    with mp.workdps(50):
        inside = mp.mpf(found.lower) <= truth <= mp.mpf(found.upper)
        return inside and found.width <= 4 * math.ulp(float(truth))


def brute_minimum(dim, base, start, stop, count):
    """Grid search, then golden section at 50 digits."""
    grid = np.linspace(start, stop, count)
    values = pia.abel_sum(spec_of(dim, base), grid)
    at = int(values.argmin())
    theta = oracles.theta(base, dim)
    with mp.workdps(30):
        low, high = mp.mpf(grid[max(at - 1, 0)]), mp.mpf(grid[min(at + 1, count - 1)])
        ratio = (mp.sqrt(5) - 1) / 2
        for _ in range(60):
            a, b = high - ratio * (high - low), low + ratio * (high - low)
            if fine_abel(theta, a) < fine_abel(theta, b):
                high = b
            else:
                low = a
        middle = (low + high) / 2
        return middle, fine_abel(theta, middle)


def fine_abel(theta, s):
    """B at a span of many digits (oracles.abel rounds its span to float64)."""
    partial, total = mp.mpc(0), mp.mpf(0)
    for t in theta:
        partial += mp.expj(t * s)
        total += abs(partial)
    return total


@pytest.mark.parametrize(("dim", "base"), SPECS)
def test_constants_contain_the_fifty_digit_values(dim, base, rng):
    spec, theta = spec_of(dim, base), oracles.theta(base, dim)
    h = rng.standard_normal(dim // 2) + 1j * rng.standard_normal(dim // 2)
    with mp.workdps(50):
        squares = sum(t**2 for t in theta)
        assert encloses(constants.theta_square_sum(spec), squares)
        largest = max(abs(mp.mpc(complex(x))) for x in h)
        weighted = sum(abs(mp.mpc(complex(x))) * t**2 for x, t in zip(h, theta, strict=True))
        for left, s, right in ((0.0, 0.5, 1.0), (7.0, 7.3, 8.0), (2.0, 4.5, 9.0)):
            u, v = mp.mpf(s) - left, mp.mpf(right) - s
            share = u / (u + v)
            sharp = sum(
                abs(mp.expj(s * t) - (1 - share) * mp.expj(left * t) - share * mp.expj(right * t))
                for t in theta
            )
            truth = {
                "paper": dim * largest * u * v / (8 * mp.log(base)),
                "corrected": largest * u * v / 2 * squares,
                "sharp": largest * sharp,
                "weighted": u * v / 2 * weighted,
            }
            for form, value in truth.items():
                found = constants.interpolation_bound(spec, s, h, form=form, left=left, right=right)
                assert encloses(found, value), (form, found)
                measured = pia.interpolation_bound(spec, s, h, form=form, left=left, right=right)
                assert float(measured) == pytest.approx(float(value), rel=1e-12)
        for s in (0.5, 3642.25, 123456.0):
            assert encloses(constants.abel_sum(spec, s), oracles.abel(theta, s))
        assert encloses(constants.grid_constant(spec), 1 / mp.cos(mp.mpf(1) / 2))
        paper = mp.mpf(dim) / (32 * mp.log(base))
        sharp = sum(1 - mp.cos(t / 2) for t in theta)
        forms = {
            "paper": 2 * dim / paper,
            "corrected": 16 * dim / squares,
            "sharp": dim / 2 / sharp,
        }
        for form, value in forms.items():
            assert encloses(bound_ratio(spec, form=form), value)


def test_audited_constants(llama):
    ours = {
        "square": constants.theta_square_sum(llama),
        "corrected": constants.interpolation_bound(llama, 0.5),
        "paper": constants.interpolation_bound(llama, 0.5, form="paper"),
        "sharp": constants.interpolation_bound(llama, 0.5, form="sharp"),
    }
    printed = {"square": 3.998308, "corrected": 0.499789, "paper": 0.434294, "sharp": 0.493876}
    for name, value in printed.items():
        assert ours[name].lower == pytest.approx(value, abs=5.1e-7)
    readings = ratio_readings(llama)
    expected = [589.46, 512.22, 129.59, 829.7, 657.8, 521.2, 410.5, 370.9]
    assert readings.lower == pytest.approx(expected, abs=0.05)
    assert (readings.upper - readings.lower <= 2e-13).all()
    assert readings.at_span[3:].tolist() == [1893.0, 3643.0, 8142.0, 16343.0, 22297.0]


@pytest.mark.parametrize(("dim", "about"), [(128, 7.1654625), (64, None), (2, None), (8, None)])
def test_threshold_by_an_independent_root_finder(dim, about):
    found = constants.paper_bound_threshold(dim)
    with mp.workdps(50):

        def excess(x):
            terms = (1 - mp.cos(mp.exp(-2 * j * x / dim) / 2) for j in range(dim // 2))
            return mp.mpf(dim) / 32 - x * sum(terms)

        root = mp.exp(mp.findroot(excess, mp.log(found.lower)))
    assert encloses(found, root)
    if about:
        assert found.lower == pytest.approx(about, abs=1e-6)


@pytest.mark.parametrize("dim", [2, 6, 64, 96, 128])
def test_float_error_bound_holds_on_thousands_of_spans(dim, rng):
    import flint

    spec = spec_of(dim, 1e4)
    bound = abel.float_error(dim // 2)
    grids = [
        3640 + np.arange(600) / 64,
        2.0**31 * np.arange(300),
        rng.random(500) * 5000,
        rng.random(300) * 2.0**40,
    ]
    worst = 0.0
    with flint.ctx.workprec(160):
        theta = abel.exact_frequencies(spec)
        for grid in grids:
            for s, value in zip(grid, pia.abel_sum(spec, grid), strict=True):
                gap = abel.abel_ball(theta, flint.arb(float(s))) - float(value)
                worst = max(worst, outward(abs(gap))[1])
    assert worst <= bound
    assert bound < 6e-11  # and says something: B is about 100


@pytest.mark.parametrize(("dim", "base"), SPECS)
def test_lipschitz_constant_against_its_definition(dim, base, rng):
    found = abel.lipschitz(spec_of(dim, base))
    theta = oracles.theta(base, dim)
    with mp.workdps(50):
        truth = sum(
            min(sum(abs(x - m) for x in theta[: k + 1]) for m in theta[: k + 1])
            for k in range(dim // 2)
        )
        plain = sum(sum(theta[: k + 1]) for k in range(dim // 2))
        assert truth <= found <= truth + mp.mpf(10) ** -12
        assert found <= plain
    points = np.sort(rng.random(20000) * 300)
    values = pia.abel_sum(spec_of(dim, base), points)
    slack = 2 * abel.float_error(dim // 2)
    assert (np.abs(np.diff(values)) <= found * np.diff(points) + slack).all()


@pytest.mark.parametrize(("dim", "base"), SPECS[:4])
def test_slopes_of_a_cell_contain_difference_quotients(dim, base, rng):
    import flint

    spec = spec_of(dim, base)
    theta = oracles.theta(base, dim)
    for radius in (1e-6, 1e-2, 0.3):
        middle = float(rng.random() * 500)
        with flint.ctx.workprec(128):
            balls = abel.exact_frequencies(spec)
            ball = flint.arb(radius)
            value, slope = abel.abel_and_slope(balls, flint.arb(middle), ball)
        low, high = outward(slope)
        with mp.workdps(50):
            assert outward(value)[0] <= fine_abel(theta, mp.mpf(middle)) <= outward(value)[1]
            points = [middle + mp.mpf(radius) * k / 8 for k in range(-8, 9)]
            values = [fine_abel(theta, x) for x in points]
            quotients = [8 * (b - a) / mp.mpf(radius) for a, b in itertools.pairwise(values)]
        assert low <= min(quotients)
        assert max(quotients) <= high
        assert high - low < 2 * abel.lipschitz(spec) * 1.01 * min(1, 300 * radius)


def test_global_minimum_of_the_paper_range(llama):
    found = minimum.smallest_abel_sum(llama, 0.0, 4096.0)
    at, truth = brute_minimum(128, 1e4, 3642.0, 3644.0, 2001)
    assert found.value.lower <= truth <= found.value.upper
    assert found.value.width < 1e-13
    assert found.location_lower.size == 1
    assert found.location_lower[0] <= at <= found.location_upper[0]
    assert found.location_upper[0] - found.location_lower[0] < 1e-7
    assert found.value.lower / 128 == pytest.approx(1.1148, abs=5e-5)
    assert found.location_lower[0] == pytest.approx(3642.89, abs=5e-3)
    # Nothing the library can sample lies below it.
    assert pia.abel_sum(llama, np.arange(0.0, 4096.0, 1 / 64)).min() > found.value.lower
    at_integers = abel.smallest_at_integers(llama, 4096)
    assert at_integers.location_lower.tolist() == [3643.0]
    assert at_integers.value.lower / 128 == pytest.approx(1.1159, abs=5e-5)
    assert encloses(at_integers.value, oracles.abel(oracles.theta(1e4, 128), 3643.0))


@pytest.mark.parametrize(
    ("dim", "base", "start", "stop"),
    [
        (64, 1e4, 0.0, 1000.0),
        (96, 5e5, 100.5, 400.25),
        (16, 100.0, 3.0, 250.0),
        (128, 1.001, 0.0, 300.0),  # falls to the very end
        (10, 7.0, 0.25, 0.75),  # narrower than a cell
    ],
)
def test_minimum_contains_a_brute_force_one(dim, base, start, stop):
    found = minimum.smallest_abel_sum(spec_of(dim, base), start, stop)
    at, truth = brute_minimum(dim, base, start, stop, 200_001)
    assert found.value.lower <= float(truth) * (1 + 1e-15)
    assert float(truth) <= found.value.upper + 1e-12
    assert found.value.width < 1e-8
    inside = (found.location_lower <= float(at) + 1e-7) & (float(at) - 1e-7 <= found.location_upper)
    assert inside.any()


@pytest.mark.parametrize(("dim", "base", "stop"), [(4, 16.0, 2e6), (256, 2.0, 1e4)])
def test_too_many_equal_minima_leave_a_wide_answer_that_is_true(dim, base, stop):
    spec = spec_of(dim, base)
    found = minimum.smallest_abel_sum(spec, 0.0, stop)
    sums = pia.abel_sum(spec, np.random.default_rng(5).uniform(0.0, stop, 200_000))
    assert found.value.lower <= sums.min()
    assert found.value.lower <= found.value.upper < sums.min() * 1.01
    apart = found.location_upper[:-1] < found.location_lower[1:]
    assert apart.all()
    if dim == 4:  # B = 1 + 2 |cos(3 s / 8)|, least wherever the cosine vanishes
        assert found.value.lower <= 1.0 <= found.value.upper
        least = (2.0 * np.arange(int(stop * 3.0 / 8.0 / np.pi - 0.5)) + 1.0) * np.pi * 4.0 / 3.0
        at = np.searchsorted(found.location_lower, least, side="right") - 1
        assert (least <= found.location_upper[at] * (1.0 + 1e-15)).all()


def test_ties_and_kinks_are_all_found():
    # B = 1 + 2 |cos((1 - theta_1) s / 2)|, theta_1 = 1/4: zero of the cosine at odd (4/3) pi.
    found = minimum.smallest_abel_sum(spec_of(4, 16.0), 0.5, 40.0)
    truth = math.pi * 4 / 3 * np.arange(1, 10, 2)
    assert found.location_lower.size == truth.size
    assert (found.location_lower <= truth).all()
    assert (truth <= found.location_upper).all()
    assert found.value.contains(1)
    assert found.value.width < 1e-8
    constant = minimum.smallest_abel_sum(spec_of(2, 9.0), 1.0, 5.0)
    assert (constant.value.lower, constant.value.upper) == (1.0, 1.0)
    assert (constant.location_lower[0], constant.location_upper[0]) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("dim", "level", "integer", "real"), [(128, 1.0, 4861, 4505.68), (64, 1.0, 1181, 1180.52)]
)
def test_first_spans_below(dim, level, integer, real):
    spec = spec_of(dim, 1e4)
    found = first.first_span_below(spec, level)
    assert found.integer == integer
    assert found.real.lower == pytest.approx(real, abs=5e-3)
    assert found.real.width < 1e-8
    theta = oracles.theta(1e4, dim)
    assert oracles.abel(theta, found.real.upper) < level * dim
    assert oracles.abel(theta, found.real.lower - 1e-6) > level * dim
    assert encloses(found.ratio, oracles.abel(theta, integer) / dim)
    before = pia.abel_sum(spec, np.arange(0, found.real.lower, 1 / 32))
    assert before.min() >= level * dim
    assert (pia.abel_sum(spec, np.arange(float(integer))) >= level * dim).all()


def test_first_spans_at_the_ends(llama):
    # B(0) = d/2 (d/2 + 1)/2 is the level exactly: B is below it at once, but not at 0.
    at_once = first.first_span_below(llama, 16.25)
    assert at_once.integer == 1
    assert at_once.real.contains(0)
    assert at_once.real.width < 1e-8
    high = first.first_span_below(llama, 17.0)
    assert (high.integer, high.real.lower, high.real.upper) == (0, 0.0, 0.0)
    none = first.first_span_below(llama, 0.9, stop=4096)
    assert none.integer is None
    assert none.real is None
    # Real spans dip below between integers only.
    shallow = first.first_span_below(llama, 1.115, stop=4096)
    assert shallow.integer is None
    theta = oracles.theta(1e4, 128)
    assert 3642 < shallow.real.lower < shallow.real.upper < 3643
    assert oracles.abel(theta, shallow.real.upper) < mp.mpf(1.115) * 128
    assert oracles.abel(theta, shallow.real.lower - 1e-6) > mp.mpf(1.115) * 128


def halved(spec, original=abel.lipschitz):
    return original(spec) / 2


def test_a_halved_lipschitz_constant_is_caught(monkeypatch):
    spec = spec_of(4, 16.0)  # K is attained here
    truth = math.pi * 4 / 3
    sound = first.first_span_below(spec, 0.2501, stop=2000)
    assert sound.real.lower <= truth <= sound.real.upper + 1e-2
    monkeypatch.setattr(abel, "lipschitz", halved)
    broken = first.first_span_below(spec, 0.2501, stop=2000)
    assert broken.real is None or broken.real.lower > truth + 1
    with mp.workdps(30):
        assert abel.lipschitz(spec) < mp.mpf(3) / 4


def test_a_missing_rounding_error_or_wrong_kernel_is_caught(monkeypatch, llama):
    monkeypatch.setattr(abel, "float_error", lambda pairs: 1e-16)
    with pytest.raises(AssertionError):
        test_float_error_bound_holds_on_thousands_of_spans(128, np.random.default_rng(0))


def test_records_carry_inputs_and_write_themselves(llama, tmp_path):
    found = minimum.smallest_abel_sum(llama, 3600.0, 3700.0)
    found.save(tmp_path / "smallest")
    assert '"decimal": "[142.69728073' in (tmp_path / "smallest.json").read_text()
    assert (tmp_path / "smallest.csv").read_text().startswith("location_lower,location_upper\n")
    one = constants.theta_square_sum(llama)
    assert one.contains(Fraction(one.lower))
    assert not one.contains(one.upper + 1)
    assert one.bits >= 128


def test_outward_never_rounds_inward():
    import flint

    with flint.ctx.workprec(128):
        low, high = outward(flint.arb(1) / 3)
    assert Fraction(low) < Fraction(1, 3) < Fraction(high)
    assert high == math.nextafter(low, 1)
    assert outward(flint.arb(5)) == (5.0, 5.0)
    with pytest.raises(ValueError, match="ball must be finite"):
        outward(flint.arb("nan"))


def test_refusals(llama):
    smallest = minimum.smallest_abel_sum
    with pytest.raises(ValueError, match=r"stop must be above start, got 1\.0"):
        smallest(llama, 1.0, 1.0)
    with pytest.raises(ValueError, match="start must be a finite number at least 0"):
        smallest(llama, -1.0, 1.0)
    with pytest.raises(ValueError, match="stop must be a finite number"):
        smallest(llama, 0.0, float("nan"))
    with pytest.raises(ValueError, match=r"stop must be at most .* tokens above start"):
        smallest(llama, 0.0, 1e12)
    with pytest.raises(ValueError, match="tolerance must be a finite number"):
        smallest(llama, 0.0, 1.0, tolerance=0.0)
    with pytest.raises(TypeError, match="spec must be a RopeSpec"):
        smallest(128, 0.0, 1.0)
    with pytest.raises(ValueError, match="level must be a finite number above 0"):
        first.first_span_below(llama, 0.0)
    with pytest.raises(ValueError, match="stop must be an integer"):
        first.first_span_below(llama, stop=0)
    with pytest.raises(ValueError, match=r"level must be one that B crosses, got 0\.25"):
        first.first_span_below(spec_of(4, 16.0), 0.25)
    with pytest.raises(ValueError, match="stop must be an integer from 1"):
        abel.smallest_at_integers(llama, 0)
    with pytest.raises(ValueError, match=r"stop must be at most start \+ 2\*\*27"):
        abel.smallest_at_integers(llama, 2**30)
    with pytest.raises(ValueError, match="form must be one of"):
        constants.interpolation_bound(llama, 0.5, form="triangle")
    with pytest.raises(ValueError, match="s must be one span"):
        constants.interpolation_bound(llama, [0.5, 1.5])
    with pytest.raises(ValueError, match="s must lie in its cell"):
        constants.interpolation_bound(llama, 0.5, left=1.0, right=2.0)
    with pytest.raises(ValueError, match="h must be one row"):
        constants.interpolation_bound(llama, 0.5, np.ones((2, 64)))
    with pytest.raises(ValueError, match="s must be one span"):
        constants.abel_sum(llama, [1.0])
    with pytest.raises(ValueError, match="form must be one of"):
        bound_ratio(llama, form="abel")
    with pytest.raises(ValueError, match="windows must be an integer"):
        ratio_readings(llama, [0])
    with pytest.raises(ValueError, match="head_dim must be a positive even integer, got 7"):
        constants.paper_bound_threshold(7)


@pytest.mark.parametrize(("dim", "expected"), [(128, 6.02536), (64, 4.63944), (2, 1.6487213)])
def test_the_largest_base_with_eq_5_true_in_every_cell(dim, expected):
    threshold = pia.paper_bound_threshold(dim, cells="all")
    assert threshold.lower == pytest.approx(expected, rel=2e-6)
    assert threshold.width < 1e-13
    with mp.workdps(50):
        for base, holds in ((threshold.lower, True), (threshold.upper, False)):
            c = mp.mpf(base)
            corrected = (1 - c**-2) / (1 - c ** (mp.mpf(-4) / dim))
            paper = dim / (4 * mp.log(c))
            assert (corrected <= paper * (1 + mp.mpf(10) ** -15)) or not holds
            assert (corrected >= paper * (1 - mp.mpf(10) ** -15)) or holds
    if dim > 2:
        narrow = 1e-4
        for base, above in ((0.99 * threshold.lower, True), (1.01 * threshold.upper, False)):
            spec = pia.RopeSpec(dim, base, 64)
            cell = {"left": 0.0, "right": narrow}
            paper = pia.interpolation_bound(spec, narrow / 2, form="paper", **cell)
            sharp = pia.interpolation_bound(spec, narrow / 2, form="sharp", **cell)
            assert (paper > sharp) == above
    assert threshold.upper < pia.paper_bound_threshold(dim).lower
    with pytest.raises(ValueError, match="cells must be one of all, unit"):
        pia.paper_bound_threshold(dim, cells="some")
