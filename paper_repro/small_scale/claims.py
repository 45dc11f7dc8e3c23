"""What the ledger says of the experiment: the twins of Tables 1, 3 and 4, and the trained heads.

Each statement is judged by a rule of ``rules``, stated before the run; what was not read yet is
said to be so and judged by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
from paper_repro.small_scale.plan import STEPS
from paper_repro.small_scale.rules import NO, OPEN, YES, Finding, Reach, better, table4, together
from paper_repro.small_scale.twins import NAMES, WINDOWS_FACTOR, Evidence
from pianalysis.bounds.interpolation import FORMS

FACTOR = 4  # where the paper's contrast of Table 4 is judged; other factors are told beside it
_TEXTS = ("play", "source")
_LATER = "Its readings belong to tier full of the fine-tune and are still to be taken."
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
    judged = partial(_against_the_original, seen)
    findings = {
        f"without fine-tuning {target} tokens at once are better than {window}": (
            NO,
            judged("default", 0, target),
        ),
        f"FT at {target} is better than the original at {window}": (
            NO,
            judged("default", STEPS, target),
        ),
        f"PI at {target} is better than the original at {window}": (
            YES,
            judged("linear", STEPS, target),
        ),
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
            _against_the_original(seen, "linear", step, target),
        )
        for step in sorted({0, STEPS, *read})
    }
    return _claim(
        findings,
        key="table3-twin",
        location="Table 3",
        statement="At the extended window Position Interpolation is worse than the original "
        "without fine-tuning, and better after 200 steps",
        paper=f"7B to 8192: {before}, then {after} after 200 steps; original {original} at 2048",
    )


def _table4(seen: Evidence) -> Claim:
    reached = [
        tables.need("table4", column, size="7B", context_window="8192", method=method)
        for method, column in (("PI", "200"), ("FT", "200"), ("FT", "10000"))
    ]
    target = FACTOR * seen.window
    judged = table4(seen.passkeys(FACTOR), seen.window, target)
    found = judged[f"PI reaches {target}"]
    return _claim(
        {name: (a, f) for a, (name, f) in zip(_TABLE4, judged.items(), strict=True)},
        key="table4-twin",
        location="Table 4",
        statement="Position Interpolation reads passkeys up to the extended window; direct "
        "fine-tuning stays near the old one",
        paper=f"7B to 8192: PI {reached[0]:.0f} after 200 steps; FT {reached[1]:.0f}, and "
        f"{reached[2]:.0f} after 10000",
        beside=_other_factors(seen),
        why=_edge(seen) if found is not None and found.verdict != YES else "",
    )


def _edge(seen: Evidence) -> str:
    """Return how the original reads the distances that Position Interpolation puts its last on."""
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


def _other_factors(seen: Evidence) -> str:
    """Return k_max at the last reading of every case of another factor, in words."""
    told = []
    for scheme, factor, seed in seen.places("reach", "scheme", "factor", "seed"):
        if factor != FACTOR:
            at: dict[str, Any] = {"scheme": scheme, "factor": factor, "seed": seed}
            row = seen.rows("reach", **at)[-1]
            found = Reach(*(int(row[name]) for name in ("k_max", "low", "high")))
            told.append(f"{NAMES[scheme]} x{factor:.0f} step {row['step']:.0f} k_max {found}")
    return "; ".join(told)


def _against_the_original(seen: Evidence, scheme: str, step: int, tokens: float) -> Finding | None:
    """Judge a window of a case against the original at L, each text by its own blocks."""
    parts = {}
    for text in _TEXTS:
        after = seen.scored(text, tokens, scheme, step)
        before = seen.scored(text, seen.window, "default", 0)
        if after and before:
            parts[text] = better(after, before)
    return together(parts) if parts else None


def _claim(
    findings: Mapping[str, tuple[str, Finding | None]], *, beside: str = "", **said: str
) -> Claim:
    """Judge by how many findings are what the paper leads to expect.

    All of them, all read: reproduced at small scale; none: not reproduced; in part otherwise. A
    finding that is None was not read yet.
    """
    known = [(asked, found) for asked, found in findings.values() if found is not None]
    if not known:
        return not_attempted(item="finetune", **{"why": _LATER, **said})
    agreeing = sum(found.verdict == asked for asked, found in known)
    verdict = {0: NOT_REPRODUCED, len(findings): SMALL_SCALE}.get(agreeing, PARTLY)
    if not agreeing and any(found.verdict == OPEN for _, found in known):
        verdict = PARTLY
    parts = [_told(name, found) for name, (_, found) in findings.items()]
    return Claim(
        verdict=verdict,
        ours="SmolLM2-135M: " + "; ".join([*parts, *[beside] * bool(beside)]),
        certificate="measured",
        item="finetune",
        test="paper_repro/test_twins.py",
        **said,
    )


def _told(name: str, found: Finding | None) -> str:
    return (
        f"{name}: not read yet" if found is None else f"{name}: {found.verdict} ({found.numbers})"
    )


def _heads(seen: Evidence) -> Claim:
    """Judge the printed bound on the heads of every case that was measured, first and last step."""
    told, ratios = [], []
    last: dict[str, float] = {}
    for scheme, factor in seen.places("heads", "scheme", "factor"):
        at: dict[str, Any] = {"scheme": scheme, "factor": factor, "seed": 0}
        steps = sorted(int(step) for (step,) in seen.places("heads", "step", **at))
        found = []
        for step in (steps[0], steps[-1]):
            rows = seen.rows("heads", **at, step=step)
            last = {row["quantity"]: row["value"] for row in rows}
            found.append(last["found_ratio"])
        ratios += found
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
        certificate="measured",
        item="finetune",
        test="paper_repro/test_twins.py",
        **said,
    )


def _violations(value: Mapping[str, float]) -> str:
    forms = ", ".join(f"{form} {value[f'{form}_violations']:.0f}" for form in FORMS)
    return f"violations among {value['checked']:.0f} sampled: {forms}"
