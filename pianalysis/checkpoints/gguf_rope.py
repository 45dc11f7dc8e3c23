"""What a GGUF file's metadata say of RoPE, compared with the config that transformers makes of it.

transformers maps the keys of each architecture by a list of its own; what the list lacks it drops
in silence, and its class default stands in. Here it is put back, or the file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pianalysis.checkpoints.files import refuse
from pianalysis.rope.configs import model_facts

# llama.cpp stores these in float32.
ROUNDING = 1e-6
# Keys after the architecture's name that are read here; scaling is refused before, in the header.
_READ = frozenset({"freq_base", "dimension_count", "scaling.type", "scaling.factor"})
_READ |= {"scale_linear", "scaling.finetuned"}


def put_back(path: Path, metadata: Mapping[str, Any], config: Any) -> None:
    """Give the config the base and the window of the file where transformers dropped them.

    Raises
    ------
    ValueError
        Naming the key: another rotary dimension than the config's, a base that has no place in it,
        a RoPE key that is not read here.
    """
    architecture = metadata["general.architecture"]
    about_rope = f"{architecture}.rope."
    for key, value in metadata.items():
        if key.startswith(about_rope) and key.removeprefix(about_rope) not in _READ and value:
            rule = "RoPE keys must be known: open the safetensors checkpoint instead"
            refuse(path, rule, f"{key} = {value}")
    length = metadata.get(f"{architecture}.context_length")
    if length is not None and getattr(config, "max_position_embeddings", length) != length:
        config.max_position_embeddings = int(length)
    base = metadata.get(f"{about_rope}freq_base")
    parameters = getattr(config, "rope_parameters", None)
    if base is not None and isinstance(parameters, dict):
        if any(isinstance(value, Mapping) for value in parameters.values()):
            nested = [v for v in parameters.values() if isinstance(v, Mapping)]
            bases = {float(v["rope_theta"]) for v in nested if v.get("rope_theta") is not None}
            if not any(_near(base, other) for other in bases):
                refuse(path, f"{about_rope}freq_base must be a base of {sorted(bases)}", base)
        elif not _near(base, parameters.get("rope_theta")):
            parameters["rope_theta"] = float(base)
    elif base is not None:
        refuse(path, "a file with rope.freq_base must be of a model that rotates", base)
    dim = metadata.get(f"{about_rope}dimension_count")
    if dim is not None:
        facts = model_facts(config.to_dict(), _window(config))
        found = {int(x.rope.head_dim * x.rope.rotary_fraction) for x in facts.layers if x.rope}
        if found and int(dim) not in found:
            rule = f"{about_rope}dimension_count must be what the model rotates, {sorted(found)}"
            refuse(path, rule, dim)


def _near(one: float, other: Any) -> bool:
    return isinstance(other, (int, float)) and abs(one - other) <= ROUNDING * abs(one)


def _window(config: Any) -> int | None:
    value = getattr(config, "max_position_embeddings", None)
    return value if isinstance(value, int) else None
