"""The decoder layers of a config, grouped by kind: what each kind turns by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pianalysis.commands.text import right_aligned
from pianalysis.rope.facts import LayerFacts


def layer_kinds(layers: Sequence[LayerFacts]) -> list[dict[str, Any]]:
    """Return a dict for each kind of layer, in order of the first: which layers, and their RoPE.

    ``base``, ``scheme``, ``rotary_dim`` and ``window`` (pretrained, tokens) are None where the
    layers do not rotate; ``sliding_window`` is None where they see every position.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for number, layer in enumerate(layers):
        rope = layer.rope
        what: dict[str, Any] = {
            "layer_type": layer.layer_type,
            "base": None if rope is None else rope.base,
            "scheme": None if rope is None else rope.rope_type,
            "rotary_dim": None if rope is None else int(rope.head_dim * rope.rotary_fraction),
            "window": None if rope is None else rope.context_window,
            "sliding_window": layer.sliding_window,
            "refused": layer.refusal,
        }
        kinds.setdefault(repr(what), {"layers": [], **what})["layers"].append(number)
    return list(kinds.values())


def layer_table(kinds: Sequence[dict[str, Any]]) -> str:
    """Return the kinds as text, a row each."""
    rows = []
    for kind in kinds:
        turns = kind["scheme"] is not None
        rows.append(
            [
                _ranges(kind["layers"]),
                kind["layer_type"] or "-",
                f"{kind['base']:g}" if turns else "-",
                kind["scheme"] or ("refused" if kind["refused"] else "no RoPE"),
                str(kind["rotary_dim"]) if turns else "-",
                str(kind["window"]) if turns else "-",
                str(kind["sliding_window"] or "-"),
            ]
        )
    headers = ["layers", "type", "base", "scheme", "rotary\nd", "window", "sliding\nwindow"]
    return right_aligned(rows, headers)


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as text, runs as first-last.

    Examples
    --------
    >>> _ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
