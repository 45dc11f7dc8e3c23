"""The API reference: a page a room, its public names and what its modules say of themselves."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict

import pianalysis
from making.docstrings import escaped

# In the order in which the rooms stand on each other; faces whose names are public beside the top.
ROOMS = (
    ("rope", "Specifications, presets, phases"),
    ("extension", "Extension schemes"),
    ("scores", "Scores"),
    ("bounds", "Bounds"),
    ("precision", "Phase errors by number format"),
    ("planning", "What a fine-tune takes"),
    ("checkpoints", "Checkpoints, opened safely"),
    ("comparison", "Schemes beside each other"),
    ("evaluation", "A model read"),
    ("heads", "Trained heads"),
    ("finetune", "Fine-tuning"),
    ("pictures", "Pictures"),
    ("commands", "Commands and the explorer"),
)
# Public by their face, not by the package's own list.
FACES = ("heads",)
EXTRA = {
    "commands": ("pianalysis.commands.explorer.scheme_explorer",),
    "bounds": (
        "pianalysis.bounds.symbolic.derivation",
        "pianalysis.bounds.symbolic.check",
        "pianalysis.bounds.symbolic.table",
    ),
}


def _room_of(name: str) -> str:
    value = getattr(pianalysis, name)
    module = getattr(value, "__module__", "") or ""
    if not module.startswith("pianalysis."):  # PRESETS, SCHEMES
        return {"PRESETS": "rope", "SCHEMES": "extension"}[name]
    return module.split(".")[1]


def rooms() -> dict[str, list[str]]:
    """Return room -> the full public names that its page documents."""
    out: dict[str, list[str]] = defaultdict(list)
    for name in pianalysis.__all__:
        if name != "__version__":
            out[_room_of(name)].append(f"pianalysis.{name}")
    for face in FACES:
        module = importlib.import_module(f"pianalysis.{face}")
        out[face] += [f"pianalysis.{face}.{name}" for name in module.__all__]
    for room, names in EXTRA.items():
        out[room] += names
    return out


def pages() -> dict[str, str]:
    """Return docname -> reStructuredText of the reference."""
    named = rooms()
    out = {f"api/{room}": _room(room, title, named[room]) for room, title in ROOMS}
    out["api/index"] = _index(named)
    return out


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def _index(named: dict[str, list[str]]) -> str:
    parts = [
        _title("API reference"),
        "``import pianalysis as pia`` hands on every name of this list that has one dot.\n",
        ".. toctree::\n   :hidden:\n",
        "\n".join(f"   {room}" for room, _ in ROOMS) + "\n",
    ]
    for room, title in ROOMS:
        parts.append(f":doc:`{title} <{room}>`\n")
        parts += [f"* {_reference(name)}: {_summary(name)}" for name in named[room]]
        parts.append("" if named[room] else "* No names of the package's face.\n")
    return "\n".join(parts) + "\n"


def _object(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def _kind(name: str) -> str:
    value = _object(name)
    return "class" if inspect.isclass(value) else "func" if callable(value) else "data"


def _reference(name: str) -> str:
    return f":{_kind(name)}:`~{name}`"


def _summary(name: str) -> str:
    if _kind(name) == "data":
        return "by name"
    lines = (inspect.getdoc(_object(name)) or "").split("\n\n")[0]
    return escaped(" ".join(lines.split()))


def _room(room: str, title: str, names: list[str]) -> str:
    package = importlib.import_module(f"pianalysis.{room}")
    parts = [_title(title), f".. automodule:: pianalysis.{room}\n   :no-members:\n"]
    for name in names:
        kind = _kind(name)
        parts.append(_title(name.removeprefix("pianalysis."), "-"))
        if kind == "class":
            parts.append(f".. autoclass:: {name}\n   :members:\n")
        elif kind == "func":
            parts.append(f".. autofunction:: {name}\n")
        else:
            parts.append(_data(name))
    modules = sorted(
        info.name
        for info in pkgutil.walk_packages(package.__path__, f"pianalysis.{room}.")
        if not info.name.endswith("__main__")
    )
    if modules:
        parts.append(_title("Modules of this room", "-"))
        parts += [
            f"{_title(name, '^')}\n.. automodule:: {name}\n   :no-members:\n" for name in modules
        ]
    return "\n".join(parts)


def _data(name: str) -> str:
    if name.endswith("PRESETS"):
        head: tuple[str, ...] = ("name", "head_dim", "base", "window", "rotary fraction", "source")
        rows: list[tuple[str, ...]] = [
            (
                f"``{one.name}``",
                str(one.spec.head_dim),
                f"{one.spec.base:g}",
                str(one.spec.context_window),
                f"{one.spec.rotary_fraction:g}",
                one.source.replace("*", r"\*"),
            )
            for one in pianalysis.PRESETS.values()
        ]
    else:
        head = ("name", "class")
        rows = [
            (f"``{key}``", f":class:`~pianalysis.{one.__name__}`")
            for key, one in pianalysis.SCHEMES.items()
        ]
    lines = [f".. py:data:: {name}\n", ".. list-table::\n   :header-rows: 1\n"]
    for row in (head, *rows):
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}" for at, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
