"""Models and schemes by name: a preset or a config, and the schemes that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pianalysis import checks
from pianalysis.extension import SCHEMES, BaseChange, Extension, Unscaled
from pianalysis.extension.minimal_base import minimal_base
from pianalysis.extension.registry import extension_of
from pianalysis.rope.configs import RopeFacts, read_config, rope_facts
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
    """A preset or a config, read once; ``facts`` is what the config says, None for a preset."""

    spec: RopeSpec
    source: str
    facts: RopeFacts | None = None

    def own(self, target: int | None) -> Extension | None:
        """Return the scheme that the config asks for, at ``target`` or at its own; or None."""
        if self.facts is None:
            return None
        extension = extension_of(self.facts, target)
        return None if isinstance(extension, Unscaled) else extension


def find_model(
    name: str, *, original_length: int | None = None, layer_type: str | None = None
) -> NamedModel:
    """Read a preset, a config.json or a directory.

    Raises
    ------
    ValueError
        Neither a preset nor an existing path; the message lists the presets.
    """
    if name in PRESETS:
        if original_length is not None or layer_type is not None:
            raise ValueError(
                f"original_length and layer_type go with a config, got preset {name!r}"
            )
        return NamedModel(PRESETS[name].spec, PRESETS[name].source)
    if not Path(name).exists():
        raise ValueError(
            f"model must be an existing path or one of the presets {', '.join(PRESETS)}, "
            f"got {name!r}{checks.nearest(name, PRESETS)}"
        )
    facts = rope_facts(read_config(name), original_length, layer_type)
    return NamedModel(RopeSpec.from_facts(facts), "config", facts)


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
