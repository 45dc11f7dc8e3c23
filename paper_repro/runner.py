"""Run items: compute, draw, write atomically with provenance, gather the ledger."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from paper_repro import committed, ledger, sources
from pianalysis import checks
from pianalysis.pictures import style
from pianalysis.records import Record, alone, clear_drafts, write_atomic
from pianalysis.version import __version__

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
    "basis",
    "schemes",
    "phase_error",
    "real_heads",
    "scratch",
    "finetune",
    "tables",
)
_VERSIONS = ("numpy", "scipy", "matplotlib", "torch", "numba", "python-flint", "sympy")
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
        "versions": {
            "python": platform.python_version(),
            "pianalysis": __version__,
            **{package: importlib.metadata.version(package) for package in _VERSIONS},
        },
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
) -> None:
    """Draw and write every stem of an item: .pdf, .svg, .png, .csv, .json."""
    figures = load(name).plot(records)
    source = provenance(name, seed, tier)
    for stem, record in records.items():
        for kind, metadata in _METADATA.items():
            out = io.BytesIO()
            with style.applied():
                figures[stem].savefig(out, format=kind, metadata=metadata)
            write_atomic(folder / f"{stem}.{kind}", out.getvalue())
        record.save(folder / stem, source)


def run(
    names: Sequence[str],
    folder: Path,
    seed: int = 0,
    readme: Path | None = None,
    tier: str | None = None,
) -> str:
    """Run items and bring the ledger (and README's summary) up to date; returns what to say.

    That is the table of verdicts, a line for each verdict that changed, and where to look.
    """
    named = bool(names)
    names = [checks.choice("item", name, ITEMS) for name in names] or list(ITEMS)
    folder.mkdir(parents=True, exist_ok=True)
    clear_drafts(folder)
    claims: list[ledger.Claim] = []
    for name in _in_turn(names):
        chosen = tier or _default_tier(name, named=named)
        records = compute(name, seed, chosen)
        save(name, records, folder, seed, chosen)
        claims += load(name).claims(records)
    if seed:
        return f"{folder}: figures of seed {seed}; the ledger is that of seed 0, and stays"
    with alone(folder, wait=True):  # the claims of a run beside this one are kept
        before = _recorded(folder)
        if set(names) != set(ITEMS):
            claims += [claim for claim in before if claim.item not in names]
        claims = ledger.order(claims)
        ledger.write(claims, folder)
    if readme is not None and set(names) == set(ITEMS):
        ledger.update_readme(claims, readme)
    changed = ledger.differences(before, claims) if before else []
    what = changed or [f"no verdict differs from what {folder} held"] * bool(before)
    return "\n".join(
        [ledger.summary(claims), *what, f"claims: {folder}/claims.md, figures: {folder}/"]
    )


def _in_turn(names: Sequence[str]) -> Iterator[str]:
    """Yield items behind a bar, or with a line and its seconds each where there is no terminal."""
    with tqdm(names, unit="item", disable=None) as bar:
        for name in bar:
            bar.set_description(name)
            start = time.monotonic()
            yield name
            if bar.disable:
                spent = f"{name:<12} {time.monotonic() - start:7.1f} s"
                print(spent, file=sys.stderr, flush=True)


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
    computed: list[ledger.Claim] = []
    lines: list[str] = []
    for name in _in_turn(ITEMS):
        item = load(name)
        computed += item.claims(compute(name))
        if hasattr(item, "replayed"):
            lines += item.replayed()
    return ledger.differences(recorded, computed) + lines


def older(folder: Path) -> list[str]:
    """Return one line for each item with records that sources made which have changed since."""
    stems: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.json")):
        if not path.with_suffix(".svg").is_file():
            continue  # the ledger itself
        source = committed.summary(path.stem, folder).get("provenance", {})
        name = (re.findall(r" run (\w+)", source.get("command", "")) or [""])[0]
        if name in ITEMS and source.get("sources_sha256") != sources.digest(load(name).__name__):
            stems.setdefault(name, []).append(path.stem)
    return [f"{name}: made by older sources: {', '.join(of)}" for name, of in stems.items()]
