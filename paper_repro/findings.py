"""The findings in words, for README and notebook 00: every number is read from a committed record.

A number that bounds from above is rounded up and one that bounds from below is rounded down, so
that what is printed is true as it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro import committed, ledger
from paper_repro.marked import replaced
from pianalysis.records import write_atomic

BEGIN, END = "<!-- findings:begin -->", "<!-- findings:end -->"
RECIPE = Path(__file__).parent / "recipes" / "llama-7b-8192.json"
LLAMA = "[LLaMA](https://arxiv.org/abs/2302.13971)"
SMOLLM2 = "[SmolLM2-135M](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: what is found, in Markdown, and where it can be seen, run and checked."""

    name: str
    title: str
    text: str
    picture: str  # stem of a figure
    shows: str  # what the picture shows, for those who do not see it
    notebooks: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]  # label, path from the root


def findings(folder: Path = committed.FOLDER) -> tuple[Finding, ...]:
    """Return the findings as the records of ``folder`` have them, in the order of README."""
    return tuple(make(folder) for make in _MAKERS.values())


def text(name: str, folder: Path = committed.FOLDER) -> str:
    """Return one finding's words.

    Raises
    ------
    ValueError
        An unknown name; a record that is missing.
    """
    if name not in _MAKERS:
        raise ValueError(f"name must be one of {', '.join(_MAKERS)}, got {name!r}")
    return _MAKERS[name](folder).text


def limits(folder: Path = committed.FOLDER) -> str:
    """Return what the findings do not say."""
    claims = ledger.read(folder)
    open_ = sum(claim.verdict == ledger.NOT_ATTEMPTED for claim in claims)
    tuned = committed.summary("finetune_cpu_likelihood", folder)
    tokens = _steps(folder) * tuned["setting"]["batch_tokens"]
    paper = json.loads(RECIPE.read_text(encoding="utf-8"))
    published = paper["steps"] * paper["batch"] * paper["sequence_length"]
    return (
        "A worst case speaks of all heads within its limits, not of the one you have. What is "
        f"measured is one small model on one kind of text, fine-tuned on {tokens:,} tokens (the "
        f"paper's shortest run of {paper['steps']} steps: {published:,}), and a gap in the "
        "positions holds no distracting keys, as a long text does. Nothing was run on a GPU, the "
        "LLaMA models of the paper were neither trained nor read again, and "
        f"{open_} of the ledger's {len(claims)} claims are not attempted."
    )


def block(folder: Path = committed.FOLDER) -> str:
    """Return README's section: each finding with its picture, notebooks and evidence."""
    parts = []
    for place, finding in enumerate(findings(folder), 1):
        books = [f"[{name}](notebooks/{name}.ipynb)" for name in finding.notebooks]
        proofs = [f"[{label}]({path})" for label, path in finding.evidence]
        parts += [
            f"**{place}. {finding.title}** {finding.text} "
            f"*Run it*: {', '.join(books)}. *Rests on*: {', '.join(proofs)}.",
            f"![{finding.shows}](figures/{finding.picture}.png)",
        ]
    return "\n\n".join([*parts, f"**What they do not say.** {limits(folder)}"])


def update_readme(readme: Path, folder: Path = committed.FOLDER) -> None:
    """Replace the findings of README between their two markers."""
    whole = readme.read_text(encoding="utf-8")
    write_atomic(readme, replaced(whole, BEGIN, END, block(folder)))


def at_most(value: float, digits: int = 4) -> str:
    """Return an upper bound in ``digits`` significant digits, rounded up.

    Examples
    --------
    >>> at_most(1.93501), at_least(1.93599), at_most(42.0)
    ('1.936', '1.935', '42.00')
    """
    return _rounded(value, digits, math.ceil)


def at_least(value: float, digits: int = 4) -> str:
    """Return a lower bound in ``digits`` significant digits, rounded down."""
    return _rounded(value, digits, math.floor)


def _rounded(value: float, digits: int, to: Callable[[float], int]) -> str:
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{to(round(value * 10**places, 6)) / 10**places:.{max(places, 0)}f}"


def _rows(stem: str, folder: Path, **where: Any) -> dict[str, Any]:
    """Return the columns of a record, of the rows alone that hold the given values."""
    table = committed.columns(stem, folder)
    columns = {name: np.array(values) for name, values in table.items()}
    keep = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in where.items():
        keep &= columns[name] == value
    if not keep.any():
        raise ValueError(f"{stem} must have a row with {where}, got none")
    return {name: values[keep] for name, values in columns.items()}


def _one(stem: str, folder: Path, column: str, **where: Any) -> float:
    (value,) = _rows(stem, folder, **where)[column]
    return float(value)


def _false(folder: Path) -> Finding:
    spec = committed.summary("theorem21_counterexample", folder)["spec"]
    middle = _rows("theorem21_counterexample", folder, span=0.5)
    scaling = committed.summary("theorem21_scaling", folder)
    small = _rows("theorem21_scaling", folder, panel="head_dim", x=64.0)
    return Finding(
        name="false",
        title="Theorem 2.1, as printed, is false.",
        text=(
            "It bounds how far a score may lie from the straight line between its values at two "
            f"neighbouring distances. For a head of {LLAMA} (d = {spec['head_dim']} rotating "
            f"dimensions, base {spec['base']:g}) it allows {middle['paper'][0]:.4f} half-way, when "
            f"no coefficient exceeds 1; {at_least(middle['deviation'][0])} is attained, "
            f"**{at_least(middle['deviation'][0] / middle['paper'][0])} times** as much "
            f"({at_least(small['sharp'][0] / small['paper'][0])} times at d = 64). One inequality "
            "of the proof, under Eq. 14, points the wrong way. At d = "
            f"{scaling['threshold_head_dim']} the theorem is true in every cell only for bases up "
            f"to {at_least(scaling['threshold_every_cell'])}."
        ),
        picture="theorem21_counterexample",
        shows="A score, its chord, and its distance from it, above the printed bound",
        notebooks=("02_interpolation_bound", "06_derivation"),
        evidence=(("Coq: theorem_2_1_false_128", "paper_repro/proofs/counterexample.v"),),
    )


def _true(folder: Path) -> Finding:
    middle = _rows("theorem21_counterexample", folder, span=0.5)
    fits = _rows("theorem21_fits", folder)
    grid = committed.summary("grid_weights", folder)
    return Finding(
        name="true",
        title="What holds instead.",
        text=(
            "Without that step the constant of the theorem, "
            f"{4 * middle['paper'][0]:.4f}, becomes **{at_most(4 * middle['corrected'][0], 5)}**, "
            "and no smaller one would do. "
            "For a head whose coefficients are known a *weighted* form is far closer: over the "
            f"fits of the paper's Fig. 2 it allows {at_most(fits['weighted'].max())} where "
            f"{fits['observed'].max():.4f} is seen and every form in max|h| allows "
            f"{at_least(fits['paper'].min())} or more. And what the paper means holds by another "
            "constant: if Position Interpolation (PI) reads a score between trained distances, "
            f"its {2 * grid['neighbours']} nearest trained ones bound it, times "
            f"{at_most(grid['alpha'])} at most, plus {grid['eps']:.0e} of the sum of all |h|."
        ),
        picture="theorem21_scaling",
        shows="The printed bound lies below the attained one at every dimension and most bases",
        notebooks=("02_interpolation_bound", "05_worst_case"),
        evidence=(
            ("Coq: corrected_bound", "paper_repro/proofs/corrected.v"),
            ("corrected_bound_optimal", "paper_repro/proofs/sharpness.v"),
            ("weighted_bound", "paper_repro/proofs/weighted.v"),
            ("ball intervals", "figures/grid_weights.csv"),
        ),
    )


def _worst(folder: Path) -> Finding:
    tight = committed.summary("worst_case_tightness", folder)
    target = tight["target"]
    linear = _rows("worst_case_tightness", folder, scheme="linear")
    bare = _rows("worst_case_tightness", folder, scheme="default")
    inside = bare["span"] < target
    at = int(np.argmax(np.where(inside, bare["lower"], 0.0)))
    far = _rows("worst_case_tightness", folder)
    plateau = far["span"] >= 1.5 * target
    over = {
        column: float((far[column] / far["lower"])[plateau].max())
        for column in ("bound", "updated")
    }
    ratio = {}
    for limit in (1.0, 100.0):
        beyond = _one(
            "worst_case",
            folder,
            "lower",
            scheme="extrapolation",
            span=4096.0,
            max_coefficient=limit,
        )
        last = _rows("worst_case", folder, scheme="interpolation", max_coefficient=limit)
        ratio[limit] = beyond / float(last["upper"][np.argmax(last["span"])])
    return Finding(
        name="worst",
        title="The exact worst case, and its closed form.",
        text=(
            "Suppose of a head what the paper says in words: no score above 1 at trained "
            f"distances, no coefficient above H = {tight['max_coefficient']:g}. Extended to "
            f"{target} tokens by PI, no score anywhere exceeds "
            f"**{at_most(linear['largest_upper'][0])}**; without extension one reaches "
            f"**{at_least(bare['lower'][at])}** (at distance {bare['span'][at]:.0f}; none exceeds "
            f"{at_most(bare['largest_upper'][0])}). The ratio of the two is no constant (the "
            f"paper: about 600): {at_least(ratio[1.0])} for H = 1, {at_least(ratio[100.0])} for "
            "H = 100. Two ellipsoids around the limits give a closed form, min over 0 ≤ λ ≤ 1 of "
            "√(cᵀ(λA + (1 − λ)B)⁻¹c) (A, B: mean squares of trained scores and of coefficients "
            "over H; c: cosines and sines at the distance), for every distance and scheme: within "
            f"a factor {at_most(over['bound'])} of exact far outside, "
            f"{at_most(over['updated'])} after {tight['updates']} updates of its weights."
        ),
        picture="worst_case_curve",
        shows="The worst case at every distance up to four times the target, scheme by scheme",
        notebooks=("05_worst_case", "07_schemes"),
        evidence=(
            ("Coq: dual_bound, ellipsoid_bound", "paper_repro/proofs/worst_case.v"),
            ("certificates from both sides", "figures/worst_case.csv"),
        ),
    )


def _heads(folder: Path) -> Finding:
    whole = committed.summary("heads_map", folder)
    overall = dict(zip(whole["overall"]["quantity"], whole["overall"]["median"], strict=True))
    bounds = _rows("heads_bounds", folder)
    own = _rows("heads_permitted", folder)
    scratch = _rows("scratch_heads", folder)
    read = whole["tokens"] * whole["pairs"] * whole["chord_spans"] * bounds["head"].size
    broken = sum(int(bounds[f"{form}_violations"].sum()) for form in ("corrected", "weighted"))
    return Finding(
        name="heads",
        title="What trained heads do.",
        text=(
            f"In {SMOLLM2} (window {whole['context_window']}) the largest |score| of a pair grows "
            f"by a factor {overall['growth']:.2f} beyond the window (median). Heads, one a layer, "
            f"use **{100 * np.median(own['observed'] / own['one_sided']):.1f}%** of what their own "
            "limits permit. What changes is the sign: the largest positive logit goes from "
            f"{overall['peak_1']:.2f} inside to {overall['peak_2']:.2f} in the next window and "
            f"{overall['peak_4']:.1f} in the two after. A deviation from the chord reaches "
            f"{bounds['found_ratio'].max():.3f} times the printed bound; of {read:,} sampled ones "
            f"{broken} exceed the corrected or weighted one. In small models trained from scratch "
            f"(d = 32) the printed bound fails in {int((scratch['found_ratio'] > 1.0).sum())} of "
            f"{scratch['found_ratio'].size} heads."
        ),
        picture="heads_bands",
        shows="Signed scores of trained heads against distance: they rise beyond the window",
        notebooks=("08_real_heads",),
        evidence=(
            ("measured, every head", "figures/heads_map.csv"),
            ("its worst case proved", "figures/heads_permitted.csv"),
        ),
    )


def _tuned(folder: Path) -> Finding:
    likelihood = committed.summary("finetune_cpu_likelihood", folder)
    window, steps = likelihood["window"], _steps(folder)
    target = int(_rows("finetune_cpu_likelihood", folder, case="linear x2 seed 0")["target"][0])

    def nats(scheme: str, step: int, reach: int) -> list[float]:
        return [
            _one(
                "finetune_cpu_likelihood",
                folder,
                "nats",
                case=f"{scheme} x2 seed {seed}",
                step=float(step),
                reach=float(reach),
            )
            for seed in (0, 1)
        ]

    def both(values: list[float]) -> str:
        first, second = (f"{value:.2f}" for value in values)
        return first if first == second else f"{first} and {second}"

    def reached(scheme: str) -> str:
        at = {"step": float(steps), "k": float(target)}
        cases = [f"{scheme} x2 seed {seed}" for seed in (0, 1)]
        ends = [_one("finetune_cpu_passkeys", folder, "k_max", case=case, **at) for case in cases]
        return " and ".join(f"{end:.0f}" for end in ends)

    return Finding(
        name="tuned",
        title="What a fine-tune shows.",
        text=(
            f"The same model, extended from {window} to {target} tokens by {steps} steps of "
            f"{likelihood['setting']['batch_tokens']} tokens, two seeds. Held-out text at the far "
            f"end costs {both(nats('default', 0, target))} nats a token before; direct "
            f"fine-tuning (FT) ends at {both(nats('default', steps, target))}, PI at "
            f"**{both(nats('linear', steps, target))}**, level with the near end "
            f"({both(nats('linear', steps, 1024))}), where FT is better "
            f"({both(nats('default', steps, 1024))}). Passkeys separate the two less than in the "
            f"paper: PI reads them up to {reached('linear')} tokens, FT up to "
            f"{reached('default')}."
        ),
        picture="finetune_cpu_likelihood",
        shows="Held-out text against distance: flat under PI, rising without it",
        notebooks=("09_finetune",),
        evidence=(
            ("measured, two cores", "figures/finetune_cpu_likelihood.csv"),
            ("twins of Tables 1, 3, 4", "figures/claims.md"),
        ),
    )


def _steps(folder: Path) -> int:
    return int(_rows("finetune_cpu_likelihood", folder, case="linear x2 seed 0")["step"].max())


_MAKERS = {"false": _false, "true": _true, "worst": _worst, "heads": _heads, "tuned": _tuned}
