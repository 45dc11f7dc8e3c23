"""Phase errors: torch's own low-precision arithmetic, 50 digits, brute force, the command."""

import json
import math

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import pianalysis as pia
from pianalysis.commands import main
from pianalysis.precision import formats as low
from pianalysis.precision import search
from pianalysis.precision.emulation import emulation

LLAMA = pia.preset("llama-7b")
SMALL = pia.RopeSpec(16, 100.0, 64)
MODELS = {
    "llama": LLAMA,
    "odd base": pia.RopeSpec(80, 123_456.789, 4096),
    "pi": pia.PositionInterpolation(LLAMA, 5000),
    "ntk": pia.NTKAware(LLAMA, 8192),
    "yarn": pia.YaRN(LLAMA, 16_384),
    "llama3": pia.Llama3(pia.preset("llama-3.1-8b"), 131_072, factor=8.0),
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def by_torch(buffer, positions, pipeline, gain=1.0):
    """(phases, cos, sin) of a float32 buffer, computed in torch's own dtypes."""
    form = low.PIPELINES[pipeline]
    frequencies = torch.tensor(buffer).to(DTYPES[form.frequencies]).to(DTYPES[form.phases])
    n = torch.tensor(positions.astype(np.int64)).to(DTYPES[form.phases])
    phases = n[:, None] * frequencies
    cos, sin = phases.cos() * gain, phases.sin() * gain
    last = DTYPES[form.rotations]
    return tuple(x.float().numpy() for x in (phases, cos.to(last), sin.to(last)))


def truth(model):
    """theta'_j at 50 digits; for schemes without a closed form, of the model's own two floats."""
    if isinstance(model, pia.RopeSpec):
        return oracles.theta(model.base, model.rotary_dim)
    if isinstance(model, pia.PositionInterpolation):
        share = mp.mpf(model.spec.context_window) / model.target
        return [share * t for t in oracles.theta(model.spec.base, model.spec.rotary_dim)]
    with mp.workdps(50):
        both = zip(model.frequencies, model.frequencies_tail, strict=True)
        return [mp.mpf(float(x)) + mp.mpf(float(y)) for x, y in both]


def by_mpmath(model, n, pipeline):
    """(largest phase error, score error) at 50 digits, rounding in torch."""
    form = low.PIPELINES[pipeline]
    emulated = emulation(model, pipeline)
    phases = by_torch(emulated.buffer, np.array([float(n)]), pipeline)[0][0]

    def cast(value):
        out = torch.tensor(np.float32(float(value))).to(DTYPES[form.phases])
        return float((out * float(model.attention_factor)).to(DTYPES[form.rotations]))

    errors, total = [], mp.mpf(0)
    with mp.workdps(50):
        gain = mp.mpf(float(model.attention_factor)) ** 2
        for phase, t in zip(phases, truth(model), strict=True):
            phi = mp.mpf(float(phase))
            turn = mp.mpc(cast(mp.cos(phi)), cast(mp.sin(phi)))
            errors.append(abs(phi - n * t + mp.arg(turn * mp.expj(-phi))))
            total += abs(cast(1) * turn - gain * mp.expj(n * t))
        return max(errors), total / gain / len(errors)


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_rounding_is_torchs_on_every_kind_of_number(form, rng):
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    ties = (rng.integers(0, 2**16, 20_000, dtype=np.uint32) << np.uint32(16)) | np.uint32(0x8000)
    values = np.concatenate([bits, ties]).view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520], np.float32)
    values = np.concatenate([values, rng.normal(size=20_000).astype(np.float32), special])
    theirs = torch.tensor(values).to(DTYPES[form]).float().numpy()
    ours = low.rounded(values, form)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours[ours == 0]), np.signbit(theirs[theirs == 0]))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pipeline", low.PIPELINES)
def test_phases_are_torchs_bit_for_bit(name, pipeline, rng):
    model = MODELS[name]
    n = np.concatenate([np.arange(300), rng.integers(0, 2**25, 700), [65504, 65520, 2**24 + 1]])
    emulated = emulation(model, pipeline)
    gain = float(model.attention_factor)
    phases, cos, sin = by_torch(emulated.buffer, n, pipeline, gain)
    with np.errstate(invalid="ignore"):
        ours = low.computed_phases(n[:, None].astype(float), emulated.buffer, emulated.pipeline)
    np.testing.assert_array_equal(ours, phases)
    finite = np.isfinite(phases)
    # cos and sin: torch's float32 ones may differ by a unit in the last place; few casts notice.
    found = emulated.rotations(phases[finite].astype(float))
    unit = 2.0 * low.UNIT_ROUNDOFF[emulated.pipeline.rotations]
    for mine, theirs in zip(found, (cos[finite], sin[finite]), strict=True):
        assert np.abs(mine - theirs).max() <= gain * unit * 1.01
        if emulated.pipeline.rotations != "float32":
            assert (mine != theirs).mean() < 1e-3


@pytest.mark.parametrize(
    ("scaling", "extension", "units"),
    [
        (None, LLAMA, 0),
        (
            {"rope_type": "linear", "factor": 4.0},
            pia.PositionInterpolation(LLAMA, 8192),
            0,
        ),
        (
            {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048},
            pia.YaRN(LLAMA, 16_384),
            4,
        ),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 2048,
            },
            pia.Llama3(LLAMA, 16_384),
            4,
        ),
    ],
)
def test_buffers_and_rotations_are_those_of_transformers(scaling, extension, units):
    longest = 2048 if scaling is None else int(2048 * scaling["factor"])
    config = LlamaConfig(
        hidden_size=512,
        num_attention_heads=4,
        max_position_embeddings=longest,
        rope_theta=10_000.0,
        rope_scaling=scaling,
    )
    module = LlamaRotaryEmbedding(config)
    buffer = low.frequency_buffer(extension, low.PIPELINES["float32"])
    theirs = module.inv_freq.numpy()
    assert (np.abs(buffer - theirs) <= units * np.spacing(theirs)).all()
    if units:
        return
    n = np.arange(0, longest, 7)
    for dtype, pipeline in (
        (torch.float32, "float32"),
        (torch.bfloat16, "float32-then-bfloat16"),
        (torch.float16, "float32-then-float16"),
    ):
        cos, sin = module(torch.zeros(1, dtype=dtype), torch.tensor(n)[None])
        emulated = emulation(extension, pipeline)
        phases, _ = emulated.lags(n[:, None].astype(float), slice(None))
        unit = 2.0 * low.UNIT_ROUNDOFF[emulated.pipeline.rotations]
        for mine, other in zip(emulated.rotations(phases), (cos, sin), strict=True):
            gap = np.abs(mine - other[0, :, : extension.frequencies.size].float().numpy())
            assert gap.max() <= unit
            if pipeline != "float32":
                assert (gap > 0).mean() < 1e-3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pipeline", low.PIPELINES)
def test_errors_match_fifty_digits(name, pipeline, rng):
    model = MODELS[name]
    last = 60_000 if pipeline == "float16" else 2**27
    n = np.unique(np.exp(rng.uniform(0.0, math.log(last), 6)).astype(int))
    found = pia.phase_error(model, n, pipeline=pipeline)
    for index, position in enumerate(n.tolist()):
        phase, score = by_mpmath(model, position, pipeline)
        assert abs(found.phase_error[index] - phase) <= 1e-14 * (1 + phase), position
        assert abs(found.score_error[index] - score) <= 1e-13, position
    worst = max(by_mpmath(model, int(m), pipeline)[0] for m in n)
    assert found.largest_phase.contains(worst)
    assert found.largest_score.contains(max(by_mpmath(model, int(m), pipeline)[1] for m in n))
    assert found.largest_phase.width < 1e-13 * (1 + worst)
    assert found.largest_score.width < 3e-13


def test_consecutive_positions_change_nothing(rng):
    n = np.arange(70_000, 74_500)
    for model in (LLAMA, MODELS["yarn"]):
        whole = pia.phase_error(model, n, pipeline="bfloat16")
        some = rng.choice(n.size, 40, replace=False)
        part = pia.phase_error(model, n[some], pipeline="bfloat16")
        np.testing.assert_array_equal(part.phase_error, whole.phase_error[some])
        np.testing.assert_allclose(part.score_error, whole.score_error[some], rtol=0, atol=1e-14)


def test_score_error_is_attained_and_no_score_exceeds_it(rng):
    model = MODELS["yarn"]
    n = np.array([937.0])
    emulated = emulation(model, "bfloat16")
    c, s = emulated.rotations(emulated.lags(n[:, None], slice(None))[0][0])
    origin = emulated.rotations(np.zeros(1))[0][0]
    gap = (c + 1j * s) * origin - model.attention_factor**2 * np.exp(1j * n * model.frequencies)
    best = model.attention_factor**2 * gap.size
    found = pia.phase_error(model, n, pipeline="bfloat16").score_error[0]
    assert (gap.conj() / abs(gap) * gap).sum().real / best == pytest.approx(found, rel=1e-9)
    h = np.exp(1j * rng.uniform(0, 2 * np.pi, (200, gap.size)))
    assert (np.abs((h * gap).sum(axis=1).real) / best <= found).all()


def test_attention_factor_is_no_part_of_the_phase():
    cold = pia.YaRN(LLAMA, 16_384, attention_factor=1.0)
    n = np.arange(1, 16_384, 37)
    for model in (cold, MODELS["yarn"]):
        assert pia.phase_error(model, n, pipeline="float32").largest_score.upper < 1e-4
    one, two = (pia.phase_error(m, n, pipeline="float32") for m in (cold, MODELS["yarn"]))
    np.testing.assert_allclose(one.phase_error, two.phase_error, rtol=0, atol=5e-7)


@pytest.mark.parametrize("pipeline", low.PIPELINES)
@pytest.mark.parametrize(
    "model", [SMALL, pia.YaRN(SMALL, 256), pia.PositionInterpolation(SMALL, 200)]
)
@pytest.mark.parametrize("tolerance", [0.003, 0.1])
def test_first_wrong_by_brute_force(pipeline, model, tolerance):
    stop = 20_000
    errors = pia.phase_error(model, np.arange(stop), pipeline=pipeline).phase_error
    found = pia.first_wrong(model, pipeline=pipeline, tolerance=tolerance, stop=stop)
    wrong, right = np.flatnonzero(errors > tolerance), np.flatnonzero(errors <= tolerance)
    assert found.first == (wrong[0] if wrong.size else None)
    assert found.always == (right[-1] + 1 if right[-1] + 1 < stop else None)
    if wrong.size:
        assert found.error.contains(by_mpmath(model, found.first, pipeline)[0])
        assert found.error.lower > tolerance


@pytest.mark.parametrize(
    ("pipeline", "first", "always"),
    [
        ("float32", 1_263_461, None),
        ("bfloat16-frequencies", 82, 82),
        ("bfloat16", 40, 101),
        ("float16", 182, 747),
    ],
)
def test_llama_by_naive_phases(pipeline, first, always):
    # Phases alone, of torch's own roundings: casting cos and sin changes no answer here.
    form = low.PIPELINES[pipeline]
    stop = 2_000_000 if pipeline == "float32" else 60_000
    theta = torch.tensor(10_000.0) ** (torch.arange(0, 128, 2).float() / 128)
    theta = (1.0 / theta).to(DTYPES[form.frequencies]).to(DTYPES[form.phases])
    worst = np.zeros(stop)
    n = torch.arange(stop)
    for j in range(8 if pipeline == "float32" else 64):
        phases = (n.to(DTYPES[form.phases]) * theta[j]).double().numpy()
        exact = np.arange(stop) * np.longdouble(10_000) ** (-np.longdouble(2 * j) / 128)
        worst = np.maximum(worst, np.abs(phases - exact).astype(float))
    assert np.flatnonzero(worst > 0.1)[0] == first
    if always:
        assert np.flatnonzero(worst <= 0.1)[-1] + 1 == always
    found = pia.first_wrong(LLAMA, pipeline=pipeline)
    assert (found.first, found.always) == (first, always)


@pytest.mark.parametrize(
    ("pipeline", "stop", "first", "always"),
    [
        ("bfloat16", 1024, 257, 1021),  # 8 bits: 256 is followed by 258, 512 by 516
        ("bfloat16", 257, None, None),
        ("float16", 70_000, 2049, 65_505),  # 11 bits; 65504 is the last number there is
        ("float16", 65_505, 2049, None),  # ends on 65504, which is right
        ("float32", 2**24 + 2, 2**24 + 1, 2**24 + 1),
        ("float32", 2**24 + 1, None, None),
    ],
)
def test_one_pair_is_wrong_where_a_position_has_no_number(pipeline, stop, first, always):
    found = pia.first_wrong(pia.RopeSpec(2, 10.0, 64), pipeline=pipeline, stop=stop)
    assert (found.first, found.always) == (first, always)


def test_overflow_is_infinite_and_never_taken_for_right():
    found = pia.phase_error(LLAMA, [65_504, 65_519, 65_520], pipeline="float16")
    assert np.isfinite(found.phase_error).tolist() == [True, True, False]
    assert found.score_error[2] == math.inf
    assert found.largest_phase is found.largest_score is None
    still = pia.Proportional(SMALL, 64, proportion=0.25)  # pairs with frequency 0
    assert pia.phase_error(still, [65_520], pipeline="float16").phase_error[0] == math.inf
    late = pia.first_wrong(
        pia.PositionInterpolation(SMALL, 64 * 2**14), pipeline="float16", stop=2**17
    )
    assert (late.first, late.error, late.always) == (65_520, None, 65_520)


@pytest.mark.parametrize("pipeline", ["bfloat16", "float32-then-bfloat16"])
def test_balls_settle_what_float64_leaves_open(pipeline, monkeypatch):
    tolerance = 0.1 if pipeline == "bfloat16" else 0.0025
    stop = 300
    plain = pia.first_wrong(LLAMA, pipeline=pipeline, tolerance=tolerance, stop=stop)
    assert plain.settled == 0
    monkeypatch.setattr(search, "PHASE_SLACK", 1e-3)
    slow = pia.first_wrong(LLAMA, pipeline=pipeline, tolerance=tolerance, stop=stop)
    assert slow.settled > 0
    assert (slow.first, slow.always) == (plain.first, plain.always)
    assert plain.first is not None
    # a tolerance between neighbouring float64 numbers around the error itself
    below = math.nextafter(plain.error.lower, 0.0)
    monkeypatch.undo()
    again = pia.first_wrong(LLAMA, pipeline=pipeline, tolerance=below, stop=plain.first + 1)
    assert again.settled > 0
    assert again.first == plain.first
    above = math.nextafter(plain.error.upper, 1.0)
    again = pia.first_wrong(LLAMA, pipeline=pipeline, tolerance=above, stop=plain.first + 1)
    assert again.settled > 0
    assert again.first is None


@pytest.mark.parametrize("pipeline", low.PIPELINES)
def test_the_bound_on_roundings_holds_and_is_no_licence(pipeline):
    for model in MODELS.values():
        emulated = emulation(model, pipeline)
        n = np.arange(20_000.0, 21_000.0)
        phases, lags = emulated.lags(n[:, None], slice(None))
        errors = np.abs(lags + emulated.turned(phases))
        assert (errors <= emulated.caps(n[-1])).all()
        assert (np.abs(emulated.turned(phases)) <= emulated.cast).all()
        assert (errors.max(axis=0) > 0.15 * (emulated.caps(n[-1]) - emulated.cast)).any()
    assert emulated.cast < 0.02


def test_records_write_themselves(tmp_path):
    pia.phase_error(LLAMA, range(5), pipeline="bfloat16").save(tmp_path / "errors")
    rows = (tmp_path / "errors.csv").read_text().splitlines()
    assert rows[0] == "position,phase_error,pair,score_error"
    assert rows[1] == "0.0,0.0,0,0.0"
    pia.first_wrong(MODELS["yarn"], pipeline="bfloat16", stop=500).save(tmp_path / "first")
    body = json.loads((tmp_path / "first.json").read_text())
    assert (body["first"], body["always"]) == (40, 101)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pia.first_wrong(LLAMA, pipeline="bfloat17"), ValueError, "mean 'bfloat16'"),
        (lambda: pia.phase_error(LLAMA, 1, pipeline="flaot32"), ValueError, "mean 'float32'"),
        (
            lambda: pia.phase_error(LLAMA, [3, -1], pipeline="float32"),
            ValueError,
            "positions must be whole numbers from 0 to 134217728, got -1",
        ),
        (lambda: pia.phase_error(LLAMA, 0.5, pipeline="float32"), ValueError, "got 0.5"),
        (lambda: pia.phase_error(LLAMA, 2.0**28, pipeline="float32"), ValueError, "positions"),
        (lambda: pia.phase_error(LLAMA, [], pipeline="float32"), ValueError, "positions must be"),
        (lambda: pia.phase_error(LLAMA, [[1]], pipeline="float32"), ValueError, "shape"),
        (lambda: pia.phase_error(LLAMA, math.nan, pipeline="float32"), ValueError, "finite"),
        (lambda: pia.phase_error("llama", 1, pipeline="float32"), TypeError, "model must be"),
        (
            lambda: pia.first_wrong(LLAMA, pipeline="float32", tolerance=math.nan),
            ValueError,
            "tolerance must be a finite number above 0",
        ),
        (
            lambda: pia.first_wrong(LLAMA, pipeline="float32", tolerance=0.0),
            ValueError,
            "tolerance must be a finite number above 0",
        ),
        (
            lambda: pia.first_wrong(LLAMA, pipeline="float32", stop=0),
            ValueError,
            "stop must be an integer from 1",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "rope_theta": 100.0,
    "max_position_embeddings": 64,
}


def test_command_prints_a_table_of_the_model_itself(capsys):
    assert main.main(["phase-error", "llama-7b"]) == 0
    out = capsys.readouterr().out
    assert "target 2048 tokens" in out
    for line in out.splitlines():
        if line.startswith("unscaled"):
            _, pipeline, first, always, *_ = line.split()
            found = pia.first_wrong(LLAMA, pipeline=pipeline)
            assert int(first) == found.first
            assert always == ("none" if found.always is None else str(found.always))
    assert out.count("unscaled") == len(low.PIPELINES)
    assert "overflow" not in out


def test_command_uses_the_configs_own_scheme_or_those_named(tmp_path, capsys):
    scaling = {"rope_type": "linear", "factor": 2048.0}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "rope_scaling": scaling}))
    arguments = ["phase-error", str(path), "--original-length", "64"]
    assert main.main([*arguments, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["target"] == 131_072
    assert body["scheme"] == ["config"] * 6
    at = body["pipeline"].index("float16")
    assert body["largest_phase_error"][at] is body["largest_score_error"][at] is None
    assert body["first_wrong"][body["pipeline"].index("float32")] is None
    extension = pia.extension_from_hf(str(path), original_length=64)
    errors = pia.phase_error(extension, np.arange(131_072), pipeline="bfloat16")
    row = body["pipeline"].index("bfloat16")
    assert body["largest_score_error"][row] == errors.score_error.max()
    named = [*arguments, "--target", "128", "--schemes", "config,ntk"]
    assert main.main(named) == 0
    out = capsys.readouterr().out
    assert out.count("\nconfig ") == out.count("\nntk ") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lama-7b"], "did you mean 'llama-7b'"),
        (["llama-7b", "--target", "1024"], "target must be at least the pretrained"),
        (["llama-7b", "--target", "9999999"], "target must be an integer from 1 to 1048576"),
        (["llama-7b", "--schemes", "yarm"], "did you mean 'yarn'"),
        (["llama-7b", "--schemes", "config"], "schemes must not name 'config'"),
    ],
)
def test_bad_commands_are_one_line_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["phase-error", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("form", sorted(low.UNIT_ROUNDOFF))
def test_limits_of_formats_are_torchs(form):
    about = torch.finfo(getattr(torch, form))
    assert low.UNIT_ROUNDOFF[form] == about.eps / 2
    if form == "float16":
        assert about.max == low.LARGEST_FLOAT16
        assert about.smallest_normal * about.eps == low.SMALLEST_FLOAT16
