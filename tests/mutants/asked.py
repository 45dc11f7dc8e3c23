"""Which tests are asked of a mutant: those that run its line, as measured once, in a fair order."""

import ast
import collections
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import forked

ROOMS = ("rope", "extension", "scores", "bounds", "precision")
TESTS = (
    *(f"{folder}/{room}" for room in (*ROOMS, "comparison") for folder in ("tests", "pianalysis")),
    "tests/commands/test_own_scheme.py",
    "tests/heads/test_statistics.py",
    "tests/paper_repro/test_tables.py",
    "tests/paper_repro/test_evidence.py",
    "tests/paper_repro/test_runner.py",
    "tests/test_records.py",
)
# Compare digests of sources, or runs of hours with theirs.
UNASKED = ("test_a_killed_run", "test_check_recomputes", "test_provenance_names")
# Seconds of one test, as timed under coverage with nothing kept (twice what it takes and more).
LONGEST, MOST_TESTS = 10.0, 200


def measure(root, cache):
    """Run the tests once, nothing kept between them: the lines each runs, the time it takes."""
    settings = cache / "coverage.ini"
    settings.write_text(
        f"[run]\nsource =\n    pianalysis\n    paper_repro\ndata_file = {cache / 'lines'}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
    command += ["-p", "uncached", f"--junitxml={cache / 'times.xml'}", "--cov"]
    command += [f"--cov-config={settings}", "--cov-context=test", "--cov-report=", *TESTS]
    path = os.pathsep.join([str(root), str(pathlib.Path(__file__).parent)])
    environment = {**os.environ, **forked.SURROUNDINGS, "PYTHONPATH": path}
    subprocess.run(command, cwd=root, check=True, env=environment, stdout=sys.stderr)


def evidence(root, cache):
    """(file -> line -> tests), (test -> seconds), by the measured run."""
    import coverage

    timed = {}
    for case in ElementTree.parse(cache / "times.xml").iter("testcase"):
        test = f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
        took = float(case.get("time"))
        failed = any(case.find(each) is not None for each in ("failure", "error", "skipped"))
        if not failed and took <= LONGEST and not any(word in test for word in UNASKED):
            timed[test] = took
    data = coverage.CoverageData(str(cache / "lines"))
    data.read()
    lines = {}
    for file in data.measured_files():
        of = lines[str(pathlib.Path(file).relative_to(root))] = collections.defaultdict(set)
        for line, contexts in data.contexts_by_lineno(file).items():
            of[line].update(timed.keys() & {context.rpartition("|")[0] for context in contexts})
            if not of[line]:
                del of[line]
    return lines, timed


def importers(root):
    """File -> the files that import it by name, tests among them."""
    found = collections.defaultdict(set)
    for package in ("pianalysis", "paper_repro", "tests"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    for name in (node.module, *(f"{node.module}.{x.name}" for x in node.names)):
                        found[f"{name.replace('.', '/')}.py"].add(str(path.relative_to(root)))
    return found


def running(mutant, lines, importers, seconds):
    """The tests that run the line, or where none does, the file or what imports it.

    Compiled kernels run unseen, constants and annotations when a file is imported.
    """
    of = lines.get(mutant["file"], {})
    tests = of.get(mutant["line"]) or set().union(*of.values())
    if mutant["line"] not in of:
        for file in importers.get(mutant["file"], ()):
            tests = tests.union(*lines.get(file, {}).values())
            tests = tests.union(test for test in seconds if test.startswith(f"{file}::"))
    return tests


def asked(tests, seconds, killed, most):
    """The order in which tests are asked, ``most`` seconds of them.

    First those that have ``killed``, most often first; then of each test function its fastest case,
    then of each the next, as cases fail alike; the more a function has killed the more cases.
    """
    turn, cases = {}, collections.Counter()
    for test in sorted(tests, key=lambda test: (seconds[test], test)):
        function = test.partition("[")[0]
        turn[test] = cases[function] / (1 + killed[function])
        cases[function] += 1
    order = sorted(tests, key=lambda test: (-killed[test], turn[test], seconds[test], test))
    chosen, spent = [], 0.0
    for test in order[:MOST_TESTS]:
        spent += seconds[test]
        if chosen and spent > most:
            break
        chosen.append(test)
    return chosen
