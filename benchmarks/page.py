"""benchmarks/README.md and README's section on speed, both made from the records beside this file.

``--measure`` first runs every script (`make bench`) or those named, each in a process of its own.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common import refuse_other_systems
from tabulate import tabulate

from paper_repro.marked import replaced
from pianalysis.records import write_atomic

FOLDER = Path(__file__).resolve().parent
# A line of README each, in the order in which they are measured.
SUBJECTS = {
    "Scores": ("abel_sum", "uniform_grid"),
    "Worst cases, fits": ("worst_case", "exact_fit"),
    "Configs, imports": ("layer_frequencies", "imports"),
    "Heads": ("heads", "profiler"),
    "Reading, training": ("perplexity", "finetune"),
    "Checkpoints": ("loading",),
}
SCRIPTS = tuple(name for names in SUBJECTS.values() for name in names)
NEEDED = {"profiler": "rope_profiler"}  # has no release for Python 3.13 and above
BUSY = 0.5  # load average above what our own scripts make: a core each, or a process each
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
UNMEASURED = "not yet measured: `make bench`"
Records = Mapping[str, dict[str, Any] | None]


def read(folder: Path) -> Records:
    """Return the record of each script, None where there is none yet."""
    paths = {name: folder / f"{name}.json" for name in SCRIPTS}
    return {
        name: json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        for name, path in paths.items()
    }


def page(records: Records) -> str:
    """Return benchmarks/README.md."""
    parts = [
        "# Benchmarks",
        "Made by `python benchmarks/page.py` from the records beside it, which also hold the least "
        "and the largest time; `make bench` measures all anew (SmolLM2-135M and rope-profiler are "
        "installed for it), `python benchmarks/page.py --measure NAME` one script. Times are "
        "medians over the rounds, the ratio is the median of peer / ours: above 1 ours is quicker. "
        "Threads are those that a side may use. Growth is the power of the size that fits our "
        "times best, beside what theory expects; fixed costs make it less.",
    ]
    for name, record in records.items():
        title, text = _said(name)
        parts += [f"## {title.rstrip('.')}", f"`python benchmarks/{name}.py`"]
        parts += [text] if text else []
        parts += [UNMEASURED] if record is None else _measured(record)
    return "\n\n".join(parts) + "\n"


def section(records: Records) -> str:
    """Return README's list, a line for each subject: every script's question and its ratio."""
    lines = []
    for subject, names in SUBJECTS.items():
        told = [_told(name, records[name]) for name in names if name in records]
        if told:
            lines.append(f"- *{subject}*: {'; '.join(told)}")
    return "\n".join(lines)


def _told(name: str, record: dict[str, Any] | None) -> str:
    """Return what README says of one script: of its chosen row, or of all if none is chosen."""
    command = f"`python benchmarks/{name}.py`"
    if record is None:
        return f"{command} not yet measured"
    rows = [row for row in record["rows"] if row.get("headline")] or record["rows"]
    slower = [row["case"] for row in rows if row["ratio"] < 1.0]
    if len(rows) == 1:
        ours, peer, ratio = _times(rows[0])
        case = f" ({rows[0]['case']}): {ours} against {peer}, **{ratio} times**"
        note = ", ours is slower" if slower else ""
    else:
        ends = [_number(end([row["ratio"] for row in rows])) for end in (min, max)]
        case = f": **{' to '.join(dict.fromkeys(ends))} times**"
        note = f", ours is slower at: {', '.join(slower)}" if slower else ""
    return f"{record['question']}{case}{note} ({command})"


def files(root: Path) -> dict[Path, str]:
    """Return what both files must hold, by path."""
    readme = root / "README.md"
    records = read(root / "benchmarks")
    whole = replaced(readme.read_text(encoding="utf-8"), BEGIN, END, section(records))
    return {root / "benchmarks" / "README.md": page(records), readme: whole}


def stale(root: Path) -> list[str]:
    """Return the paths of the files that are not what the records say."""
    return [
        path.relative_to(root).as_posix()
        for path, text in files(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _said(name: str) -> tuple[str, str]:
    """Return the first line and the rest of a script's docstring, without running it."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    return title, text.strip()


def _measured(record: dict[str, Any]) -> list[str]:
    """Return the parts of a page that show one record."""
    rows = [
        [
            *(row["case"], *_times(row), row["rounds"]),
            " / ".join(map(str, row["threads"])),
        ]
        for row in record["rows"]
    ]
    parts = [f"{record['question']}; threads: {record['threads']}."]
    head = ("", "ours", "peer", "peer / ours", "rounds", "threads, ours / peer")
    parts += [_table(rows, head)]
    if record["growth"]:
        rows = [
            [
                row["over"],
                ", ".join(f"{n:,}" for n in row["sizes"]),
                ", ".join(map(_time, row["seconds"])),
                f"{row['exponent']:.2f}",
                f"{row['expected']:g}",
            ]
            for row in record["growth"]
        ]
        head = ("grows with", "sizes", "ours", "measured power", "expected")
        parts.append(_table(rows, head))
    numbers = record["numbers"]
    if numbers:
        parts.append("\n".join(f"- {name}: {_number(value)}" for name, value in numbers.items()))
    machine = record["machine"]
    used = [f"{name} {version}" for name, version in record["versions"].items()]
    about = ", ".join([f"{machine['cores']} cores", f"Python {machine['python']}", *used])
    return [*parts, f"{machine['cpu']}, {about}.", *_load(record)]


def _load(record: dict[str, Any]) -> list[str]:
    """Return the warning where others worked beside the measurement, by the load averages."""
    before, after = record["load"]
    cores = record["machine"]["cores"]
    own = max(cores, record.get("processes", 1))
    if before <= cores + BUSY and after <= own + BUSY:
        return []
    return [
        f"**The machine was busy**: load average {before:.1f} before and {after:.1f} after, where "
        f"ours makes at most {cores + BUSY:g} and {own + BUSY:g}. The times are rough."
    ]


def _table(rows: list[list[Any]], head: tuple[str, ...]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def _times(row: Mapping[str, Any]) -> list[str]:
    return [_time(row["ours_s"]), _time(row["peer_s"]), _number(row["ratio"])]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def _time(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def run(names: Sequence[str]) -> list[str]:
    """Run scripts one after the other, whatever becomes of those before; return what failed."""
    failed = []
    for index, name in enumerate(names, 1):
        if name in NEEDED and find_spec(NEEDED[name]) is None:
            print(f"== {name} is skipped: {NEEDED[name]} is not installed", flush=True)
            continue
        before = (read(FOLDER)[name] or {}).get("seconds")
        took = "" if before is None else f", took {before:.0f} s last time"
        print(f"== script {index} of {len(names)}, {name}{took}", flush=True)
        # A session of its own: Ctrl-C reaches this process alone, which then ends all of theirs.
        script = subprocess.Popen(
            [sys.executable, str(FOLDER / f"{name}.py")], start_new_session=True
        )
        try:
            if script.wait() != 0:
                failed.append(name)
        except KeyboardInterrupt:
            os.killpg(script.pid, signal.SIGKILL)
            script.wait()
            raise
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=SCRIPTS,
        metavar="NAME",
        help="run these first, or all",
    )
    chosen = parser.parse_args().measure
    failed: list[str] = []
    status = 0
    if chosen is not None:
        refuse_other_systems()
        try:
            failed = run(chosen or SCRIPTS)
        except KeyboardInterrupt:
            print("interrupted: what was measured before is on the pages", file=sys.stderr)
            status = 130
    for path, text in files(FOLDER.parent).items():
        write_atomic(path, text)
    if failed:
        print(f"error: failed: {', '.join(failed)}; their old records stay", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
