"""Models and schemes by name: a preset or a config, and the schemes that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pianalysis import checks
from pianalysis.extension import SCHEMES, BaseChange, Extension, Unscaled
from pianalysis.extension.minimal_base import minimal_base
from pianalysis.extension.rebased import rebased
from pianalysis.extension.registry import extension_of
from pianalysis.rope.configs import decoder_config, model_facts, read_config
from pianalysis.rope.facts import LayerFacts, RopeFacts
from pianalysis.rope.presets import PRESETS
from pianalysis.rope.spec import RopeSpec

OWN = "config"  # the scheme a config itself asks for
# Those that follow from a specification and a target alone.
COMPARABLE = (
    "default",
    "linear",
    "ntk",
    "dynamic",
    "ntk-by-parts",
    "yarn",
    "llama3",
    "base-change",
)


def chosen_extensions(
    spec: RopeSpec, target: int, own: Extension | None, schemes: Sequence[str] | None
) -> dict[str, Extension]:
    """Return a model's extensions by name, its own (if any) first; all where None given."""
    extensions: dict[str, Extension] = {}
    if schemes is None or OWN in schemes:
        if own is not None:
            extensions[OWN] = own
        elif schemes is not None:
            raise ValueError(f"schemes must not name {OWN!r} for a model without its own scheme")
    others = None if schemes is None else [scheme for scheme in schemes if scheme != OWN]
    if others is None or others:
        extensions |= comparable_extensions(spec, target, others)
    return extensions


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A preset or a config, read once; ``facts`` is what the config says, None for a preset.

    ``layers`` are all its decoder layers, ``base`` another base than the model's own, under which
    every scheme is to be taken (None: its own).
    """

    spec: RopeSpec
    source: str
    facts: RopeFacts | None = None
    layers: tuple[LayerFacts, ...] = ()
    base: float | None = None

    @property
    def logit_scale(self) -> float:
        """What the model multiplies scores by before its softmax."""
        return self.spec.head_dim**-0.5 if self.facts is None else self.facts.logit_scale

    def own(self, target: int | None) -> Extension | None:
        """Return the scheme that the config asks for, at ``target`` or at its own; or None."""
        if self.facts is None:
            return None
        extension = extension_of(self.facts, target)
        return None if isinstance(extension, Unscaled) else self.with_base(extension)

    def with_base(self, extension: Extension) -> Extension:
        """Return an extension under the base that was asked for, if one was."""
        return extension if self.base is None else rebased(extension, self.base)

    def chosen(self, target: int, schemes: Sequence[str] | None) -> dict[str, Extension]:
        """Return its extensions by name, the config's own (if any) first; all where None given."""
        extensions = chosen_extensions(self.spec, target, self.own(target), schemes)
        return {name: self.with_base(extension) for name, extension in extensions.items()}


def find_model(
    name: str,
    *,
    original_length: int | None = None,
    layer_type: str | None = None,
    base: float | None = None,
) -> NamedModel:
    """Read a preset, a config.json or a directory.

    Parameters
    ----------
    name : str
        A preset or an existing path.
    original_length, layer_type : optional
        As for ``RopeSpec.from_hf``.
    base : float, optional
        The base where the file has none; otherwise another one, under which schemes are taken.

    Raises
    ------
    ValueError
        Neither a preset nor an existing path; the message lists the presets.
    """
    if base is not None:
        base = checks.real("base", base, above=1.0)
    if name in PRESETS:
        if original_length is not None or layer_type is not None:
            raise ValueError(
                f"original_length and layer_type go with a config, got preset {name!r}"
            )
        return NamedModel(PRESETS[name].spec, PRESETS[name].source, base=base)
    if not Path(name).exists():
        raise ValueError(
            f"model must be an existing path or one of the presets {', '.join(PRESETS)}, "
            f"got {name!r}{checks.nearest(name, PRESETS)}"
        )
    config = read_config(name)
    if base is not None and not _has_base(decoder_config(config)):
        config, base = {**decoder_config(config), "rope_theta": base}, None
    read = model_facts(config, original_length)
    facts = read.rotating(layer_type)
    return NamedModel(RopeSpec.from_facts(facts), "config", facts, read.layers, base)


def _has_base(config: Mapping[str, Any]) -> bool:
    """Return whether a config gives a base anywhere."""
    return any(
        (name == "rotary_emb_base" or name.endswith("rope_theta")) and value is not None
        for name, value in config.items()
    ) or any(_has_base(part) for part in config.values() if isinstance(part, Mapping))


def comparable_extensions(
    spec: RopeSpec, target: int, schemes: Iterable[str] | None = None
) -> dict[str, Extension]:
    """Return scheme name -> extension, each made by its own rule from the target alone.

    ``base-change`` takes the smallest base that serves the target in the sense of Men et al. 2024
    (arXiv:2405.14591), or the spec's own where that is larger. LongRoPE needs searched lists and
    proportional RoPE a share: they come from a config, through ``extension_from_hf``.

    Examples
    --------
    >>> list(comparable_extensions(RopeSpec(128, 10_000.0, 2048), 8192, ["linear", "yarn"]))
    ['linear', 'yarn']
    """
    names = COMPARABLE if schemes is None else tuple(schemes)
    if not names:
        raise ValueError("schemes must name at least one scheme, got none")
    out: dict[str, Extension] = {}
    for name in names:
        checks.choice("schemes", name, COMPARABLE)
        if name == "base-change":
            base = max(spec.base, minimal_base(target, spec.rotary_dim).base)
            out[name] = BaseChange(spec, target, base=base)
        else:
            out[name] = SCHEMES[name](spec, target)
    return out
