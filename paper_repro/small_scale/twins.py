"""Small-scale twins of Tables 1, 3 and 4: the paper's cells beside ours, and what they agree on.

Ours are those of the fine-tuning experiment: another model, another corpus, far fewer tokens. What
can be compared is the order of the methods and where each one ends, not the level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paper_repro import tables
from paper_repro.ledger import NOT_REPRODUCED, PARTLY, SMALL_SCALE, Claim
from pianalysis.records import Record

NAMES = {"linear": "PI", "default": "FT", "yarn": "YaRN", "ntk": "NTK-aware"}
_PAPER, _HERE = "paper, LLaMA 7B", "here, SmolLM2-135M"
TITLE = "the paper (LLaMA 7B) and here (SmolLM2-135M)"


@dataclass(frozen=True, slots=True)
class Twin(Record):
    """One table in long form: a row a cell; ``column`` as the table heads it.

    ``context_window`` is the window extended to; ``value`` is the cell as printed.
    """

    table: str
    measure: str
    source: tuple[str, ...]
    context_window: tuple[str, ...]
    method: tuple[str, ...]
    column: tuple[str, ...]
    value: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement of a table and whether our twin agrees, with the numbers."""

    statement: str
    agrees: bool
    numbers: str


class Evidence:
    """The experiment's rows: one reading's column for a case, a step and so on."""

    def __init__(
        self, readings: Mapping[str, Mapping[str, Any]], setting: Mapping[str, Any], window: int
    ) -> None:
        from paper_repro.small_scale.experiment import Case

        self.readings, self.window, self.target = readings, window, 2 * window
        self.cases = [{**case, "label": Case(**case).label} for case in setting["cases"]]
        self.last = self.steps("passkeys", self.case("linear"))[-1]
        self.tokens = self.last * setting["batch_tokens"]

    def case(self, scheme: str, *, seed: int = 0, recall: bool = True, factor: int = 2) -> str:
        """Return the label of a case; ValueError where the tier has none such."""
        for case in self.cases:
            same = (case["scheme"], case["seed"], case["factor"]) == (scheme, seed, factor)
            if same and bool(case["recall_share"]) == recall:
                return str(case["label"])
        raise ValueError(f"scheme must be one that the tier trained, got {scheme!r} seed {seed}")

    def seeds(self, scheme: str) -> list[int]:
        """Return the seeds of a scheme's main cases."""
        chosen = [c for c in self.cases if c["scheme"] == scheme and c["recall_share"]]
        return sorted({case["seed"] for case in chosen if case["factor"] == 2})

    def steps(self, kind: str, case: str) -> list[int]:
        """Return the steps at which a reading was taken."""
        return [int(step) for step in self.distinct(kind, "step", case)]

    def distinct(self, kind: str, column: str, case: str) -> list[float]:
        """Return the values of a column for a case, each once, ascending."""
        rows = np.array(self.readings[kind]["case"]) == case
        return sorted(set(np.asarray(self.readings[kind][column])[rows].tolist()))

    def value(self, kind: str, column: str, case: str, step: float, **where: Any) -> float:
        """Return the one value of a column, the same in every row that is chosen."""
        table = self.readings[kind]
        wanted = {"case": case, "step": step, **where}
        keep = np.all([np.array(table[name]) == wanted[name] for name in wanted], axis=0)
        values = set(np.asarray(table[column])[keep].tolist())
        if len(values) != 1:
            raise ValueError(f"{column} must have one value at {case}, step {step}, got {values}")
        return float(values.pop())


def evidence(records: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Evidence:
    """Return the evidence from kind -> (columns, summary) of the tier's records."""
    about = records["passkeys"][1]
    readings = {kind: columns for kind, (columns, _) in records.items()}
    return Evidence(readings, about["setting"], about["window"])


def table1(seen: Evidence) -> Twin:
    """Return perplexity by evaluation window after the last step (Table 1)."""
    rows = [
        (_PAPER, row["context_window"], row["method"], column, row[column])
        for row in tables.rows("table1")
        if row["size"] == "7B" and (row["method"] == "None" or row["context_window"] == "8192")
        for column in ("2048", "4096", "8192")
        if row[column]
    ]
    for method, case, step in _models(seen):
        window = str(seen.window if method == "None" else seen.target)
        for kind in ("windows", "long"):
            for tokens in seen.distinct(kind, "tokens", case):
                value = seen.value(kind, "perplexity", case, step, tokens=tokens)
                rows.append((_HERE, window, method, f"{tokens:.0f}", f"{value:.2f}"))
    return _twin("table1", "perplexity, evaluation window (tokens)", rows)


def table3(seen: Evidence) -> Twin:
    """Return perplexity at the extended window against fine-tuning steps (Table 3)."""
    rows = [
        (_PAPER, row["context_window"], "PI", column, row[column])
        for row in tables.rows("table3")
        for column in ("0", "200", "400", "600", "800", "1000")
    ]
    for scheme in ("linear", "default", "yarn", "ntk"):
        case = seen.case(scheme)
        for step in seen.steps("likelihood", case):
            value = _at_target(seen, case, step)
            rows.append((_HERE, str(seen.target), NAMES[scheme], str(step), f"{value:.2f}"))
    return _twin("table3", "perplexity at the extended window, fine-tuning steps", rows)


def table4(seen: Evidence) -> Twin:
    """Return k_max against fine-tuning steps (Table 4)."""
    rows = [
        (_PAPER, row["context_window"], row["method"], column, row[column])
        for row in tables.rows("table4")
        if row["size"] == "7B" and row["context_window"] in ("8192", "16384")
        for column in ("200", "400", "600", "800", "1000", "10000")
        if row[column]
    ]
    for case in seen.cases:
        if case["factor"] * seen.window != seen.target:
            continue
        label = str(case["label"])
        text = "" if case["recall_share"] else ", text only"
        method = f"{NAMES[case['scheme']]}{text}, seed {case['seed']}"
        for step in seen.steps("passkeys", label):
            value = seen.value("passkeys", "k_max", label, step)
            rows.append((_HERE, str(seen.target), method, str(step), f"{value:.0f}"))
    return _twin("table4", "k_max (tokens), fine-tuning steps", rows)


TABLES: dict[str, Callable[[Evidence], Twin]] = {
    "table1": table1,
    "table3": table3,
    "table4": table4,
}


def text(table: Twin) -> list[str]:
    """Return the table in the paper's layout, ours below: a line a model."""
    from tabulate import tabulate

    lines = [table.measure, ""]
    for source in dict.fromkeys(table.source):
        part = table.where(source=source)
        heads = sorted(set(part.column), key=int)
        models = list(zip(part.context_window, part.method, strict=True))
        cells = dict(zip(zip(models, part.column, strict=True), part.value, strict=True))
        body = [
            [*map(_whole, model), *(_whole(cells.get((model, head), "")) for head in heads)]
            for model in dict.fromkeys(models)
        ]
        headers = ["window", "method", *map(_whole, heads)]
        shown = tabulate(body, headers, disable_numparse=True, stralign="right")
        lines += [source, *shown.splitlines(), ""]
    return lines[:-1]


def _whole(cell: Any) -> str:
    """Return a cell as printed; whole numbers, read back from a file as floats, without a point."""
    number = isinstance(cell, (int, float))
    return f"{cell:.0f}" if number and float(cell).is_integer() else str(cell)


def claims(seen: Evidence) -> list[Claim]:
    """Judge the three tables by the statements that the paper draws from them."""
    short, long = {"size": "7B", "context_window": "2048"}, {"size": "7B", "context_window": "8192"}
    inside, beyond = (
        {method: tables.need("table1", column, **long, method=method) for method in ("FT", "PI")}
        for column in ("2048", "8192")
    )
    steps = [tables.need("table3", column, **long) for column in ("0", "200")]
    original = tables.need("table1", "2048", **short, method="None")
    reach = [
        tables.need("table4", column, **long, method=method)
        for method, column in (("PI", "200"), ("FT", "200"), ("FT", "10000"))
    ]
    return [
        _claim(
            seen,
            _findings1(seen),
            key="table1-twin",
            location="Table 1",
            statement="The model fails beyond its window, direct fine-tuning gains nothing from a "
            "longer one, Position Interpolation does",
            paper=f"7B to 8192, at 2048 and 8192: FT {inside['FT']} and {beyond['FT']}, PI "
            f"{inside['PI']} and {beyond['PI']}; without fine-tuning > 10^3 beyond 2048",
            why="Likely: a play offers little beyond a few thousand tokens, so that no model gains "
            "from a longer window; what shows is who loses.",
        ),
        _claim(
            seen,
            _findings3(seen),
            key="table3-twin",
            location="Table 3",
            statement="At the extended window Position Interpolation is worse than the original "
            "without fine-tuning, and better after 200 steps",
            paper=f"7B to 8192: {steps[0]}, then {steps[1]} after 200 steps; original {original} "
            "at 2048",
            why="Likely: so few tokens do not make up for the resolution that the scheme costs, "
            "and the original knows so famous a play.",
        ),
        _claim(
            seen,
            _findings4(seen),
            key="table4-twin",
            location="Table 4",
            statement="After 200 steps Position Interpolation reads passkeys up to the extended "
            "window; direct fine-tuning stays near the old one",
            paper=f"7B to 8192: PI {reach[0]:.0f} after 200 steps; FT {reach[1]:.0f}, and "
            f"{reach[2]:.0f} after 10000",
            why="Likely: random gaps show every distance from the first step on, which whole texts "
            "do not; distances near the target are the rarest of them.",
        ),
    ]


def _findings1(seen: Evidence) -> list[Finding]:
    findings = []
    for name, scheme, step, rises in (
        ("without fine-tuning it rises", "default", 0, True),
        ("FT rises", "default", seen.last, True),
        ("PI falls", "linear", seen.last, False),
    ):
        inside, beyond = (
            seen.value("long", "perplexity", seen.case(scheme), step, tokens=tokens)
            for tokens in (seen.window, seen.target)
        )
        numbers = f"{inside:.2f} to {beyond:.2f}"
        findings.append(Finding(name, (beyond > inside) == rises, numbers))
    return findings


def _findings3(seen: Evidence) -> list[Finding]:
    case = seen.case("linear")
    original = math.exp(seen.value("likelihood", "nats", seen.case("default"), 0, gap=0))
    start, end = _at_target(seen, case, 0), _at_target(seen, case, seen.last)
    against = f"against {original:.2f} of the original inside its window"
    return [
        Finding("PI without fine-tuning is worse", start > original, f"{start:.2f} {against}"),
        Finding(f"after {seen.last} steps it is better", end < original, f"{end:.2f} {against}"),
    ]


def _findings4(seen: Evidence) -> list[Finding]:
    pi, ft = (
        [
            int(seen.value("passkeys", "k_max", seen.case(scheme, seed=seed), seen.last))
            for seed in seen.seeds(scheme)
        ]
        for scheme in ("linear", "default")
    )
    numbers = [" and ".join(map(str, reached)) for reached in (pi, ft)]
    return [
        Finding(f"PI reaches {seen.target} with every seed", min(pi) == seen.target, numbers[0]),
        Finding("FT stays below it with every seed", max(ft) < seen.target, numbers[1]),
        # 2560 of 2048 is where the paper's direct fine-tuning ends.
        Finding("FT ends within 5/4 of the old window", 4 * max(ft) <= 5 * seen.window, numbers[1]),
    ]


def _claim(seen: Evidence, findings: Sequence[Finding], **said: str) -> Claim:
    """Judge by how many findings agree; ``said`` is what the claim says beside that."""
    agreeing = sum(finding.agrees for finding in findings)
    verdict = {0: NOT_REPRODUCED, len(findings): SMALL_SCALE}.get(agreeing, PARTLY)
    parts = [f"{f.statement}: {'yes' if f.agrees else 'no'} ({f.numbers})" for f in findings]
    return Claim(
        verdict=verdict,
        ours=f"SmolLM2-135M, {seen.window} to {seen.target}, {seen.last} steps of position gaps, "
        f"{seen.tokens} tokens: " + "; ".join(parts),
        certificate="measured",
        item="finetune",
        test="paper_repro/test_twins.py",
        **said,
    )


def _models(seen: Evidence) -> list[tuple[str, str, int]]:
    """Return (method, case, step) of the models in Table 1's order."""
    models = [("None", seen.case("default"), 0)]
    return models + [(NAMES[s], seen.case(s), seen.last) for s in ("default", "linear")]


def _at_target(seen: Evidence, case: str, step: int) -> float:
    return math.exp(seen.value("likelihood", "nats", case, step, reach=seen.target))


def _twin(name: str, measure: str, rows: Sequence[tuple[str, ...]]) -> Twin:
    source, window, method, column, value = zip(*rows, strict=True)
    return Twin(
        table=name,
        measure=measure,
        source=source,
        context_window=window,
        method=method,
        column=column,
        value=value,
    )
