"""Records: frozen results that carry their inputs and write themselves as CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """Base of every result.

    Fields that are 1-D arrays (or tuples of strings) of one common length are the columns of the
    record's table; all other fields are its inputs and summary values.
    """

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the table: column name -> values, complex columns split in two."""
        out: dict[str, Sequence[Any]] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and value.ndim == 1:
                if value.dtype.kind == "c":
                    out[f"{field.name}_re"] = value.real.tolist()
                    out[f"{field.name}_im"] = value.imag.tolist()
                else:
                    out[field.name] = value.tolist()
            elif isinstance(value, tuple) and value and all(isinstance(v, str) for v in value):
                out[field.name] = value
        lengths = {name: len(column) for name, column in out.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of {type(self).__name__} differ in length: {lengths}")
        return out

    def where(self, **values: Any) -> Self:
        """Return the record of those rows whose columns equal the values given.

        Raises
        ------
        ValueError
            A name that is no column of this record.
        """
        columns = self.columns()
        for name in values:
            if name not in columns:
                raise ValueError(f"where must name columns ({', '.join(columns)}), got {name!r}")
        rows = [
            index
            for index, row in enumerate(zip(*(columns[name] for name in values), strict=True))
            if row == tuple(values.values())
        ]
        kept: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in columns or f"{field.name}_re" in columns:
                isarray = isinstance(value, np.ndarray)
                kept[field.name] = value[rows] if isarray else tuple(value[i] for i in rows)
        return dataclasses.replace(self, **kept)

    def only(self, **values: Any) -> dict[str, Any]:
        """Return the one row whose columns equal the values given, as column name -> value.

        Raises
        ------
        ValueError
            None or several such rows; a name that is no column.
        """
        columns = self.where(**values).columns()
        count = len(next(iter(columns.values()))) if columns else 0
        if count != 1:
            raise ValueError(
                f"only must find one row of {type(self).__name__}, got {count} for {values}"
            )
        return {name: column[0] for name, column in columns.items()}

    def summary(self) -> dict[str, Any]:
        """Return every field that is not a column, ready for JSON."""
        columns = self.columns()
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in columns and f"{field.name}_re" not in columns
        }

    def csv(self) -> str:
        """Return the table as CSV text; floats in the shortest form that reads back exactly."""
        columns = self.columns()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return out.getvalue()

    def json(self, provenance: Mapping[str, Any] | None = None) -> str:
        """Return summary (and provenance, when given) as JSON text."""
        body: dict[str, Any] = {"record": type(self).__name__, **self.summary()}
        if provenance is not None:
            body["provenance"] = plain(provenance)
        return json.dumps(body, indent=2, allow_nan=False) + "\n"

    def save(self, stem: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write STEM.csv and STEM.json, each atomically."""
        stem = Path(stem)
        write_atomic(stem.with_name(stem.name + ".csv"), self.csv())
        write_atomic(stem.with_name(stem.name + ".json"), self.json(provenance))


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows of one set of keys as a record's columns: float64 arrays, tuples of strings.

    Examples
    --------
    >>> columns([{"form": "paper", "ratio": 1}, {"form": "sharp", "ratio": 2}])
    {'form': ('paper', 'sharp'), 'ratio': array([1., 2.])}
    """
    table = {key: [row[key] for row in rows] for key in rows[0]}
    return {
        key: tuple(column) if isinstance(column[0], str) else np.array(column, dtype=float)
        for key, column in table.items()
    }


def plain(value: Any) -> Any:
    """Return ``value`` as JSON types; arrays and records become lists and objects."""
    if isinstance(value, Record):
        return {**value.summary(), **value.columns()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "c":
            return {"re": value.real.tolist(), "im": value.imag.tolist()}
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file so that an interruption leaves the old one or the new one, never half.

    What a killed process leaves beside it, ``.NAME.tmp``, is taken over by the next one that
    writes the same file. Two at once write it one after the other.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.tmp")
    with _own(draft) as out:
        try:
            out.truncate()
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
            os.chmod(draft, 0o644)
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def clear_drafts(folder: Path) -> None:
    """Remove what killed processes left of files; what another one is writing now stays."""
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError), draft.open("rb") as handle:
            # Its writer may have renamed it since, and another one may own the name by now.
            if _lock(handle.fileno(), wait=False) and os.path.samestat(
                os.fstat(handle.fileno()), os.stat(draft)
            ):
                draft.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder for this process, against others that ask for the same.

    Raises
    ------
    ValueError
        Another run holds it and ``wait`` is false.
    """
    if sys.platform == "win32":  # has no lock of folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(handle, wait=wait):
            raise ValueError(f"folder must not be in use by another run, got {str(folder)!r}")
        yield
    finally:
        os.close(handle)


def _own(draft: Path) -> BinaryIO:
    """Open a file that only one process at a time holds, made where it is absent."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        out = os.fdopen(os.open(draft, flags, 0o600), "r+b")
        _lock(out.fileno(), wait=True)
        # Whoever held it before may have given it its final name, or removed it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(out.fileno()), os.stat(draft)):
                return out
        out.close()


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed, or its process ends; whether that was possible."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks: nobody can be asked
    return True
