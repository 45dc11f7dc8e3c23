"""Every notebook is committed executed, still runs, and prints what is kept."""

import copy
import math
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
# What float64 computes may differ in its last digits from machine to machine. A line that says
# "measured" holds numbers that rounding, threads and libraries move: they agree to a factor 2.
TOLERANCE, MEASURED = 1e-6, 1.0


def test_there_are_notebooks():
    names = [path.name for path in NOTEBOOKS]
    assert len(names) >= 10
    assert [name[:2] for name in names] == [f"{place:02}" for place in range(len(names))]
    assert names[:2] == ["00_start_here.ipynb", "01_rope_basis.ipynb"]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """The lines that a cell shows as text: streams, tables, formulas; not pictures and widgets."""
    out = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "application/vnd.jupyter.widget-view+json" in data:
            continue
        kinds = [kind for kind in data if kind.startswith("text/") and kind != "text/plain"]
        shown = [data[kind] for kind in kinds] or [data.get("text/plain", output.get("text", ""))]
        out += [line for text in shown for line in text.splitlines()]
    # Objects are shown by their address.
    return [re.sub(r" at 0x[0-9a-f]+", "", line) for line in out]


def differences(kept, new):
    """A line for each text output of ``kept`` that a run does not give: words, then numbers."""
    found = []
    for place, (old_cell, new_cell) in enumerate(zip(kept, new, strict=True), 1):
        old, now = texts(old_cell), texts(new_cell)
        if len(old) != len(now):
            found.append(f"cell {place}: {len(old)} lines kept, {len(now)} now")
            continue
        for before, after in zip(old, now, strict=True):
            tolerance = MEASURED if "measured" in before else TOLERANCE
            if not agree(before, after, tolerance):
                found.append(f"cell {place}: kept {before!r}, now {after!r}")
    return found


def agree(before, after, tolerance):
    """Whether two lines have the same words, and numbers that agree."""
    words = [" ".join(NUMBER.sub("#", line).split()) for line in (before, after)]
    if words[0] != words[1]:
        return False
    numbers = ([float(x) for x in NUMBER.findall(line)] for line in (before, after))
    return all(
        math.isclose(x, y, rel_tol=tolerance / (1 + tolerance), abs_tol=1e-12)
        for x, y in zip(*numbers, strict=True)
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert cells
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs) or "06" in path.name
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert "def " not in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_same_order_everywhere(path):
    """Title with its number and question, versions, the matter, claims, what it shows and not."""
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith(f"# {path.name[:2]} ")
    assert "\n\n**Question.** " in cells[0].source
    assert cells[1].cell_type == "code"
    assert "print(" in cells[1].source
    *_, head, claims, last = cells
    assert head.source.startswith("## What the paper says of it, and what we find")
    assert "shown.claims(" in claims.source
    assert last.source.startswith("**What this shows.** ")
    assert "**What it does not.** " in last.source
    assert not any("{c.location}" in cell.source or "| ---" in cell.source for cell in cells)


# The paper's own numbers, formats, and counts too small to be a result.
TYPED = {"600", "8000", "20", "16", "32", "64", "1", "2", "7"}
REFERENCE = re.compile(
    r"(?:Eq\.|Fig\.|Tables?|Theorem|sections?|arXiv:) ?[\d.]+(?:(?:-|, | and |, Eq\. )\d+)*"
    r"|SmolLM2-135M|PG-19|Llama 3|LLaMA \d+B|et al\. \d{4}|^# \d\d",
    re.MULTILINE,
)
NO_PROSE = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\[\d\d_\w+\]\([^)]*\)|\]\([^)]*\)", re.DOTALL)


def typed_results(notebook):
    """Return the numbers in prose that are neither the paper's nor what a code cell is given."""
    given = " ".join(cell.source for cell in code_cells(notebook))
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    numbers = re.findall(r"\d[\d,.]*\d|\d", REFERENCE.sub(" ", NO_PROSE.sub(" ", prose)))
    return [x for x in numbers if x not in TYPED and not re.search(rf"\b{re.escape(x)}\b", given)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed(path):
    notebook = nbformat.read(path, as_version=4)
    assert typed_results(notebook) == []
    notebook.cells[-1].source += " The worst is 35.61 times."
    assert typed_results(notebook) == ["35.61"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_holds_a_path_of_a_machine(path):
    assert not re.search(r"/(home|root|tmp|work|usr|Users)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_runs_and_prints_what_is_kept(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    kept = copy.deepcopy(code_cells(notebook))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    new = code_cells(notebook)
    assert any(cell.execution_count for cell in new)
    # The first cell names the versions: with other libraries the rest need not be the same.
    if libraries(kept[0]) != libraries(new[0]):
        pytest.skip(f"kept are outputs of {libraries(kept[0])}, here are {libraries(new[0])}")
    assert texts(kept[0]) == texts(new[0])
    assert differences(kept, new) == []


def libraries(cell):
    """What the first cell says of other packages: the line without this one's version."""
    return re.sub(r"pianalysis \S+", "", " ".join(texts(cell)))


STREAM = "largest score 35.61 at span 8191 (ball interval)"


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ("largest score 35.61 at span 8191 (ball interval)", True),
        ("largest score 35.610001 at span 8191 (ball interval)", True),
        ("largest score 35.62 at span 8191 (ball interval)", False),
        ("largest score 35.61 at span 8190 (ball interval)", False),
        ("largest score 35.61 at span 8191 (closed form)", False),
        ("largest score -35.61 at span 8191 (ball interval)", False),
        ("largest score 35.61 at span (ball interval)", False),
    ],
)
def test_stale_text_is_seen(now, same):
    kept = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=STREAM)])
    new = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=now)])
    assert (differences([kept], [new]) == []) == same


def test_measured_numbers_may_move_and_words_may_not():
    assert agree("4.1e5 to 1.1e7 (measured)", "5.0e5 to 2.0e7 (measured)", MEASURED)
    assert not agree("4.1e5 to 1.1e7 (measured)", "5.0e5 to 3.0e7 (measured)", MEASURED)
    assert not agree("4.1e5 to 1.1e7 (measured)", "5.0e5 or 2.0e7 (measured)", MEASURED)
