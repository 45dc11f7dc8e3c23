"""Annotations are types: what a reader, a documentation tool or a type checker sees can be made."""

import ast
import importlib
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


@pytest.mark.parametrize("operator", ["-", "%", "&", "**"])
def test_another_operator_is_seen(operator):
    tree = ast.parse(
        f"def f(x: int {operator} None = None) -> None:\n    y: str {operator} None = 1"
    )
    assert len(unmade("pianalysis/arrays.py", tree)) == 2
