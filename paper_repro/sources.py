"""What an item rests on: the source files that it reaches by import, and the data that they read.

Imports are read from the syntax tree, wherever they stand in a file but under ``TYPE_CHECKING``,
and followed through both packages. A face hands names on, so of a face only the names asked for are
followed. A module that reads data files of this project names them in a constant ``DATA``: patterns
relative to the project's root.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pianalysis.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pianalysis", "paper_repro")
VERSIONS = ("numpy", "scipy", "matplotlib", "torch", "numba", "python-flint", "sympy")
Imported = tuple[str, str | None]  # a module, and the name taken from it (None: the module itself)


def versions(packages: Iterable[str] = VERSIONS) -> dict[str, str]:
    """Return the versions of Python, of this package and of others."""
    return {
        "python": platform.python_version(),
        "pianalysis": __version__,
        **{package: importlib.metadata.version(package) for package in packages},
    }


def digest(module: str, root: Path = ROOT) -> str:
    """Return the SHA-256 of all that ``module`` (dotted) rests on: paths and contents."""
    hashed = hashlib.sha256()
    for path in reached(module, root):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()


def reached(module: str, root: Path = ROOT) -> list[Path]:
    """Return the files that ``module`` rests on, sorted: sources first found by import, and data.

    Raises
    ------
    ValueError
        A module that is not of this project; a ``DATA`` pattern that names no file.
    """
    if _file(module, root) is None:
        raise ValueError(f"module must be one of {' and '.join(PACKAGES)}, got {module!r}")
    seen: set[Imported] = set()
    open_: list[Imported] = [(module, None)]
    texts: dict[Path, str] = {}  # of sources: a face is asked for many names
    data: set[Path] = set()
    while open_:
        item = open_.pop()
        path = _file(item[0], root)
        if item in seen or path is None:
            continue
        if item[1] is not None and _file(f"{item[0]}.{item[1]}", root) is not None:
            continue  # a module by way of its package: the face only stands on the way
        seen.add(item)
        if path not in texts:
            texts[path] = path.read_text(encoding="utf-8")
        text = texts[path]
        if path.name == "__init__.py" and item[1] is not None:
            open_ += [imported for bound, imported in _imports(text) if bound == item[1]]
        else:
            open_ += [imported for _, imported in _imports(text)]
        for pattern in _data(text):
            matching = [file for file in root.glob(pattern) if file.is_file()]
            if not matching:
                raise ValueError(f"DATA of {item[0]} must name files, got {pattern!r}")
            data.update(matching)
    return sorted(data.union(texts))


@lru_cache(maxsize=4096)
def _file(module: str, root: Path) -> Path | None:
    """Return the file of a module, the face of a package; None for anything else."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = root.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=1024)
def _imports(text: str) -> tuple[tuple[str, Imported], ...]:
    """Return (name bound, what it is) for each import that a file runs."""
    out: list[tuple[str, Imported]] = []
    for node in _run(ast.parse(text)):
        if isinstance(node, ast.Import):
            out += [(alias.asname or alias.name, (alias.name, None)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                bound = alias.asname or alias.name
                out += [(bound, (node.module, alias.name))]
                out += [(bound, (f"{node.module}.{alias.name}", None))]
    return tuple(out)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run(node)


@lru_cache(maxsize=1024)
def _data(text: str) -> tuple[str, ...]:
    """Return the strings of the file's constant ``DATA``."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DATA":
            return tuple(ast.literal_eval(node.value))
    return ()
