"""Annotations are types, records are fixed: what a reader sees is what there is."""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("pianalysis", "paper_repro")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__main__.py"
)


def annotations(tree):
    """Every annotation of a file, those of local variables too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns:
            yield node.returns
        elif isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
            yield node.annotation


def imported(tree):
    """Name -> what brings it, of every import: lazy ones and those for the type checker alone."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


def brought(module, name):
    if name is None:
        return importlib.import_module(module)
    home = importlib.import_module(module)
    return getattr(home, name) if hasattr(home, name) else brought(f"{module}.{name}", None)


def unmade(file, tree):
    """A line for each annotation that is no type where it stands."""
    known = dict(vars(importlib.import_module(file.removesuffix(".py").replace("/", "."))))
    bringing, lines = imported(tree), []
    for annotation in annotations(tree):
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name) and node.id in bringing and node.id not in known:
                known[node.id] = brought(*bringing[node.id])
        try:
            eval(compile(ast.Expression(annotation), file, "eval"), known)
        except Exception as error:
            lines.append(f"{file}:{annotation.lineno}: {ast.unparse(annotation)}: {error}")
    return lines


@pytest.mark.parametrize("file", FILES)
def test_annotations_are_types(file, root):
    assert unmade(file, ast.parse((root / file).read_text())) == []


CHANGED = {"_State"}  # an iterate of the solver is changed in place, step by step


def open_records(module):
    """A line for each dataclass of a module that can be changed or takes other attributes."""
    for name, found in vars(module).items():
        if not dataclasses.is_dataclass(found) or found.__module__ != module.__name__:
            continue
        if inspect.isclass(found) and name not in CHANGED:
            if not found.__dataclass_params__.frozen:
                yield f"{name} is not frozen"
            if "__slots__" not in vars(found):
                yield f"{name} has no slots"


@pytest.mark.parametrize("file", FILES)
def test_records_are_fixed(file):
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert list(open_records(module)) == []


def test_an_open_record_is_seen(monkeypatch):
    module = importlib.import_module("pianalysis.rope.presets")
    loose = dataclasses.make_dataclass("Loose", ["x"])
    loose.__module__ = module.__name__
    monkeypatch.setattr(module, "Loose", loose, raising=False)
    assert list(open_records(module)) == ["Loose is not frozen", "Loose has no slots"]


@pytest.mark.parametrize("operator", ["-", "%", "&", "**"])
def test_another_operator_is_seen(operator):
    tree = ast.parse(
        f"def f(x: int {operator} None = None) -> None:\n    y: str {operator} None = 1"
    )
    assert len(unmade("pianalysis/arrays.py", tree)) == 2
