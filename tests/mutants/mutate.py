"""Mutation testing: change one operator, number or branch, and ask whether a test notices.

    python tests/mutants/mutate.py --mutants 2000 --seed 0

Cosmic Ray's default operators list every mutant of the theory's files (SUBJECTS); a seeded sample
of them is tried, each in a copy of the tree, by the tests that run the mutated line: what killed in
that file before, then the fastest, until one fails or 20 seconds of tests (as timed before) have
passed. Every mutant that compiles counts, an equivalent one as survivor; one that makes a test of
seconds run for half a minute is killed. Tests that compare digests of sources are not asked: they
would see any edit. An interrupted run goes on where it was. The record, survivors.json, keeps the
reasons written into it.
"""

import argparse
import collections
import compileall
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import forked
from asked import ROOMS, asked, evidence, importers, measure, running
from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from tqdm import tqdm

ROOT = pathlib.Path(__file__).parents[2]
RECORD = pathlib.Path(__file__).parent / "survivors.json"
SUBJECTS = (
    *(f"pianalysis/{room}" for room in ROOMS),
    "paper_repro/ledger.py",
    "paper_repro/tables.py",
)
FIRST = 8  # tests asked before the others: a file of tests that is not needed is not loaded
PATIENCE = 30  # seconds for one test under a mutant
# No line of a file runs for them, so they are asked first of every mutant: annotations and what
# makes a record are mutated, too.
ALWAYS = (
    "tests/test_annotations.py::test_annotations_are_types[{file}]",
    "tests/test_annotations.py::test_records_are_fixed[{file}]",
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)
QUIET = ["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]


def subjects(root):
    for name in SUBJECTS:
        path = root / name
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def mutants(root):
    """Every mutant of the subjects: file, operator, its occurrence, first line."""
    for item in _all_work_items(list(subjects(root)), {}):
        (one,) = item.mutations
        file = str(pathlib.Path(one.module_path).relative_to(root))
        yield {"file": file, "operator": one.operator_name, "occurrence": one.occurrence,
               "line": one.start_pos[0], "function": one.definition_name or ""}  # fmt: skip


def mutated(root, mutant):
    """The file's text with the mutant in it, or None where that is no Python."""
    before = (root / mutant["file"]).read_text()
    after = mutate_code(before, get_operator(mutant["operator"])(), mutant["occurrence"])
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(after, mutant["file"], "exec")
    except (SyntaxError, TypeError):
        return None
    return None if after == before else after


def drawn(root, seed, cache):
    """Every mutant in a seeded order; a minute of work, kept in the cache.

    The order is that of a digest of each, so that an edit of one file leaves those of others drawn.
    """
    kept = cache / "mutants.json"
    if not kept.exists():
        kept.write_text(json.dumps(list(mutants(root))))

    def place(mutant):
        return hashlib.sha256(f"{seed} {key(mutant)}".encode()).digest()

    return sorted(json.loads(kept.read_text()), key=place)


def difference(before, after):
    """The first line that differs, before and after."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next(({"before": b.strip(), "after": a.strip()} for b, a in pairs if a != b), {})


def work(root, cache, todo, number, seconds, most, *, again):
    """Try a share of the mutants in a copy of the tree; a line a result.

    What survives ``again``, asked a part of the tests, is known already.
    """
    copy = cache / f"tree-{number}"
    shutil.rmtree(copy, ignore_errors=True)
    ignored = shutil.ignore_patterns(".git", ".venv*", "*.egg-info", ".*_cache")
    shutil.copytree(root, copy, ignore=ignored)
    compileall.compile_dir(copy, quiet=2)
    killed = collections.defaultdict(collections.Counter)  # file -> test or function -> mutants
    for result in read(cache):
        killed[result["file"]].update({result["by"], result["by"].partition("[")[0]})
    with (cache / f"results-{number}.jsonl").open("a") as results, forked.Server() as server:
        for mutant, tests in todo:
            path, original = copy / mutant["file"], (root / mutant["file"]).read_text()
            status, text, by = "no Python", mutated(root, mutant), ""
            of = killed[mutant["file"]]
            if text is not None:
                path.write_text(text)
                order = [
                    *(test.format(**mutant) for test in ALWAYS),
                    *asked(tests, seconds, of, most),
                ]
                for part in (order[:FIRST], order[FIRST:]):
                    if part and status in ("no Python", 0):
                        limit = 6 * PATIENCE + 5.0 * most
                        status, output = server.run(copy, [*QUIET, *part], limit, PATIENCE)
                        by = failed[1] if (failed := FAILED.search(output)) else ""
                shutil.copy2(root / mutant["file"], path)  # with its time: the compiled file fits
            if again and status == 0:
                continue
            of.update({by, by.partition("[")[0]})
            result = {**mutant, **difference(original, text or ""), "status": status, "by": by}
            result["seconds"] = most
            print(json.dumps(result), file=results, flush=True)


def read(cache):
    """Every result so far."""
    for path in sorted(cache.glob("results-*.jsonl")):
        yield from map(json.loads, path.read_text().splitlines())


def finished(cache, chosen):
    """The result of most tests of each mutant so far, in the order in which they were drawn."""
    known = {}
    for result in read(cache):
        before = known.get(key(result), {"status": 0, "seconds": 0.0})
        more = result.get("seconds", 20.0) >= before.get("seconds", 20.0)
        if before["status"] == 0 and (result["status"] != 0 or more):
            known[key(result)] = result
    return [known[key(mutant)] for mutant in chosen if key(mutant) in known]


def key(mutant):
    return tuple(mutant[name] for name in ("file", "operator", "occurrence"))


def record(results, total, seed):
    """Counts by file and by operator, and the survivors with the reasons already written."""
    reasons = {}
    if RECORD.exists():
        for each in json.loads(RECORD.read_text())["survivors"]:
            reasons[each["file"], each["before"], each["after"]] = each["why"]
    survivors = [
        {"file": r["file"], "line": r["line"], "before": r["before"], "after": r["after"],
         "why": reasons.get((r["file"], r["before"], r["after"]), "")}
        for r in results if r["status"] == 0
    ]  # fmt: skip

    def share(name):
        groups = collections.defaultdict(list)
        for result in results:
            group = result[name].rpartition("/")[2] if name == "operator" else result[name]
            groups[group].append(result["status"] != 0)
        return {group: f"{sum(of)} of {len(of)}" for group, of in sorted(groups.items())}

    killed = sum(result["status"] != 0 for result in results)
    survivors.sort(key=lambda each: (each["file"], each["line"], each["after"]))
    return {
        "mutants": total, "sampled": len(results), "seed": seed, "killed": killed,
        "share": round(killed / len(results), 4), "by_file": share("file"),
        "by_operator": share("operator"), "survivors": survivors,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mutants", type=int, default=2000, help="how many to try (2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0,
                        help="of tests; what survived fewer is tried again (20)")  # fmt: skip
    parser.add_argument("--ask", metavar="WORD",
                        help="try survivors again, by the tests that hold it")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / ".venv" / "mutants",
                        help="measured lines and results; delete it after an edit")  # fmt: skip
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    if not (args.cache / "times.xml").exists():
        measure(ROOT, args.cache)
    lines, seconds = evidence(ROOT, args.cache)
    every = drawn(ROOT, args.seed, args.cache)
    chosen = every[: args.mutants + args.mutants // 10]  # some are no Python
    results = {key(result): result for result in finished(args.cache, chosen)}
    if args.ask:
        seconds = {test: took for test, took in seconds.items() if args.ask in test}
        known = {each for each, result in results.items() if result["status"] != 0}
        open_ = [m for m in chosen if key(m) in results.keys() - known]
    else:
        known = {
            each
            for each, result in results.items()
            if result["status"] != 0 or result.get("seconds", 20.0) >= args.seconds
        }
        open_ = [m for m in chosen if key(m) not in known]
    by = importers(ROOT)
    todo = [(m, running(m, lines, by, seconds) & seconds.keys()) for m in open_]
    workers = []
    for number in range(args.workers if todo else 0):
        child = os.fork()
        if not child:
            share = todo[number :: args.workers]
            work(ROOT, args.cache, share, number, seconds, args.seconds, again=bool(args.ask))
            os._exit(0)
        workers.append(child)
    with tqdm(total=len(chosen), initial=len(known), unit="mutant") as bar:
        while workers:
            time.sleep(5.0)
            workers = [w for w in workers if os.waitpid(w, os.WNOHANG)[0] == 0]
            bar.n = len(finished(args.cache, chosen))
            bar.refresh()
    results = [r for r in finished(args.cache, chosen) if r["status"] != "no Python"]
    results = results[: args.mutants]
    found = record(results, len(every), args.seed)
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['killed']} of {found['sampled']} killed ({found['share']:.1%}); {RECORD}")
    return 0 if found["share"] >= 0.9 and len(results) == args.mutants else 1


if __name__ == "__main__":
    sys.exit(main())
