"""benchmarks/README.md and README's section on speed, both made from the records beside this file.

``--measure`` first runs every script, each in a process of its own (`make bench`).
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from paper_repro.marked import replaced
from pianalysis.records import write_atomic

FOLDER = Path(__file__).resolve().parent
SCRIPTS = (
    *("abel_sum", "uniform_grid", "worst_case", "exact_fit", "layer_frequencies"),
    *("heads", "profiler", "perplexity", "finetune", "loading", "imports"),
)
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
        "Made by `python benchmarks/page.py` from the records beside it; `make bench` measures all "
        "anew (SmolLM2-135M and rope-profiler are installed for it). In each script the outputs "
        "are compared first, and a difference ends it; then both sides run in turn in one process. "
        "Times are medians over the rounds, the ratio is the median of peer / ours: above 1 ours "
        "is quicker. Growth is the power of the size that fits our times best, beside what theory "
        "expects; fixed costs make it less.",
    ]
    for name, record in records.items():
        title, text = _said(name)
        parts += [f"## {title.rstrip('.')}", f"`python benchmarks/{name}.py`"]
        parts += [text] if text else []
        parts += [UNMEASURED] if record is None else _measured(record)
    return "\n\n".join(parts) + "\n"


def section(records: Records) -> str:
    """Return README's list: the chosen rows, the ratios of other records, what is unmeasured."""
    lines, others, unmeasured = [], [], []
    for name, record in records.items():
        if record is None:
            unmeasured.append(f"`{name}.py`")
            continue
        chosen = [row for row in record["rows"] if row.get("headline")]
        if not chosen:
            ratios = [row["ratio"] for row in record["rows"]]
            ends = dict.fromkeys(f"{ratio:.3g}" for ratio in (min(ratios), max(ratios)))
            others.append(f"`python benchmarks/{name}.py` {' to '.join(ends)}")
        for row in chosen:
            ours, peer, ratio = _times(row)
            what = f"{record['question']}; {row['case']}"
            command = f"`python benchmarks/{name}.py`"
            lines.append(f"- {what}: {ours} against {peer}, **{ratio} times** ({command})")
    if others:
        lines.append(f"- times the peer's speed: {'; '.join(others)}")
    if unmeasured:
        lines.append(f"- not yet measured: {', '.join(unmeasured)}")
    return "\n".join(lines)


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
    rows = [[row["case"], *_times(row), row.get("rounds", "")] for row in record["rows"]]
    threads = record["threads"] or "not recorded"
    parts = [f"{record['question']}; threads: {threads}."]
    parts += [_table(rows, ("", "ours", "peer", "peer / ours", "rounds"))]
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
    used = [f"{name} {version}" for name, version in record.get("versions", {}).items()]
    about = ", ".join([f"{machine['cores']} cores", f"Python {machine['python']}", *used])
    parts.append(f"{machine['cpu']}, {about}.")
    return [*parts, record["remark"]] if "remark" in record else parts


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="run every script first")
    if parser.parse_args().measure:
        for name in SCRIPTS:
            print(f"== {name}", flush=True)
            subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], check=True)
    for path, text in files(FOLDER.parent).items():
        write_atomic(path, text)


if __name__ == "__main__":
    main()
