"""The house: which room owns each file, which way imports point, what may be imported where.

``problems(root)`` reads every file of both packages, lazy and type-checking imports included, and
returns a line for whatever breaks a rule of CONTRIBUTING.md; an empty list is a sound house.
"""

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

# Lowest first: a room imports from rooms above it in this list alone. A folder owns the files that
# lie directly in it.
ROOMS = (
    "pianalysis/version.py",
    "pianalysis/arrays.py",
    "pianalysis/records.py",
    "pianalysis/checks.py",
    "pianalysis/rope",
    "pianalysis/extension",
    "pianalysis/scores",
    "pianalysis/bounds",
    "pianalysis/bounds/certified",
    "pianalysis/bounds/grid",
    "pianalysis/bounds/symbolic",
    "pianalysis/bounds/worst_case",
    "pianalysis/precision",
    "pianalysis/planning",
    "pianalysis/checkpoints",
    "pianalysis/comparison",
    "pianalysis/evaluation",
    "pianalysis/heads",
    "pianalysis/finetune",
    "pianalysis/pictures",
    "pianalysis/commands",
    "pianalysis/__init__.py",
    "paper_repro/__init__.py",
    "paper_repro/sources.py",
    "paper_repro/ledger.py",
    "paper_repro/tables.py",
    "paper_repro/quoted.py",
    "paper_repro/committed.py",
    "paper_repro/marked.py",
    "paper_repro/facts.py",
    "paper_repro/found.py",
    "paper_repro/findings.py",
    "paper_repro/shown.py",
    "paper_repro/small_scale",
    "paper_repro/scratch",
    "paper_repro/items",
    "paper_repro/beside.py",
    "paper_repro/kept.py",
    "paper_repro/runner.py",
)
# Programs stand above everything: nothing imports them.
DOORS = (
    "pianalysis/__main__.py",
    "pianalysis/finetune/__main__.py",
    "paper_repro/__main__.py",
    "paper_repro/scratch/__main__.py",
)
PICTURES = ("matplotlib",)
MODELS = ("torch", "transformers", "accelerate", "safetensors", "gguf", "tokenizers")
# Lazy imports below checkpoints/: what is given a tensor, what reads a config, the dry run.
LAZY = {
    "pianalysis/planning/dry_run.py": ("torch", "transformers"),
    "pianalysis/planning/measured.py": ("torch", "transformers"),
    "pianalysis/rope/library.py": ("torch", "transformers"),
    "pianalysis/scores/expansion.py": ("torch",),
    "pianalysis/scores/fits.py": ("torch",),
}
# What runs a model to read its config: a module that library.py alone imports, lazily.
EAGER = {"pianalysis/rope/traced.py": ("torch", "transformers")}
MOST_LINES, MOST_IN_THE_ROOT = 400, 8


def problems(root):
    """Return a line for each broken rule."""
    files = sorted(p.relative_to(root).as_posix() for p in _files(root))
    texts = {file: (root / file).read_text(encoding="utf-8") for file in files}
    modules = {module_name(file): file for file in files}
    found = [f"{file}: no room owns it" for file in files if room(file) is None]
    found += [
        f"{file}: above {MOST_LINES} lines"
        for file, text in texts.items()
        if len(text.splitlines()) > MOST_LINES
    ]
    in_root = [file for file in files if file.startswith("pianalysis/") and file.count("/") == 1]
    if len(in_root) > MOST_IN_THE_ROOT:
        found.append(f"pianalysis/: more than {MOST_IN_THE_ROOT} modules in the root")
    arrows = {}
    for file, text in texts.items():
        targets = set()
        for node, lazy in imports(text):
            for target, name in _targets(node, modules):
                if modules[target] != file:
                    targets.add(modules[target])
                found += _arrow(file, modules[target], name)
            found += _outside(file, node, lazy)
        found += _taken_by_attribute(file, text, modules)
        if file.endswith("__init__.py"):
            found += _face(file, ast.parse(text))
        arrows[file] = targets
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        found.append(f"a circle of imports: {' -> '.join(error.args[1])}")
    return found


def room(file):
    """Return the position of the room that owns a file, by its path; None where none does."""
    if file in DOORS:
        return len(ROOMS)
    for owner in (file, Path(file).parent.as_posix()):
        if owner in ROOMS:
            return ROOMS.index(owner)
    return None


def module_name(file):
    """Return the dotted name of a file."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# Copies of the tree differ in a file or two: what a text imports and takes is found once.
@functools.cache
def imports(text):
    """Return (import statement, whether it is lazy): all of them, wherever they stand."""

    def walk(node, lazy):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child, lazy
            checked = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from walk(child, lazy or checked or inside)

    return tuple(walk(ast.parse(text), False))


@functools.cache
def _private_attributes(text):
    """Return (name, attribute) of each ``name._attribute``."""
    return tuple(
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
    )


def _files(root):
    for package in ("pianalysis", "paper_repro"):
        yield from (p for p in (root / package).rglob("*.py") if "__pycache__" not in p.parts)


def _targets(node, modules):
    """Yield (module of this project, name taken from it or None) of one import statement."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, None) for alias in node.names if alias.name in modules)
    elif node.level:
        raise ValueError("imports must be absolute")
    else:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            if full in modules:
                yield full, None
            elif node.module in modules:
                yield node.module, alias.name


def _arrow(file, target, name):
    here, there = room(file), room(target)
    if here is None or there is None or here == there:
        return []
    out = []
    if there > here:
        out.append(f"{file}: imports upwards, from {target}")
    if name is not None and name.startswith("_") and not name.endswith("__"):
        out.append(f"{file}: takes the private name {name} of {target}")
    return out


def _taken_by_attribute(file, text, modules):
    """Return a line for each ``module._name`` of another room."""
    bound = {}
    for node, _ in imports(text):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules and room(modules[full]) != room(file):
                    bound[alias.asname or alias.name] = modules[full]
    return [
        f"{file}: takes the private name {attribute} of {bound[name]}"
        for name, attribute in _private_attributes(text)
        if name in bound
    ]


def _outside(file, node, lazy):
    """Return a line where matplotlib or a model library is imported below its room."""
    names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
    here = room(file)
    out = []
    for name in {str(name).split(".")[0] for name in names}:
        if name in PICTURES and here is not None and here < ROOMS.index("pianalysis/pictures"):
            out.append(f"{file}: imports {name} below pictures/")
        if name in EAGER.get(file, ()):
            continue
        if name in MODELS and here is not None and here < ROOMS.index("pianalysis/checkpoints"):
            if not lazy:
                out.append(f"{file}: imports {name} below checkpoints/")
            elif name not in LAZY.get(file, ()):
                out.append(f"{file}: imports {name} lazily below checkpoints/ and is not listed")
    return out


def _face(file, tree):
    """Return a line where a face does more than hand names on."""
    for node in tree.body:
        documented = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        listed = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (documented or listed or isinstance(node, ast.ImportFrom)):
            return [f"{file}: a face only hands names on, got {ast.unparse(node)[:40]}"]
    return []
