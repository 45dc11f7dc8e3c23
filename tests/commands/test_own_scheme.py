"""report, compare and phase-error: the model's own scheme and scale, beside PI at one target."""

import json
import math

import pytest

import pianalysis as pia
from pianalysis.commands import main
from pianalysis.extension.named import find_model
from pianalysis.extension.rebased import Rebased, rebased

SMALL = {
    **{"hidden_size": 128, "num_attention_heads": 4, "num_hidden_layers": 4, "vocab_size": 64},
    **{"num_key_value_heads": 4, "intermediate_size": 128, "max_position_embeddings": 256},
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


@pytest.fixture
def write(tmp_path):
    def written(**config):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**SMALL, **config}))
        return str(path)

    return written


def report(capsys, *arguments):
    assert main.main(["report", *arguments]) == 0
    return capsys.readouterr().out


def test_logits_are_scaled_as_the_model_does(write, capsys):
    path = write(model_type="granite", attention_multiplier=0.25, rope_theta=1e4)
    found = json.loads(report(capsys, path, "--target", "512", "--json"))
    assert found["logit_scale"] == 0.25
    assert found["reader"].startswith("transformers")
    assert f"(logit {found['extrapolation']['triangle'] * 0.25:.6g})" in report(
        capsys, path, "--target", "512"
    )


def test_the_configs_scheme_stands_beside_pi(write, capsys):
    path = write(model_type="llama", rope_theta=1e4, rope_scaling=YARN)
    found = json.loads(report(capsys, path, "--target", "256", "--json"))
    yarn = pia.YaRN(pia.RopeSpec(32, 1e4, 64), 256)
    assert found["scheme"]["name"] == "YaRN"
    assert found["scheme"]["contrast"] == pytest.approx(float(pia.adjacent_contrast(yarn)))
    assert found["contrast"]["interpolated"] < found["scheme"]["contrast"]
    assert "SCHEME of the config: YaRN" in report(capsys, path, "--target", "256")
    plain = json.loads(report(capsys, "llama-7b", "--target", "4096", "--json"))
    assert (plain["scheme"], plain["reader"], plain["layers"]) == (None, None, [])


def test_phase_error_shows_both(write, capsys):
    path = write(model_type="llama", rope_theta=1e4, rope_scaling=YARN)
    assert main.main(["phase-error", path, "--json"]) == 0
    schemes = json.loads(capsys.readouterr().out)["scheme"]
    assert set(schemes) == {"config", "linear"}


def test_layers_by_kind(write, capsys):
    path = write(
        model_type="gemma3_text",
        head_dim=32,
        rope_theta=1e6,
        rope_local_base_freq=1e4,
        sliding_window=32,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    )
    assert main.main(["report", path, "--target", "512", "--layer-type", "full_attention"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "0-2 sliding_attention 10000 default 32 256 32" in text
    assert "3 full_attention 1e+06 default 32 256 -" in text
    found = json.loads(
        report(capsys, path, "--target", "512", "--layer-type", "sliding_attention", "--json")
    )
    assert found["spec"]["base"] == 1e4
    assert [kind["layers"] for kind in found["layers"]] == [[0, 1, 2], [3]]
    assert found["layers"][0]["sliding_window"] == 32
    with pytest.raises(SystemExit):
        main.main(["report", path, "--target", "512"])
    assert (
        "layer_type must name one of full_attention, sliding_attention" in capsys.readouterr().err
    )


def test_layers_without_positions_are_shown(write, capsys):
    path = write(model_type="smollm3", rope_theta=1e4, no_rope_layers=[1, 1, 1, 0])
    text = report(capsys, path, "--target", "512")
    assert "no RoPE" in text


def test_base_for_a_file_without_one(write):
    given = find_model(write(model_type="olmo2"), base=50000.0)
    assert (given.spec.base, given.base) == (50000.0, None)


def test_base_beside_a_scheme_is_one_extension(write):
    path = write(model_type="llama", rope_theta=1e4, rope_scaling=YARN)
    own = find_model(path, base=1e6).own(256)
    assert isinstance(own, Rebased)
    inner = pia.YaRN(pia.RopeSpec(32, 1e6, 64), 256)
    assert own.frequencies.tolist() == inner.frequencies.tolist()
    assert own.attention_factor == inner.attention_factor
    assert own.ratios == pytest.approx(inner.frequencies / own.spec.frequencies)
    assert own.spec.base == 1e4
    assert own.to_hf() == inner.to_hf()


def test_rebased_refuses_another_specification():
    scheme = pia.PositionInterpolation(pia.RopeSpec(32, 1e6, 64), 256)
    with pytest.raises(ValueError, match="scheme must be of"):
        Rebased(pia.RopeSpec(32, 1e4, 128), 256, scheme=scheme)
    with pytest.raises(TypeError, match="scheme must be an Extension"):
        Rebased(pia.RopeSpec(32, 1e4, 64), 256, scheme="yarn")
    changed = pia.BaseChange(pia.RopeSpec(32, 1e4, 64), 256, base=5e4)
    assert rebased(changed, 1e6) is changed


def test_compare_says_what_memory_it_takes(capsys):
    with pytest.raises(SystemExit):
        main.main(["compare", "--help"])
    assert "memory grows with the window" in " ".join(capsys.readouterr().out.split())


def test_rebased_refuses_a_scheme_for_another_target():
    scheme = pia.PositionInterpolation(pia.RopeSpec(32, 1e6, 64), 256)
    for target in (255, 257):
        with pytest.raises(ValueError, match=f"target {target}"):
            Rebased(pia.RopeSpec(32, 1e4, 64), target, scheme=scheme)


def test_a_preset_divides_scores_by_the_root_of_the_head_dimension():
    named = find_model("gpt-neox-20b")
    assert named.facts is None
    assert named.logit_scale == pytest.approx(1 / math.sqrt(named.spec.head_dim), rel=1e-15)
