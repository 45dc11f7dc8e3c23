"""What the ledger says of the experiment: the twins of Tables 1, 3 and 4, and the trained heads.

Each statement is judged by a rule of ``rules``; what was not read yet is said to be so and judged
by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper_repro import tables
from paper_repro.ledger import (
    HOLDS,
    NOT_REPRODUCED,
    PARTLY,
    REFUTED,
    SMALL_SCALE,
    Claim,
    not_attempted,
    number,
)
from paper_repro.small_scale.plan import BOTH, STEPS, TEXTS
from paper_repro.small_scale.rules import NO, YES, Finding, Reach, alike, better, table4, together
from paper_repro.small_scale.twins import NAMES, WINDOWS_FACTOR, Evidence
from pianalysis.bounds.interpolation import FORMS

FACTOR = 4  # where the paper's contrast of Table 4 is judged; other factors are told beside it
_LATER = "Its readings belong to tier full of the fine-tune and are still to be taken."
_MEASURED = {
    "certificate": "measured",
    "item": "finetune",
    "test": "paper_repro/test_twins.py",
}
_TABLE4 = (YES, NO, YES, YES, NO)  # to the statements of rules.table4: what the paper finds


def claims(seen: Evidence) -> list[Claim]:
    """Judge all that was read."""
    return [_table1(seen), _table3(seen), _table4(seen), _heads(seen)]


def _table1(seen: Evidence) -> Claim:
    long, short = {"size": "7B", "context_window": "8192"}, {"size": "7B", "context_window": "2048"}
    inside, beyond = (
        {method: tables.need("table1", column, **long, method=method) for method in ("FT", "PI")}
        for column in ("2048", "8192")
    )
    original = tables.need("table1", "2048", **short, method="None")
    target, window = WINDOWS_FACTOR * seen.window, seen.window
    findings = {
        f"{name} is better at {target} tokens at once than at {window}": (
            asked,
            _compared(seen, (target, *model), (window, *model)),
        )
        for name, asked, model in (
            ("the model without fine-tuning", NO, ("default", 0)),
            ("FT", NO, ("default", STEPS)),
            ("PI", YES, ("linear", STEPS)),
        )
    }
    return _claim(
        findings,
        key="table1-twin",
        location="Table 1",
        statement="The model fails beyond its window, direct fine-tuning gains nothing from a "
        "longer one, Position Interpolation does",
        paper=f"7B to 8192, at 2048 and 8192: FT {inside['FT']} and {beyond['FT']}, PI "
        f"{inside['PI']} and {beyond['PI']}; without fine-tuning {original} and > 10^3",
    )


def _table3(seen: Evidence) -> Claim:
    long = {"size": "7B", "context_window": "8192"}
    before, after = (tables.need("table3", column, **long) for column in ("0", "200"))
    original = tables.need("table1", "2048", size="7B", context_window="2048", method="None")
    target = WINDOWS_FACTOR * seen.window
    at: dict[str, Any] = {"scheme": "linear", "factor": WINDOWS_FACTOR, "tokens": target}
    read = {int(step) for (step,) in seen.places("windows", "step", **at)}
    findings = {
        f"PI at {target} after {step} steps is better than the original at {seen.window}": (
            YES if step else NO,
            _compared(seen, (target, "linear", step), (seen.window, "default", 0)),
        )
        for step in sorted({0, STEPS, *read})
    }
    return _claim(
        findings,
        key="table3-twin",
        location="Table 3",
        statement="At the extended window Position Interpolation is worse than the original "
        "without fine-tuning, and better after few steps",
        paper=f"7B to 8192: {before}, then {after} after 200 steps; original {original} at 2048",
        why=_trained(seen, target),
    )


def _trained(seen: Evidence, target: int) -> str:
    """Return what the training costs without a scheme, and Position Interpolation beside that.

    Nothing unless the original at its window is better than the trained model at the target.
    """
    window, end = seen.window, (target, "linear", STEPS)
    behind = _compared(seen, end, (window, "default", 0))
    alone = _compared(seen, (window, "default", STEPS), (window, "default", 0))
    beside = _compared(seen, end, (window, "default", STEPS))
    if not (behind and alone and beside) or behind.verdict != NO:
        return ""
    return (
        f"This training costs without a scheme, too: FT at {window} against the original there, "
        f"{_words(alone)}. Position Interpolation at {target} against FT at {window}, trained on "
        f"the same tokens, {_words(beside)}."
    )


def _words(found: Finding) -> str:
    return f"better: {found.verdict} ({found.numbers})"


def _table4(seen: Evidence) -> Claim:
    reached = [
        tables.need("table4", column, size="7B", context_window="8192", method=method)
        for method, column in (("PI", "200"), ("FT", "200"), ("FT", "10000"))
    ]
    target = FACTOR * seen.window
    judged = table4(seen.passkeys(FACTOR), seen.window, target)
    return _claim(
        {name: (a, f) for a, (name, f) in zip(_TABLE4, judged.items(), strict=True)},
        key="table4-twin",
        location="Table 4",
        statement="Position Interpolation reads passkeys up to the extended window; direct "
        "fine-tuning stays near the old one",
        paper=f"7B to 8192: PI {reached[0]:.0f} after 200 steps; FT {reached[1]:.0f}, and "
        f"{reached[2]:.0f} after 10000",
        beside="; ".join([*_beside(seen), *_without_gaps(seen)]),
        why=_edge(seen, target),
    )


def _edge(seen: Evidence, target: int) -> str:
    """Return how the original reads the distances that Position Interpolation puts its last on.

    Nothing where keys are recalled at the last one after the last step.
    """
    ends = seen.rows("passkeys", factor=FACTOR, scheme="linear", k=target)
    last = max((row["step"] for row in ends), default=0)
    if all(row["recalled"] for row in ends if row["step"] == last):
        return ""
    at: dict[str, Any] = {"factor": FACTOR, "scheme": "default", "seed": 0, "step": 0}
    told = [
        f"{row['recalled']:.0f} of {row['trials']:.0f} keys at {row['k']:.0f}"
        for row in seen.rows("passkeys", **at)
        if 0.5 * seen.window < row["k"] <= seen.window
    ]
    if not told:
        return ""
    return (
        "Position Interpolation reads a distance k where the original reads "
        f"k / {FACTOR}, and the original itself recalls {', '.join(told)}."
    )


def _beside(seen: Evidence) -> list[str]:
    """Return k_max of all schemes that the verdict leaves out, in words: another factor, scheme.

    Those of one step stand together, with PI and FT at the same: the last of PI and FT at another
    factor, at this one the last of each other scheme.
    """
    told = []
    for (factor,) in seen.places("reach", "factor"):
        read = {
            scheme: {step for (step,) in seen.places("reach", "step", factor=factor, scheme=scheme)}
            for (scheme,) in seen.places("reach", "scheme", factor=factor)
        }
        shared = set.intersection(*(read.get(scheme, set()) for scheme in BOTH))
        ends = {max(steps) for scheme, steps in read.items() if scheme not in BOTH}
        ends |= {max(shared)} if shared and factor != FACTOR else set()
        for step in sorted(ends & shared):
            row: dict[str, Any]
            parts = []
            for row in seen.rows("reach", factor=factor, step=step):
                found = Reach(*(int(row[name]) for name in ("k_max", "low", "high")))
                parts.append(f"{NAMES[row['scheme']]} seed {row['seed']:.0f} {found}")
            told.append(f"k_max x{factor:.0f} at step {step:.0f}: {', '.join(parts)}")
    return told


def _without_gaps(seen: Evidence) -> list[str]:
    """Return where whole prompts answer as gaps do, in words, a line a factor and step."""
    told = []
    for factor, step in seen.places("whole", "factor", "step"):
        at: dict[str, Any] = {"factor": factor, "step": step}
        parts = []
        for (scheme,) in seen.places("whole", "scheme", **at):
            both = (seen.rows("whole", **at, scheme=scheme, how=how) for how in ("whole", "gap"))
            found = alike(*both)
            parts.append(f"{NAMES[scheme]} {found.verdict} ({found.numbers})")
        told.append(
            f"as many keys recalled in whole prompts as across gaps, x{factor:.0f} at step "
            f"{step:.0f}: {', '.join(parts)}"
        )
    return told


def _compared(
    seen: Evidence, after: tuple[int, str, int], before: tuple[int, str, int]
) -> Finding | None:
    """Judge tokens at once, scheme and step against another, each text by its own blocks."""
    parts = {}
    for text in TEXTS:
        rows = [seen.scored(text, *at) for at in (after, before)]
        if all(rows):
            parts[text] = better(*rows)
    return together(parts) if parts else None


def _claim(
    findings: Mapping[str, tuple[str, Finding | None]], *, beside: str = "", **said: str
) -> Claim:
    """Judge by how many findings are what the paper leads to expect.

    All of them, all read: reproduced at small scale; none, and each decided: not reproduced; in
    part otherwise. A finding that is None was not read yet; where nothing agrees so far, what is
    missing decides, and nothing is judged.
    """
    known = [(asked, found) for asked, found in findings.values() if found is not None]
    agreeing = sum(found.verdict == asked for asked, found in known)
    if not agreeing and len(known) < len(findings):
        return not_attempted(item="finetune", **{**said, "why": said.get("why") or _LATER})
    decided = all(found.verdict in (YES, NO) for _, found in known)
    verdict = {0: NOT_REPRODUCED if decided else PARTLY, len(findings): SMALL_SCALE}
    parts = [_told(name, found) for name, (_, found) in findings.items()]
    return Claim(
        verdict=verdict.get(agreeing, PARTLY),
        ours="SmolLM2-135M: " + "; ".join([*parts, *[beside] * bool(beside)]),
        **_MEASURED,
        **said,
    )


def _told(name: str, found: Finding | None) -> str:
    return (
        f"{name}: not read yet" if found is None else f"{name}: {found.verdict} ({found.numbers})"
    )


def _heads(seen: Evidence) -> Claim:
    """Judge the printed bound on the heads of every case that was measured after its last step."""
    told, ratios = [], []
    last: dict[str, float] = {}
    for scheme, factor in seen.places("heads", "scheme", "factor"):
        at: dict[str, Any] = {"scheme": scheme, "factor": factor, "seed": 0}
        steps = sorted(int(step) for (step,) in seen.places("heads", "step", **at))
        if not steps[-1]:
            continue
        found = []
        for step in (steps[0], steps[-1]):
            rows = seen.rows("heads", **at, step=step)
            last = {row["quantity"]: row["value"] for row in rows}
            found.append(last["found_ratio"])
        ratios.append(found[-1])
        told.append(
            f"{NAMES[scheme]} x{factor:.0f} {number(found[0], 4)} before and "
            f"{number(found[-1], 4)} after {steps[-1]} steps ({_violations(last)})"
        )
    said = {
        "key": "heads-finetuned",
        "location": "Eq. 5",
        "statement": "The printed bound holds for heads after fine-tuning",
        "paper": "|a - a_linear| <= d max|h| (s - s1)(s2 - s) / (8 ln c)",
    }
    if not told:
        return not_attempted(item="finetune", why=_LATER, **said)
    return Claim(
        verdict=HOLDS if max(ratios) <= 1.0 else REFUTED,
        ours="SmolLM2-135M, largest deviation / printed bound found among all causal pairs: "
        + "; ".join(told),
        **_MEASURED,
        **said,
    )


def _violations(value: Mapping[str, float]) -> str:
    forms = ", ".join(f"{form} {value[f'{form}_violations']:.0f}" for form in FORMS)
    return f"violations among {value['checked']:.0f} sampled: {forms}"
