"""README and docs/ hold: their code runs as it stands, their links lead somewhere.

The blocks of a page run in order, in one fresh interpreter, in an empty folder: Python shares its
names, what ``>>>`` shows is compared, a shell stops at the first command that fails. In a
``console`` block ``$`` is a command and every other line what it prints, in that order; ``...``
stands for lines left out. Not run are lines that set up the environment the tests run in (make,
pip install, activate): continuous integration runs those itself. Blocks of ``text`` hold commands
that take minutes; their options are read by the real parsers.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from paper_repro.__main__ import build_parser as paper_parser
from paper_repro.scratch.__main__ import build_parser as scratch_parser
from paper_repro.small_scale.__main__ import build_parser as small_parser
from pianalysis.commands.main import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON, SHELL = ("python", "pycon"), ("sh", "bash")
SKIPPED = re.compile(r"^(make( |$)|(python -m )?pip install |\. \.venv/bin/activate)")
MOST_LINES = 120
SECONDS = 300  # a page on a busy machine; all of them take less than a minute on a quiet core
GENERATED = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)
# Numbers that README types: of the paper, of the quick start's own inputs, of Python.
TYPED = {"2.1", "2", "1-6", "7", "65", "3.11", "1", "2048", "8191", "8192"}

DRIVER = """
import doctest, subprocess, sys
names = {"__name__": "page"}

def console(code):
    for part in ("\\n" + code).split("\\n$ ")[1:]:
        line, _, shown = part.partition("\\n")
        shell = ["bash", "-euo", "pipefail", "-c", line]
        got = subprocess.run(shell, check=True, stdout=subprocess.PIPE, text=True).stdout
        shown = shown.rstrip("\\n")
        if shown and not doctest.OutputChecker().check_output(
            shown + "\\n", got, doctest.ELLIPSIS
        ):
            sys.exit(f"shown:\\n{shown}\\nprinted:\\n{got}")

for place, (kind, code) in enumerate(eval(sys.stdin.read()), 1):
    if kind == "shell":
        subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=True)
    elif kind == "console":
        console(code)
    elif ">>>" in code:
        test = doctest.DocTestParser().get_doctest(code, names, f"block {place}", None, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        names = test.globs
        if runner.run(test, clear_globs=False).failed:
            sys.exit(1)
    else:
        exec(compile(code, f"block {place}", "exec"), names)
"""


def blocks(text):
    """Return (kind, code) of each block that can be run, without the lines that are left out."""
    found = []
    for language, code in FENCE.findall(text):
        if language in SHELL:
            kept = [line for line in code.splitlines() if not SKIPPED.match(line)]
            found.append(("shell", "\n".join(kept) + "\n"))
        elif language == "console":
            found.append(("console", code))
        elif language in PYTHON:
            found.append(("python", code))
    return found


def run(page, folder):
    """Run blocks in an empty folder; returns the exit status and what was said."""
    here = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MPLBACKEND": "agg",
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=repr(page),
        cwd=folder,
        env=here,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_code_runs_as_it_stands(path, tmp_path):
    page = blocks(path.read_text())
    if not page:
        pytest.skip("no code")
    status, said = run(page, tmp_path)
    assert status == 0, said


def test_there_is_code():
    kinds = [kind for path in PAGES for kind, code in blocks(path.read_text()) if code.strip()]
    assert kinds.count("python") >= 5
    assert kinds.count("shell") + kinds.count("console") >= 2
    quick = [kind for kind, _ in blocks((ROOT / "README.md").read_text())]
    assert quick == ["shell", "python", "console"]


BROKEN = {"python": ("raise SystemError\n", ">>> 1 + 1\n3\n"), "shell": ("false\n", "no-such-x\n")}
BROKEN["console"] = ("$ false\n", "")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_broken_line_is_seen_in_every_block(path, tmp_path):
    for kind, code in blocks(path.read_text()):
        prompt = kind == "python" and ">>>" in code
        line = BROKEN[kind][prompt]
        status, said = run([(kind, line + code)], tmp_path)
        assert status != 0, (line, code, said)


def test_a_broken_line_at_the_end_is_seen(tmp_path):
    for page in (
        "```python\nx = 1\n```\n```python\nassert x == 2\n```\n",
        "```pycon\n>>> x = 1\n>>> x\n2\n```\n",
        "```pycon\n>>> x = 1\n```\n```sh\ntrue\nfalse\ntrue\n```\n",
        "```console\n$ pianalysis report no-such-model\n```\n",
        "```console\n$ echo 1.90234\n1.90235\n```\n",
        "```console\n$ printf 'a\\nb\\n'\n...\na\n$ true\n```\n",
    ):
        assert run(blocks(page), tmp_path)[0] != 0, page
    sound = (
        "```python\nx = 1\n```\n```pycon\n>>> x\n1\n```\n```sh\nmake x\npianalysis --version\n```\n"
        "```console\n$ printf 'a\\nb\\nc\\n'\n...\nb\n...\n$ true\n```\n"
    )
    assert run(blocks(sound), tmp_path)[0] == 0


def test_only_set_up_is_left_out():
    left = [
        line
        for path in PAGES
        for language, code in FENCE.findall(path.read_text())
        if language in SHELL
        for line in code.splitlines()
        if SKIPPED.match(line)
    ]
    assert left == [
        "make models",
        ". .venv/bin/activate",
    ]
    for line in ("makeshift", "pianalysis plan x", "python -m paper_repro run", "false"):
        assert not SKIPPED.match(line)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_names_its_language(path):
    kinds = {language for language, _ in FENCE.findall(path.read_text())}
    assert kinds <= {*PYTHON, *SHELL, "console", "text"}
    assert path.read_text().count("```") == 2 * len(FENCE.findall(path.read_text()))


def long_commands():
    return [
        line
        for path in PAGES
        for language, code in FENCE.findall(path.read_text())
        if language == "text"
        for line in code.splitlines()
    ]


@pytest.mark.parametrize("line", long_commands())
def test_long_commands_have_options_that_exist(line):
    program, *words = shlex.split(line)
    if program == "pianalysis":
        build_parser().parse_args(words)
    elif words[:2] == ["-m", "paper_repro"]:
        paper_parser().parse_args(words[2:])
    elif words[:2] == ["-m", "paper_repro.small_scale"]:
        small_parser().parse_args(words[2:])
    else:
        assert words[:2] == ["-m", "paper_repro.scratch"]
        scratch_parser().parse_args(words[2:])


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "ERRATA.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    gone = [
        target
        for target in targets
        if not target.startswith(("https://", "#"))
        and not (path.parent / target.partition("#")[0]).exists()
    ]
    assert gone == []


def test_readme_is_a_door():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < MOST_LINES
    for finding in range(1, 6):
        assert f"\n**{finding}. " in text
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name


def typed_numbers(text):
    """Return the numbers of the prose that no generator writes."""
    prose = GENERATED.sub("", text)
    for left_out in (FENCE, re.compile(r"`[^`\n]*`"), re.compile(r"\]\([^)]*\)")):
        prose = left_out.sub(" ", prose)
    prose = re.sub(r"arXiv:\d+\.\d+|Apache-2\.0|SmolLM2-135M|d/2|c\^\(-2j/d\)|\d\d_\w+", " ", prose)
    return set(re.findall(r"(?<![\w.])\d[\d.,-]*\d|\d", prose))


def test_readme_types_no_result():
    text = (ROOT / "README.md").read_text()
    assert typed_numbers(text) <= TYPED
    assert typed_numbers(text.replace("judged one by one", "judged: 1.137 times")) - TYPED == {
        "1.137"
    }
