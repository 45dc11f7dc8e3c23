"""Run items: compute, draw, write atomically with provenance, gather the ledger."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from paper_repro import beside, committed, findings, kept, ledger, sources
from pianalysis import checks
from pianalysis.pictures import style
from pianalysis.records import Record, alone, clear_drafts, write_atomic

ITEMS = (
    "fig1",
    "fig2",
    "fig3",
    "fig4",
    "fig5",
    "theorem21",
    "ratio",
    "grid",
    "worst_case",
    "worst_case_curve",
    "basis",
    "schemes",
    "base_limits",
    "phase_error",
    "real_heads",
    "gaps",
    "scratch",
    "finetune",
    "tables",
)
# Neither the clock nor the program's own name: same record, same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


def load(name: str) -> ModuleType:
    """Import one item by name; an unknown one is a ValueError that lists the known."""
    return importlib.import_module(f"paper_repro.items.{checks.choice('item', name, ITEMS)}")


def title(name: str) -> str:
    """Return the first line of the item's docstring."""
    return (load(name).__doc__ or "").strip().splitlines()[0]


def provenance(name: str, seed: int, tier: str | None = None) -> dict[str, Any]:
    """Return what made a figure: command, seed, versions, digest of sources and inputs."""
    return {
        "command": f"python -m paper_repro run {name}"
        + (f" --tier {tier}" if tier else "")
        + (f" --seed {seed}" if seed else ""),
        "seed": seed,
        "versions": sources.versions(),
        "sources_sha256": sources.digest(load(name).__name__),
    }


def compute(name: str, seed: int = 0, tier: str | None = None) -> Mapping[str, Record]:
    """Compute one item: figure stem -> record; ``tier`` is for items that have several."""
    item = load(name)
    if tier is None:
        records: Mapping[str, Record] = item.compute(seed)
    else:
        tiers = getattr(item, "TIERS", ())
        if not tiers:
            raise ValueError(f"tier must go with an item that has tiers, got {tier!r} for {name}")
        records = item.compute(seed, checks.choice("tier", tier, tiers))
    return records


def save(
    name: str, records: Mapping[str, Record], folder: Path, seed: int, tier: str | None = None
) -> list[str]:
    """Write every stem: .csv and .json, and .pdf, .svg, .png of what is drawn; return the files."""
    figures = load(name).plot(records)
    source = provenance(name, seed, tier)
    written = []
    for stem, record in records.items():
        drawn = _METADATA if stem in figures else {}
        for kind, metadata in drawn.items():
            out = io.BytesIO()
            with style.applied():
                figures[stem].savefig(out, format=kind, metadata=metadata)
            write_atomic(folder / f"{stem}.{kind}", out.getvalue())
        record.save(folder / stem, source)
        written += [f"{stem}.{kind}" for kind in (*drawn, "csv", "json")]
    return written


def run(
    names: Sequence[str],
    folder: Path,
    seed: int = 0,
    readme: Path | None = None,
    tier: str | None = None,
    *,
    store: Path | None = None,
    fresh: bool = False,
) -> str:
    """Run items and bring the ledger (and README's findings) up to date; returns what to say.

    That is the table of verdicts, a line for each verdict that changed, and where to look. With a
    ``store`` an item that the same sources have made is copied from there, unless ``fresh``.
    """
    tiers = {
        name: tier or _default_tier(name, named=bool(names))
        for name in [checks.choice("item", name, ITEMS) for name in names] or ITEMS
    }
    folder.mkdir(parents=True, exist_ok=True)
    clear_drafts(folder)
    work = partial(_make, folder=folder, seed=seed, tiers=tiers, store=store, fresh=fresh)
    made = beside.run(work, list(tiers))
    if seed:
        return f"{folder}: figures of seed {seed}; the ledger is that of seed 0, and stays"
    claims = [claim for its, _ in made.values() for claim in its]
    with alone(folder, wait=True):  # the claims of a run beside this one are kept
        before = _recorded(folder)
        if set(made) != set(ITEMS):
            claims += [claim for claim in before if claim.item not in made]
        claims = ledger.order(claims)
        ledger.write(claims, folder)
    if readme is not None and set(made) == set(ITEMS):
        ledger.update_readme(claims, readme)
        findings.update_readme(readme, folder)
    changed = ledger.differences(before, claims) if before else []
    what = changed or [f"no verdict differs from what {folder} held"] * bool(before)
    copied = [name for name, (_, old) in made.items() if old]
    if copied:
        what.append(f"kept from a run of the same sources (--fresh: anew): {', '.join(copied)}")
    return "\n".join(
        [ledger.summary(claims), *what, f"claims: {folder}/claims.md, figures: {folder}/"]
    )


def _make(
    name: str,
    *,
    folder: Path,
    seed: int,
    tiers: Mapping[str, str | None],
    store: Path | None,
    fresh: bool,
) -> tuple[list[ledger.Claim], bool]:
    """Compute and write an item, or copy what the same sources made; its claims, and which."""
    tier = tiers[name]
    place = None if store is None else kept.place(store, name, provenance(name, seed, tier))
    if place is not None and not fresh:
        claims = kept.recall(place, folder)
        if claims is not None:
            return claims, True
    with _threads(name, tier):
        records = compute(name, seed, tier)
        files = save(name, records, folder, seed, tier)
        claims = load(name).claims(records)
    if place is not None:
        kept.keep(place, folder, files, claims)
    return claims, False


def _threads(name: str, tier: str | None) -> AbstractContextManager[None]:
    """Hold an item to one thread; a tier of hours takes every core, and says how many in figures.

    The first tier is that of `make repro`, which runs items beside each other.
    """
    long = tier is not None and tier != load(name).TIERS[0]
    return nullcontext() if long else beside.one_thread()


def _default_tier(name: str, *, named: bool) -> str | None:
    """Return the tier of an item that has several: the first unless the item was asked for."""
    item = load(name)
    if not hasattr(item, "TIERS"):
        return None
    default: str = item.DEFAULT_TIER if named else item.TIERS[0]
    return default


def _recorded(folder: Path) -> list[ledger.Claim]:
    return ledger.read(folder) if (folder / "claims.json").exists() else []


def check(folder: Path) -> list[str]:
    """Recompute every claim; return one line for each verdict that no longer matches.

    Of a run of hours the first steps are done again, and a line says what they no longer give.
    """
    recorded = ledger.read(folder)
    made = beside.run(_judge, ITEMS)
    computed = [claim for claims, _ in made.values() for claim in claims]
    lines = [line for _, replayed in made.values() for line in replayed]
    return ledger.differences(recorded, computed) + lines


def _judge(name: str) -> tuple[list[ledger.Claim], list[str]]:
    """Compute an item's claims, and what the first steps of its run of hours no longer give."""
    item = load(name)
    with beside.one_thread():
        claims = item.claims(compute(name))
    return claims, item.replayed() if hasattr(item, "replayed") else []


def older(folder: Path) -> list[str]:
    """Return one line for each item with records that sources made which have changed since."""
    stems: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem == "claims":
            continue  # the ledger itself
        source = committed.summary(path.stem, folder).get("provenance", {})
        name = (re.findall(r" run (\w+)", source.get("command", "")) or [""])[0]
        if name in ITEMS and source.get("sources_sha256") != sources.digest(load(name).__name__):
            stems.setdefault(name, []).append(path.stem)
    return [f"{name}: made by older sources: {', '.join(of)}" for name, of in stems.items()]
