"""Without transformers the listed families are read by their keys, and no other."""

import json
import re
import subprocess
import sys

import pytest

from pianalysis.rope.families import FAMILIES, WITHOUT_ROPE

BLOCKED = """
import json, sys
sys.modules["transformers"] = None  # as if it were not installed
import pianalysis as pia
from pianalysis.rope.configs import rope_facts
out = {}
for name, config in json.load(sys.stdin).items():
    try:
        facts = rope_facts(config)
        layer = next(x for x in pia.layer_extensions(config) if x is not None)
        out[name] = [facts.reader, layer.spec.base, layer.spec.rotary_dim]
    except ValueError as error:
        out[name] = str(error)
assert sys.modules["transformers"] is None
print(json.dumps(out))
"""
CONFIG = {
    "hidden_size": 1024,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "head_dim": 128,
    "max_position_embeddings": 8192,
    "rope_theta": 20000.0,
}
OTHERS = ("mystery", "bamba", "zamba2")


@pytest.fixture(scope="module")
def answers():
    configs = {name: {**CONFIG, "model_type": name} for name in [*FAMILIES, *WITHOUT_ROPE, *OTHERS]}
    configs["granitemoehybrid"]["position_embedding_type"] = "rope"
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def test_at_least_25_families_are_read(answers):
    assert len(FAMILIES) >= 25
    for name in FAMILIES:
        reader, base, dim = answers[name]
        assert reader == "plain keys"
        assert base == 20000.0
        assert dim == int(128 * (FAMILIES[name].share or 1.0))


def test_others_are_refused_by_name(answers):
    for name in OTHERS:
        assert f"got '{name}'" in answers[name]
        assert "llama" in answers[name]
    for name in WITHOUT_ROPE:
        assert "has no RoPE" in answers[name]


def test_the_documentation_lists_them(root):
    text = (root / "docs" / "configs.md").read_text()
    listed = re.search(r"<!-- families -->(.*)<!-- end -->", text, re.DOTALL)[1]
    assert re.findall(r"`(\w+)`", listed) == sorted(FAMILIES)
