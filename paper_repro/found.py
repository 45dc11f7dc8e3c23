"""The five findings in words: every number is read from a committed record.

``text`` keeps to the one or two numbers that tell most; ``more`` has the rest, for the page of the
numbers. A number that bounds from above is rounded up and one that bounds from below is rounded
down, so that what is printed is true as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro import committed
from paper_repro.facts import at_least, at_most, one, rows, shared

LLAMA = "[LLaMA](https://arxiv.org/abs/2302.13971)"
_NEAR = 1024  # tokens of the text without a gap
SMOLLM2 = "[SmolLM2-135M](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: what is found, in Markdown, and where it can be seen, run and checked."""

    name: str
    title: str
    text: str
    more: tuple[str, ...]  # the numbers that the text leaves out
    picture: str  # stem of a figure
    shows: str  # what the picture shows, for those who do not see it
    notebooks: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]  # label, path from the root


def steps(folder: Path) -> int:
    """Return the last step of the fine-tune at which both PI and FT were read."""
    reach = rows("finetune_x4_reach", folder)
    return int(max(of[-1] for of in _read(reach).values()))


def _false(folder: Path) -> Finding:
    spec = committed.summary("theorem21_counterexample", folder)["spec"]
    middle = rows("theorem21_counterexample", folder, span=0.5)
    scaling = committed.summary("theorem21_scaling", folder)
    small = rows("theorem21_scaling", folder, panel="head_dim", x=64.0)
    paper, found = middle["paper"][0], middle["deviation"][0]
    return Finding(
        name="false",
        title="Theorem 2.1, as printed, is false.",
        text=(
            "It bounds how far a score may lie from its chord, the straight line between its "
            f"values at two neighbouring spans. A head of {LLAMA} (d = {spec['head_dim']} rotating "
            f"dimensions, base {spec['base']:g}) can lie **{at_least(found / paper)} times** as "
            "far. One inequality of the proof, under Eq. 14, points the wrong way."
        ),
        more=(
            f"Half-way between two neighbouring spans the printed bound is {paper:.4f} when no "
            f"coefficient exceeds 1; {at_least(found)} is attained.",
            f"At d = 64 {at_least(small['sharp'][0] / small['paper'][0])} times the printed bound "
            "is attained.",
            f"At d = {scaling['threshold_head_dim']} the theorem is true in every cell (every "
            "interval between two spans, however narrow) only for bases up to "
            f"{at_least(scaling['threshold_every_cell'])}; models use 10,000 and more.",
        ),
        picture="theorem21_counterexample",
        shows="A score, its chord, and how far it leaves it, above the printed bound",
        notebooks=("02_interpolation_bound", "06_derivation"),
        evidence=(("Coq: theorem_2_1_false_128", "paper_repro/proofs/counterexample.v"),),
    )


def _true(folder: Path) -> Finding:
    middle = rows("theorem21_counterexample", folder, span=0.5)
    fits = rows("theorem21_fits", folder)
    grid = committed.summary("grid_weights", folder)
    constant = at_most(4 * middle["corrected"][0], 5)
    return Finding(
        name="true",
        title="What holds instead.",
        text=(
            f"Without that step the theorem holds with the constant **{constant}** in place of "
            f"{4 * middle['paper'][0]:.4f}, and no smaller one would do. What the paper means by "
            "it, that scores read between trained spans are as tame as trained ones, is true for "
            "another reason: away from the window's ends the nearest trained scores bound every "
            f"score between them, times {at_most(grid['alpha'])}, plus a negligible share of the "
            "coefficients."
        ),
        more=(
            "For a head whose coefficients are known a *weighted* form, in which each coefficient "
            "counts with the square of its frequency, is far closer: over the fits of the paper's "
            f"Fig. 2 it allows {at_most(fits['weighted'].max())} where "
            f"{fits['observed'].max():.4f} is seen and every form in the largest coefficient, "
            f"max|h|, allows {at_least(fits['paper'].min())} or more.",
            f"A score read at least {grid['neighbours']} tokens from the window's ends is at most "
            f"{at_most(grid['alpha'])} times the largest of its {2 * grid['neighbours']} nearest "
            f"trained ones plus {grid['eps']:.0e} of the sum of all |h|.",
        ),
        picture="theorem21_scaling",
        shows="The printed bound lies below the attained one at every dimension and most bases",
        notebooks=("02_interpolation_bound", "05_worst_case"),
        evidence=(
            ("Coq: corrected_bound", "paper_repro/proofs/corrected.v"),
            ("corrected_bound_optimal", "paper_repro/proofs/sharpness.v"),
            ("weighted_bound", "paper_repro/proofs/weighted.v"),
            ("constants with every rounding error bounded", "figures/grid_weights.csv"),
        ),
    )


def _worst(folder: Path) -> Finding:
    tight = committed.summary("worst_case_tightness", folder)
    target, window = tight["target"], tight["spec"]["context_window"]
    linear = rows("worst_case_tightness", folder, scheme="linear")
    ceiling = at_most(linear["largest_upper"][0])
    end = {
        name: float(linear[name][linear["span"] == target - 1][0])
        for name in linear
        if name != "scheme"
    }
    bare = rows("worst_case_tightness", folder, scheme="default")
    at = int(np.argmax(np.where(bare["span"] < target, bare["lower"], 0.0)))
    far = rows("worst_case_tightness", folder)
    plateau = far["span"] >= 1.5 * target
    over, updated = (
        float((far[column] / far["lower"])[plateau].max()) for column in ("bound", "updated")
    )
    few, many = _ratio(folder, 1.0), _ratio(folder, 100.0)
    return Finding(
        name="worst",
        title="The exact worst case, and a closed form above it.",
        text=(
            "Suppose of a head what the paper says in words: no score above 1 at trained spans, "
            f"no coefficient above a limit H, here {tight['max_coefficient']:g}. Extended to "
            f"{target} tokens by Position Interpolation (PI), no such head exceeds **{ceiling}** "
            f"at any span below {target}; without extension one reaches "
            f"{at_least(bare['lower'][at])}. At any one span the worst case is exact: a head that "
            "reaches it, and a proof that none exceeds it. A closed form lies above it at every "
            "span, for every scheme, in microseconds."
        ),
        more=(
            f"Without extension the worst case at span {bare['span'][at]:.0f} is exact: a head "
            f"scores {at_least(bare['lower'][at], 6)} there, none above "
            f"{at_most(bare['upper'][at], 6)}. Over all spans below {target} the worst case is not "
            f"known exactly: none exceeds {at_most(bare['largest_upper'][0])}, a ceiling that no "
            "head is known to reach.",
            f"Under PI the worst case at the last span, {target - 1}, is exact, too: "
            f"{at_least(end['lower'], 6)} is reached, {at_most(end['upper'], 6)} not exceeded; "
            f"{ceiling} is the ceiling over all spans below {target}. Beyond the target every "
            "scheme extrapolates, PI as well.",
            f"The ratio of the worst cases at span {2 * window} without extension and at PI's last "
            f"span is no constant (the paper: about 600): {at_least(few)} for H = 1, "
            f"{at_least(many)} for H = 100.",
            "The closed form keeps of the two limits what they imply on average: a mean square of "
            "at most 1 for the trained scores (a quadratic form A of the head) and for the "
            "coefficients divided by H (a form B). Then a mean of both forms, with shares λ of A "
            "and 1 − λ of B, is at most 1, too, and among the heads that obey this one limit the "
            "largest score is √(cᵀ(λA + (1 − λ)B)⁻¹c), c the cosines and sines at the span. Every "
            "λ between 0 and 1 gives a bound; the closed form is the least of them.",
            f"It is within a factor {at_most(over)} of exact far outside the window (from 1.5 "
            f"times the target on), {at_most(updated)} after {tight['updates']} updates: an update "
            "gives more weight to the single limits that bind, and trains no model. Where PI "
            f"reads, inside the window and at its end, it is loose: {at_most(end['bound'], 5)} at "
            "PI's last span.",
        ),
        picture="worst_case_curve",
        shows="The worst case at every span up to four times the target, scheme by scheme",
        notebooks=("05_worst_case", "07_schemes"),
        evidence=(
            ("Coq: dual_bound, ellipsoid_bound", "paper_repro/proofs/worst_case.v"),
            ("each worst case proved from below and above", "figures/worst_case.csv"),
        ),
    )


def _ratio(folder: Path, limit: float) -> float:
    """Return the worst case at twice the window over that of PI's last span, at least."""
    plain: dict[str, Any] = {"scheme": "extrapolation", "span": 4096.0}
    beyond = one("worst_case", folder, "lower", **plain, max_coefficient=limit)
    last = rows("worst_case", folder, scheme="interpolation", max_coefficient=limit)
    return beyond / float(last["upper"][np.argmax(last["span"])])


def _heads(folder: Path) -> Finding:
    whole = committed.summary("heads_map", folder)
    overall = dict(zip(whole["overall"]["quantity"], whole["overall"]["median"], strict=True))
    bounds = rows("heads_bounds", folder)
    own = rows("heads_permitted", folder)
    scratch = rows("scratch_heads", folder)
    read = whole["tokens"] * whole["pairs"] * whole["chord_spans"] * bounds["head"].size
    broken = sum(int(bounds[f"{form}_violations"].sum()) for form in ("corrected", "weighted"))
    return Finding(
        name="heads",
        title="What trained heads do.",
        text=(
            f"The median head of {SMOLLM2} (window {whole['context_window']}) uses "
            f"**{100 * np.median(own['observed'] / own['one_sided']):.1f}%** of what its own "
            "limits permit beyond the window. What changes there is the sign: the largest positive "
            f"logit goes from {overall['peak_1']:.2f} inside to {overall['peak_2']:.2f} in the "
            "next window (medians of pairs)."
        ),
        more=(
            f"The share is the median over {own['observed'].size} heads, one a layer; the logits "
            "and the growth are medians over the sampled pairs of a query and a key of all heads.",
            f"The largest |score| of a query and a key grows by a factor {overall['growth']:.2f} "
            f"beyond the window; the largest positive logit is {overall['peak_4']:.1f} in the two "
            "windows after the next.",
            f"A deviation from the chord reaches {bounds['found_ratio'].max():.3f} times the "
            f"printed bound; of {read:,} sampled ones {broken} exceed the corrected or weighted "
            "bound.",
            "In small models trained from scratch (d = 32) the printed bound fails in "
            f"{int((scratch['found_ratio'] > 1.0).sum())} of {scratch['found_ratio'].size} heads.",
        ),
        picture="heads_bands",
        shows="Signed scores of trained heads against span: they rise beyond the window",
        notebooks=("08_real_heads",),
        evidence=(
            ("measured, every head", "figures/heads_map.csv"),
            ("its worst case proved", "figures/heads_permitted.csv"),
        ),
    )


def _tuned(folder: Path) -> Finding:
    losses = committed.summary("finetune_x4_loss", folder)
    reach = rows("finetune_x4_reach", folder)
    last, window = steps(folder), int(losses["window"])
    target = int(reach["factor"][0]) * window
    seeds = [seed for seed, of in _read(reach).items() if last in of]

    def read(stem: str, column: str, scheme: str, step: int = last, **at: Any) -> list[float]:
        """Return the number of each seed."""
        at |= {"scheme": scheme, "step": float(step)}
        return [float(rows(stem, folder, **at, seed=seed)[column][0]) for seed in seeds]

    def told(stem: str, column: str, digits: int, scheme: str, step: int = last, **at: Any) -> str:
        """Return a number of each seed, one where they are alike."""
        values = (f"{value:.{digits}f}" for value in read(stem, column, scheme, step, **at))
        return " and ".join(dict.fromkeys(values))

    def interval(scheme: str) -> str:
        ends = (read("finetune_x4_reach", end, scheme) for end in ("low", "high"))
        pairs = (f"{low:.0f} to {high:.0f}" for low, high in zip(*ends, strict=True))
        return " and ".join(dict.fromkeys(pairs))

    def nats(scheme: str, step: int, reach: int, text: str = "play") -> str:
        return told("finetune_x4_gaps", "nats", 2, scheme, step, reach=float(reach), text=text)

    def digit(scheme: str) -> str:
        return told("finetune_x4_passkeys", "nats", 2, scheme, k=float(target))

    def mean(scheme: str, step: int) -> str:
        at: dict[str, Any] = {"reach": float(target), "text": "play"}
        return f"{np.mean(read('finetune_x4_gaps', 'nats', scheme, step, **at)):.2f}"

    def whole(scheme: str, step: int, tokens: int) -> str:
        """Return the perplexity of whole texts, play and source, read at so many tokens."""
        at: dict[str, Any] = {"scheme": scheme, "step": float(step), "tokens": float(tokens)}
        texts = (
            rows("finetune_x2_windows", folder, **at, text=name) for name in ("play", "source")
        )
        return " and ".join(f"{np.exp(blocks['nats'].mean()):.2f}" for blocks in texts)

    def prompts(how: str, column: str, digits: int) -> str:
        """Return a number of the longest distance under PI and after FT, ``how`` it was filled."""
        at: dict[str, Any] = {"how": how, "k": 2.0 * window}
        found = (one("finetune_x2_whole", folder, column, scheme=s, **at) for s in schemes)
        return " and ".join(f"{value:.{digits}f}" for value in found)

    def sooner(stem: str, column: str, digits: int, **at: Any) -> str:
        """Return a number of YaRN, of NTK-aware scaling and of PI, all after as few steps."""
        at |= {"seed": 0.0, "step": float(early)}
        found = (one(stem, folder, column, **at, scheme=s) for s in ("yarn", "ntk", "linear"))
        return "{}, {} and {}".format(*(f"{value:.{digits}f}" for value in found))

    schemes = ("linear", "default")
    early = int(max(reach["step"][reach["scheme"] == "yarn"]))
    at_end, near = ({"reach": float(place), "text": "play"} for place in (target, _NEAR))
    apart = "" if len(seeds) == 1 else f", from each of {len(seeds)} seeds (nats are their means)"
    return Finding(
        name="tuned",
        title="What a fine-tune shows.",
        text=(
            f"The same model, extended from {window} to {target} tokens by {last} training steps"
            f"{apart}. Passkeys, five digits to find again across a gap in the positions, are "
            f"recalled up to **{told('finetune_x4_reach', 'k_max', 0, 'linear')}** tokens under PI "
            f"and up to {told('finetune_x4_reach', 'k_max', 0, 'default')} after direct "
            "fine-tuning (FT); most training sequences practise finding a code, in other words. At "
            "the far end a held-out play costs "
            f"{mean('linear', last)} nats a token under PI (the mean of −ln p of the right "
            f"token) and {mean('default', last)} after FT; the model as it is: "
            f"{mean('default', 0)}."
        ),
        more=(
            f"A step reads {losses['batch_tokens']} tokens. At distance {target} a digit of the "
            f"key costs {digit('linear')} nats under PI, {digit('default')} after FT.",
            f"95% intervals of the distance up to which keys are recalled: PI {interval('linear')},"
            f" FT {interval('default')}.",
            f"Seed by seed: at {target} the play costs {nats('linear', last, target)} nats a token "
            f"under PI and {nats('default', last, target)} after FT.",
            f"Inside the window, at {_NEAR} tokens without a gap, the play costs "
            f"{nats('linear', last, _NEAR)} nats a token under PI, {nats('default', last, _NEAR)} "
            f"after FT and {nats('default', 0, _NEAR)} before: either training costs there, PI "
            "more.",
            "A held-out source file of sympy, whose other files are trained on, behind the same "
            f"gaps: PI {nats('linear', last, target, 'source')}, FT "
            f"{nats('default', last, target, 'source')} nats a token at {target}.",
            f"Whole texts, no gap, extended to {2 * window}: read at {2 * window} tokens at once, "
            "the play and the source have the perplexities "
            f"{whole('default', 0, 2 * window)} as the model is, "
            f"{whole('default', last, 2 * window)} after FT and "
            f"{whole('linear', last, 2 * window)} under PI; at {window} tokens "
            f"{whole('default', 0, window)}, {whole('default', last, window)} and "
            f"{whole('linear', last, window)}: the training costs there with either, and beyond "
            "the window FT alone pays more.",
            f"YaRN, NTK-aware scaling and PI after {early} steps of one seed: keys are recalled up "
            f"to {sooner('finetune_x4_reach', 'k_max', 0)} tokens, the play costs "
            f"{sooner('finetune_x4_gaps', 'nats', 2, **at_end)} nats a token at {target} and "
            f"{sooner('finetune_x4_gaps', 'nats', 2, **near)} at {_NEAR}.",
            f"Whole prompts, no gap, extended to {2 * window}, at that distance: PI and FT recall "
            f"{prompts('whole', 'recalled', 0)} keys (of {prompts('whole', 'trials', 0)}), and a "
            f"digit costs {prompts('whole', 'nats', 3)} nats; across a gap "
            f"{prompts('gap', 'recalled', 0)} keys and {prompts('gap', 'nats', 3)} nats.",
        ),
        picture="finetune_x4_passkeys",
        shows="What a digit of the key costs against its distance: low under PI, and after direct "
        "fine-tuning only near the old window",
        notebooks=("09_finetune",),
        evidence=(
            ("measured, two cores", "figures/finetune_x4_passkeys.csv"),
            ("twins of Tables 1, 3, 4", "figures/claims.md"),
        ),
    )


def _read(reach: dict[str, Any]) -> dict[float, list[float]]:
    """Return seed -> the steps, in order, at which both PI and FT were read."""
    columns = (reach["scheme"], reach["seed"].tolist(), reach["step"].tolist())
    return shared(zip(*columns, strict=True))


MAKERS = {"false": _false, "true": _true, "worst": _worst, "heads": _heads, "tuned": _tuned}
