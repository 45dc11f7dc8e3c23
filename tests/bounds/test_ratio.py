"""The readings of the ~600x."""

import math

import numpy as np
import oracles
import pytest

import pianalysis as pia


def test_audited_readings(llama):
    assert pia.bound_ratio(llama) == pytest.approx(589.46, abs=0.005)
    assert pia.bound_ratio(llama, form="corrected") == pytest.approx(512.22, abs=0.005)
    assert pia.bound_ratio(llama, form="sharp") == pytest.approx(129.59, abs=0.005)
    readings = pia.ratio_readings(llama)
    assert readings.lower[3:] == pytest.approx([829.7, 657.8, 521.2, 410.5, 370.9], abs=0.06)
    assert readings.at_span[-1] == 22297
    assert readings.smallest_lower[-1] / 128 == pytest.approx(0.62919, abs=5e-6)


@pytest.mark.parametrize(("dim", "base"), [(64, 1e5), (128, 5e5), (24, 1e4)])
def test_other_specs_against_definitions(dim, base):
    spec = pia.RopeSpec(dim, base, 2048)
    theta = oracles.theta(base, dim)
    midpoint = float(sum(t**2 for t in theta)) / 8
    sharp = float(sum(1 - oracles.mp.cos(t / 2) for t in theta))
    assert pia.bound_ratio(spec) == pytest.approx(64 * math.log(base), rel=1e-13)
    assert pia.bound_ratio(spec, form="corrected") == pytest.approx(2 * dim / midpoint, rel=1e-12)
    assert pia.bound_ratio(spec, form="sharp") == pytest.approx(dim / 2 / sharp, rel=1e-12)
    reading = pia.ratio_readings(spec, [50])
    lowest = min(float(oracles.abel(theta, n)) for n in range(50))
    exact = 2 * lowest * 32 * math.log(base) / dim
    assert reading.lower[3] * (1 - 1e-12) <= exact <= reading.upper[3] * (1 + 1e-12)
    assert reading.upper[3] - reading.lower[3] < 1e-12 * exact


def test_refusals(llama):
    with pytest.raises(ValueError, match="form must be one of"):
        pia.bound_ratio(llama, form="abel")
    with pytest.raises(ValueError, match="windows must be an integer"):
        pia.ratio_readings(llama, [0])
    with pytest.raises(TypeError, match="spec must be a RopeSpec"):
        pia.bound_ratio(128)


def test_record_writes_its_table(llama, tmp_path):
    record = pia.ratio_readings(llama, [64])
    record.save(tmp_path / "ratio")
    text = (tmp_path / "ratio.csv").read_text().splitlines()
    assert text[0] == "reading,window,lower,upper,smallest_lower,smallest_upper,at_span"
    assert float(text[1].split(",")[2]) == record.lower[0]
    assert np.isnan(record.at_span[0])
