"""Finished units of a long measurement, one file each, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from pianalysis.records import plain, write_atomic


class FolderStore(MutableMapping[str, dict[str, Any]]):
    """A mapping from key to JSON object, kept as one file a key in a folder.

    A file is written whole or not at all, and one that does not hold its key and an object is
    taken as absent, so whatever stopped a run costs one unit. Values come back as they would from
    JSON, at once and later, so that a resumed run computes with the same numbers.

    Parameters
    ----------
    folder : path
        Made when the first unit is stored.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     FolderStore(folder)["layer 0"] = {"heads": (1, 2)}
    ...     FolderStore(folder)["layer 0"]
    {'heads': [1, 2]}
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def __getitem__(self, key: str) -> dict[str, Any]:
        try:
            body = json.loads(self._path(key).read_bytes())
            if body["key"] == key and isinstance(body["unit"], dict):
                return dict(body["unit"])
        except (OSError, ValueError, TypeError, KeyError):
            pass  # absent, cut short or someone else's: computed again
        raise KeyError(key)

    def __setitem__(self, key: str, unit: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(key), json.dumps({"key": key, "unit": plain(unit)}))

    def __delitem__(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.json")):
            try:
                key = json.loads(path.read_bytes())["key"]
            except (OSError, ValueError, TypeError, KeyError):
                continue
            if key in self:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
