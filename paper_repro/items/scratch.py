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
    last = record.where(step=steps[-1])
    penalised = [settings["penalty"] > 0 for settings in record.settings.values()]
    square = {flag: last.mean_square[np.equal(penalised, flag)].mean() for flag in (True, False)}
    for ax, column, label in zip(
        axes,
        ("loss", "mean_square"),
        ("loss (nats a token)", "mean Σ|h|² (squared logits)"),
        strict=True,
    ):
        marks.curves(
            steps,
            {_seeded(n): getattr(record.where(model=n), column) for n in _models(record)},
            ax=ax,
            xlabel="training step",
            ylabel=label,
            title=f"{record.parameters:,} parameters end at {last.loss.min():.2f} to "
            f"{last.loss.max():.2f} nats"
            if column == "loss"
            else f"the penalty divides Σ|h|² by {square[False] / square[True]:.0f}",
            logy=column == "mean_square",
            every=6,
            legend=None,
        )
    return frame.shared_legend(figure)


def _heads(record: Any) -> Any:
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.7)
    first = record.where(model=record.model[0])
    places = [
        f"{layer:.0f}.{head:.0f}" for layer, head in zip(first.layer, first.head, strict=True)
    ]
    models = _models(record)
    shift = np.linspace(-0.27, 0.27, len(models))
    for index, name in enumerate(models):
        ax.plot(
            np.arange(len(places)) + shift[index],
            record.where(model=name).found_ratio,
            linestyle="none",
            markersize=3.5,
            label=_seeded(name),
            **marks.look(index),
        )
    broken = int((record.found_ratio > 1.0).sum())
    frame.finish(
        ax,
        xlabel="layer.head",
        ylabel="largest deviation / printed bound",
        title=f"the printed bound fails in {broken} of {record.found_ratio.size} trained heads, "
        "the corrected one in none"
        if record.found_ratio.max() <= record.corrected_unit
        else f"the printed bound fails in {broken} of {record.found_ratio.size} trained heads",
    )
    ax.set_xticks(range(len(places)), places)
    ax.set_ylim(0.9, 1.08 * record.corrected_unit)
    marks.level(1.0, "printed bound (Eq. 5)", ax=ax, at=0.02, above=False)
    marks.level(record.corrected_unit, "corrected bound", ax=ax, at=0.02)
    return frame.shared_legend(figure)


def _growth(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    models = _models(record)
    peaks = {n: [record.value(n, f"peak_{end}", "p95") for end in FACTORS] for n in models}
    grown = {
        kind: max(values[-1] / values[0] for n, values in peaks.items() if n.startswith(kind))
        for kind in ("no penalty", "penalty")
    }
    median = [record.value(name, "growth", "median") for name in models]
    marks.curves(
        FACTORS,
        {_seeded(name): values for name, values in peaks.items()},
        ax=axes[0],
        xlabel="end of the range of spans (windows L)",
        ylabel="95% quantile of max a(s) (logits)",
        title="growth by 8L, at most: "
        + ", ".join(f"{kind} {times:.2f}" for kind, times in grown.items()),
        logx=True,
        every=1,
        legend=None,
    )
    frame.plain_ticks(axes[0], "x", FACTORS)
    marks.bars(
        [_seeded(name).replace(", ", "\n") for name in models],
        {
            label: [record.value(name, "growth", level) for name in models]
            for label, level in {"median": "median", "95% quantile": "p95"}.items()
        },
        ax=axes[1],
        ylabel="max|a|, L to 8L,\nover max|a| inside",
        title=f"max|a| grows {min(median):.2f} to {max(median):.2f} times (medians)",
    )
    marks.level(1.0, "", ax=axes[1])
    axes[1].set_ylim(0.0, 1.3 * axes[1].get_ylim()[1])  # room for the legend
    frame.legend_below(axes[0], columns=2)
    return figure


def _likelihood(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.7)
    window = record.context_window
    lowest, highest = record.perplexity.min(), record.perplexity.max()
    models = _models(record)
    last = max(record.nats_by_length(models[0], DIRECT))
    for ax, scheme in zip(axes, (DIRECT, PI), strict=True):
        for index, name in enumerate(models):
            nats = record.nats_by_length(name, DIRECT)
            if scheme == PI:
                nats = {window: nats[window]} | record.nats_by_length(name, PI)
            with style.applied():
                ax.plot(
                    list(nats),
                    np.exp(list(nats.values())),
                    linestyle=marks.DASHES[index],
                    label=_seeded(name),
                    **marks.look(index),
                )
        worst = np.exp([record.nats_by_length(name, scheme)[last] for name in models])
        title = "direct extrapolation" if scheme == DIRECT else "PI, not fine-tuned"
        frame.finish(
            ax,
            xlabel=f"document length (tokens; L = {window})",
            ylabel="held-out perplexity",
            title=f"{title}: {worst.min():.0f} to {worst.max():.0f} at {last / window:.0f} L",
            logx=True,
            logy=True,
        )
        ax.set_ylim(0.9 * lowest, 1.1 * highest)
        frame.plain_ticks(ax, "x", list(nats))
        frame.plain_ticks(ax, "y", [n for n in _TICKS if lowest <= n <= highest])
    return frame.shared_legend(figure)


def _models(record: Any) -> list[str]:
    return list(dict.fromkeys(record.model))


def _seeded(model: str) -> str:
    """Return a model's name with its seed, the first one's too."""
    return model if "seed" in model else f"{model}, seed 0"


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
