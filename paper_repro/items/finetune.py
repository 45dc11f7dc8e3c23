"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paper_repro import committed
from paper_repro.ledger import Claim, number, verdict
from paper_repro.small_scale import pictures, twins
from pianalysis.bounds.interpolation import FORMS
from pianalysis.records import Record

TIERS = ("quick", "cpu", "gpu")
DEFAULT_TIER = "cpu"  # of a run that names the item; `make repro` takes the first
WORK = Path("build") / "finetune"  # unfinished runs; never committed
_EVIDENCE = ("passkeys", "likelihood", "windows", "long")


def compute(seed: int = 0, tier: str = "quick") -> Mapping[str, Record]:
    """Train and read every case of a tier; what is finished is kept in build/finetune."""
    from paper_repro.small_scale.experiment import run_tier

    made = run_tier(tier, WORK / tier, seed)
    if tier != "quick":  # it trains one scheme: nothing to set beside the paper
        seen = twins.evidence({k: (made[k].columns(), made[k].summary()) for k in _EVIDENCE})
        made |= {name: table(seen) for name, table in twins.TABLES.items()}
    return {f"finetune_{tier}_{kind}": record for kind, record in made.items()}


def replayed() -> list[str]:
    """Do the first steps of the committed run of hours again; return a line a difference."""
    from paper_repro.small_scale.replay import replay

    return replay("cpu")


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw readings by case, and the tables as text; the first tier, a smoke test, has none."""
    return {
        stem: pictures.PICTURES[stem.rpartition("_")[2]](record)
        for stem, record in records.items()
        if not stem.startswith(f"finetune_{TIERS[0]}_")
    }


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge the twins of Tables 1, 3 and 4 and the bounds on fine-tuned heads, tier cpu.

    The quick tier trains too little to judge anything: then the committed records are read.
    """

    def read(kind: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        stem = f"finetune_cpu_{kind}"
        if stem in records:
            return records[stem].columns(), records[stem].summary()
        return committed.columns(stem), committed.summary(stem)

    seen = twins.evidence({kind: read(kind) for kind in (*_EVIDENCE, "heads")})
    return [*twins.claims(seen), _heads_claim(seen)]


def _heads_claim(seen: twins.Evidence) -> Claim:
    case = seen.case("linear")

    def value(quantity: str, step: int) -> float:
        return seen.value("heads", "value", case, step, quantity=quantity)

    ratios = [value("found_ratio", step) for step in (0, seen.last)]
    forms = "; ".join(
        f"{form} {value(f'{form}_violations', seen.last):.0f} "
        f"(largest ratio {number(value(f'{form}_ratio', seen.last), 4)})"
        for form in FORMS
    )
    return Claim(
        key="heads-finetuned",
        location="Eq. 5",
        statement="The printed bound holds for heads fine-tuned with Position Interpolation",
        verdict=verdict(max(ratios) <= 1.0),
        paper="|a - a_linear| <= d max|h| (s - s1)(s2 - s) / (8 ln c)",
        ours=f"SmolLM2-135M x2: largest deviation / printed bound found among all causal pairs "
        f"{number(ratios[0], 4)} before and {number(ratios[1], 4)} after {seen.last} steps; "
        f"violations among {value('checked', seen.last):.0f} sampled (pair, span) after: {forms}",
        certificate="measured",
        item="finetune",
        test="paper_repro/test_twins.py",
    )
