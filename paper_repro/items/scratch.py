"""Small models trained from scratch, with and without a ridge on h: Eq. 5 and extrapolation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from paper_repro.ledger import NOT_REPRODUCED, SMALL_SCALE, Claim, number, verdict
from paper_repro.scratch.reading import DIRECT, FACTORS, PI, measure_all
from pianalysis.bounds.interpolation import FORMS
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record

_claim = partial(Claim, item="scratch", test="paper_repro/test_scratch.py")

_TICKS = (20, 30, 50, 70, 100, 150, 200, 300, 500)  # of perplexity


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Measure the shipped models; nothing is trained here."""
    names = ("training", "heads", "growth", "likelihood")
    records = measure_all(seed)
    return {f"scratch_{name}": record for name, record in zip(names, records, strict=True)}


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw training, the heads against Eq. 5, scores beyond the window, and held-out text."""
    draw = {
        "scratch_training": _training,
        "scratch_heads": _heads,
        "scratch_growth": _growth,
        "scratch_likelihood": _likelihood,
    }
    return {stem: draw[stem](record) for stem, record in records.items()}


def _training(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    steps = np.unique(record.step)
    for ax, column, label in zip(
        axes,
        ("loss", "mean_square"),
        ("loss (nats a token)", "mean Σ|h|² (squared logits)"),
        strict=True,
    ):
        marks.curves(
            steps,
            {name: getattr(record.where(model=name), column) for name in _models(record)},
            ax=ax,
            xlabel="training step",
            ylabel=label,
            title=f"{record.parameters:,} parameters" if column == "loss" else "what is penalised",
            logy=column == "mean_square",
            legend=None,
        )
    return frame.shared_legend(figure)


def _heads(record: Any) -> Any:
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.7)
    first = record.where(model=record.model[0])
    places = [
        f"{layer:.0f}.{head:.0f}" for layer, head in zip(first.layer, first.head, strict=True)
    ]
    for index, name in enumerate(_models(record)):
        ax.plot(
            np.arange(len(places)),
            record.where(model=name).found_ratio,
            linestyle="none",
            marker=marks.MARKERS[index],
            color=style.CYCLE[index],
            label=name,
        )
    frame.finish(
        ax,
        xlabel="layer.head",
        ylabel="largest deviation / printed bound",
        title="Theorem 2.1 on trained heads",
    )
    ax.set_xticks(range(len(places)), places)
    ax.set_ylim(0.9, 1.08 * record.corrected_unit)
    marks.level(1.0, "printed bound (Eq. 5)", ax=ax, at=0.02, above=False)
    marks.level(record.corrected_unit, "corrected bound", ax=ax, at=0.02)
    return frame.shared_legend(figure)


def _growth(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    marks.curves(
        FACTORS,
        {
            name: [record.value(name, f"peak_{end}", "p95") for end in FACTORS]
            for name in _models(record)
        },
        ax=axes[0],
        xlabel="end of the range of spans (windows L)",
        ylabel="95% quantile of max a(s) (logits)",
        title="signed scores",
        logx=True,
        marker="o",
        legend=None,
    )
    frame.plain_ticks(axes[0], "x", FACTORS)
    marks.bars(
        [name.replace(", ", "\n") for name in _models(record)],
        {
            label: [record.value(name, "growth", level) for name in _models(record)]
            for label, level in {"median": "median", "95% quantile": "p95"}.items()
        },
        ax=axes[1],
        ylabel="max|a| beyond L / max|a| inside",
        title="growth, L to 8L",
    )
    marks.level(1.0, "", ax=axes[1])
    axes[1].set_ylim(0.0, 1.3 * axes[1].get_ylim()[1])  # room for the legend
    return frame.shared_legend(figure)


def _likelihood(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    window = record.context_window
    lowest, highest = record.perplexity.min(), record.perplexity.max()
    for ax, scheme in zip(axes, (DIRECT, PI), strict=True):
        for index, name in enumerate(_models(record)):
            nats = record.nats_by_length(name, DIRECT)
            if scheme == PI:
                nats = {window: nats[window]} | record.nats_by_length(name, PI)
            with style.applied():
                ax.plot(
                    list(nats),
                    np.exp(list(nats.values())),
                    marker=marks.MARKERS[index],
                    color=style.CYCLE[index],
                    label=name,
                )
        title = "direct extrapolation" if scheme == DIRECT else "PI, not fine-tuned"
        frame.finish(
            ax,
            xlabel="document length (tokens)",
            ylabel="held-out perplexity",
            title=f"{title}; L = {window}",
            logx=True,
            logy=True,
        )
        ax.set_ylim(0.9 * lowest, 1.1 * highest)
        frame.plain_ticks(ax, "x", list(nats))
        frame.plain_ticks(ax, "y", [n for n in _TICKS if lowest <= n <= highest])
    return frame.shared_legend(figure)


def _models(record: Any) -> list[str]:
    return list(dict.fromkeys(record.model))


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge Eq. 5 on small trained models, and what section 2.3 hopes of a regulariser of h."""
    heads: Any = records["scratch_heads"]
    worst = int(heads.found_ratio.argmax())
    ratio = float(heads.found_ratio[worst])
    violations = {form: int(getattr(heads, f"{form}_violations").sum()) for form in FORMS}
    place = (
        f"{heads.model[worst]}, layer {heads.layer[worst]:.0f}, head {heads.head[worst]:.0f}, "
        f"passage {heads.found_passage[worst]:.0f}, query {heads.found_query[worst]:.0f}, "
        f"key {heads.found_key[worst]:.0f}, span {heads.found_span[worst]:g}"
    )
    matches = _matches(records["scratch_training"])
    likelihood: Any = records["scratch_likelihood"]
    costs = [[_cost(likelihood, model) for model in models] for models in matches]
    helps = all(with_[n] < without[n] for without, with_ in costs for n in with_)
    return [
        _claim(
            key="scratch-theorem21",
            location="Eq. 5",
            statement="The printed bound holds for the scores of a small model trained from "
            "scratch",
            verdict=verdict(ratio <= 1.0),
            paper="|a - a_linear| <= d max|h| (s - s1)(s2 - s) / (8 ln c)",
            ours=f"{place}: deviation {number(heads.found_deviation[worst])} above "
            f"{number(heads.found_bound[worst])} (ratio {number(ratio)}, to the corrected bound "
            f"{number(ratio / heads.corrected_unit)}); a violation in "
            f"{int((heads.found_ratio > 1.0).sum())} of {len(heads.model)} heads; among "
            f"{heads.checked * len(heads.model)} sampled (pair, span) {violations['paper']} "
            f"violate the printed form, {violations['corrected']} the corrected, "
            f"{violations['weighted']} the weighted",
            certificate="measured",
            why="At head_dim 32 and base 10000 violations are common; the corrected form leaves "
            "little room.",
        ),
        _claim(
            key="scratch-regulariser",
            location="section 2.3",
            statement="A regulariser on |h| in training may mitigate the extrapolation error",
            verdict=verdict(helps, then=SMALL_SCALE, else_=NOT_REPRODUCED),
            paper="a(s) for s > L comparable to that in [0, L]; left for future work",
            ours="; ".join(_seen(records, name) for models in matches for name in models),
            certificate="measured",
            why="Mitigated, not resolved: held-out loss still rises beyond the window. max|a| "
            "hardly grows with or without the penalty; what it takes away is large positive "
            f"scores. Pairs of models that differ in the penalty alone: {len(matches)}.",
        ),
    ]


def _matches(training: Any) -> list[tuple[str, str]]:
    """Return (model without, model with a penalty) of the same seed, for every penalty."""
    plain = {s["seed"]: name for name, s in training.settings.items() if not s["penalty"]}
    return [
        (plain[s["seed"]], name)
        for name, s in training.settings.items()
        if s["penalty"] and s["seed"] in plain
    ]


def _cost(likelihood: Any, model: str) -> dict[int, float]:
    """Return length -> nats a token above those at the window, extrapolating directly."""
    nats = likelihood.nats_by_length(model, DIRECT)
    inside = nats.pop(likelihood.context_window)
    return {length: value - inside for length, value in nats.items()}


def _seen(records: Mapping[str, Record], model: str) -> str:
    likelihood: Any = records["scratch_likelihood"]
    growth: Any = records["scratch_growth"]
    nats = likelihood.nats_by_length(model, DIRECT)
    perplexities = " / ".join(number(np.exp(value), 4) for value in nats.values())
    peaks = [growth.value(model, f"peak_{end}", "p95") for end in (1, 2)]
    size = [growth.value(model, "growth", level) for level in ("median", "p95")]
    return (
        f"{model}: mean sum|h|^2 {number(growth.mean_square[model], 4)}, perplexity at "
        f"{', '.join(map(str, nats))} tokens {perplexities}; 95% of max a(s) {number(peaks[0], 4)} "
        f"inside, {number(peaks[1], 4)} in [L, 2L); max|a| grows by {number(size[0], 4)} (median), "
        f"{number(size[1], 4)} (95%)"
    )
