"""The frequencies of all layers of a config against transformers' own initialisation of its RoPE.

Ours reads the config, finds which layers rotate and how, computes in float64 and compares what it
found with transformers' own module, so it does the peer's work and more; the peer knows its family.
Outputs are compared first, then both sides run in turn in one process. Each call gets a base not
seen before, so that no answer is remembered. What the first config of a family costs, when ours
follows the family's model once, stands beside the rows. Layers of one kind share their frequencies
on both sides, so time hardly depends on how many there are and no growth is claimed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import common
import numpy as np
from transformers import AutoConfig

import pianalysis as pia

CONFIGS = Path(__file__).parents[1] / "tests" / "extension" / "published_configs.json"
LLAMA3, YARN, TWO_ROPES = (
    "meta-llama/Llama-3.1-8B",
    "Qwen/Qwen2.5-7B-Instruct, with the YaRN entry of its model card",
    "google/gemma-3-12b-pt, text, full attention",
)
EMBEDDINGS = {
    "llama": "transformers.models.llama.modeling_llama.LlamaRotaryEmbedding",
    "qwen2": "transformers.models.qwen2.modeling_qwen2.Qwen2RotaryEmbedding",
    "gemma3_text": "transformers.models.gemma3.modeling_gemma3.Gemma3RotaryEmbedding",
}
SIZES = {
    "full": {"models": {LLAMA3: 32, YARN: 28, TWO_ROPES: 48}, "rounds": 15},
    "small": {"models": {LLAMA3: 2, TWO_ROPES: 6}, "rounds": 1},
}


def plain(config: dict[str, Any]) -> np.ndarray:
    """Return (layers, 1 + d/2): attention factor and frequencies, as transformers has them."""
    module, _, name = EMBEDDINGS[config["model_type"]].rpartition(".")
    read = AutoConfig.for_model(**json.loads(json.dumps(config)))  # it writes into what it is given
    embedding = getattr(import_module(module), name)(read)
    kinds = getattr(read, "layer_types", None) or []
    of_kind = [f"{kind}_" for kind in kinds if hasattr(embedding, f"{kind}_inv_freq")]
    rows = [
        [
            getattr(embedding, f"{kind}attention_scaling"),
            *getattr(embedding, f"{kind}inv_freq").tolist(),
        ]
        for kind in of_kind or [""] * read.num_hidden_layers
    ]
    return np.array(rows)


def ours(config: dict[str, Any], original: int | None) -> np.ndarray:
    layers = pia.layer_extensions(config, original_length=original)
    return np.array([[x.attention_factor, *x.frequencies] for x in layers if x is not None])


def fresh(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the config with one base after another."""
    for step in itertools.count(1):
        yield {**config, "rope_theta": config["rope_theta"] + step}


def measure(size: common.Size) -> common.Record:
    known = json.loads(CONFIGS.read_text(encoding="utf-8"))
    rows, numbers = [], {}
    with common.cores(1) as cores:
        for name, layers in size["models"].items():
            config, original = known[name]["config"], known[name].get("original_length")
            config = {**config, "num_hidden_layers": layers}
            peer = plain(config)
            first, found = common.seconds(partial(ours, config, original))
            common.agree(name, found / peer, np.ones_like(peer), 3e-6)
            numbers[f"first config of its family, s: {config['model_type']}"] = first
            mine, theirs = fresh(config), fresh(config)
            row = common.alternate(
                f"{len(found)} layers of {name.partition(',')[0]}",
                lambda mine=mine, original=original: ours(next(mine), original),
                lambda theirs=theirs: plain(next(theirs)),
                size["rounds"],
            )
            rows.append(row)
    return {
        "question": "frequencies and attention factor of every layer, from a config",
        "threads": cores,
        "rows": rows,
        "growth": [],
        "numbers": numbers,
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
