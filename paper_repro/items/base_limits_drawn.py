"""The two pictures of item base_limits: conditions by length, and what models meet."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style

_SIGNS = {"at least": "≥", "above": ">", "at most": "≤", "below": "<"}


def _short(names: str) -> str:
    """Name a family once: llama-7b, -13b."""
    family = names.partition("-")[0]
    return names.replace(f", {family}-", ", -")


def by_length(limits: Any, models: Any, name: str) -> Any:
    """Draw base against length, a line a condition, the models as stars."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.9)
    side = dict(zip(limits.condition, limits.side, strict=True))
    served = limits.where(condition="cosine sum")
    lower, upper = _last(limits, "at least", "above"), _last(limits, "at most", "below")
    with style.applied():
        for index, condition in enumerate(side):
            rows = limits.where(condition=condition)
            ax.plot(
                rows.length,
                rows.limit,
                color=style.CYCLE[index],
                linestyle=marks.DASHES[index],
                marker=marks.MARKERS[index],
                label=f"{side[condition]} ({_named(condition, limits)})",
            )
        first = models.where(condition="cosine sum")
        ax.plot(
            first.window,
            first.base,
            "*",
            color=style.BLACK,
            markersize=10,
            markerfacecolor="none",  # a condition's marker below it shows
            label=f"models at their own window;\nlines with L = "
            f"{limits.spec.context_window} are {name}'s",
        )
        seen: list[float] = []  # of one base every second label stands above its star
        for label, x, y in zip(first.model, first.window, first.base, strict=True):
            above = seen.count(y) % 2 == 1
            seen.append(y)
            ax.annotate(
                "\n".join(textwrap.wrap(_short(label), 16)),
                (x, y),
                xytext=(5, 3 if above else -3),
                textcoords="offset points",
                fontsize=6.5,
                va="bottom" if above else "top",
            )
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    frame.finish(
        ax,
        xlabel="length (tokens)",
        ylabel="base c",
        title=f"{name}, L = {limits.spec.context_window}: no base meets all conditions; for "
        f"{served.length[-1]:.0f} tokens one asks for\n{lower.max():.0f} at least, another for "
        f"less than {upper.min():.0f} (d = {limits.spec.rotary_dim})",
        logx=True,
        logy=True,
    )
    ax.set_xlim(1800, 70000)
    frame.plain_ticks(ax, "x", list(np.unique(limits.length)))
    return figure


def _named(condition: str, limits: Any) -> str:
    """Name a condition with what it depends on besides base and length."""
    window = f"{condition}, L = {limits.spec.context_window}"
    more = {
        "critical base": window,
        "unseen phases": window,
        "precision": f"{condition}, {limits.pipeline}",
        "N layers": f"{limits.layers} layers",
    }
    return more.get(condition, condition)


def _last(limits: Any, *sides: str) -> FloatArray:
    """Return the limits of some sides at the longest length."""
    last = limits.where(length=float(limits.length.max()))
    out: FloatArray = last.limit[np.isin(last.side, sides)]
    return out


def by_model(models: Any) -> Any:
    """Draw a row a model, a column a condition: met or not, and the limit."""
    names = list(dict.fromkeys(models.model))
    conditions = list(dict.fromkeys(models.condition))
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.6)
    cells = list(zip(models.condition, models.model, models.met, strict=True))
    sums = models.where(condition="cosine sum")
    odd = {
        ("cosine sum", name, "no")
        for name, met, base, limit in zip(sums.model, sums.met, sums.base, sums.limit, strict=True)
        if met == "no" and base >= limit
    }
    looks = {
        "met": ("o", style.BLUE, style.BLUE, [cell for cell in cells if cell[2] == "yes"]),
        "not met": ("X", "white", style.RED, [c for c in cells if c[2] == "no" and c not in odd]),
        "not met, although above the least base that meets it": (
            *("D", style.BLACK, style.BLACK),
            [cell for cell in cells if cell in odd],
        ),
    }
    with style.applied():
        for label, (marker, face, edge, shown) in looks.items():
            ax.plot(
                [conditions.index(condition) for condition, _, _ in shown],
                [names.index(name) for _, name, _ in shown],
                marker,
                markersize=8 if marker != "D" else 6,
                markerfacecolor=face,
                markeredgecolor=edge,
                linestyle="none",
                label=label,
            )
        ax.set_xticks(range(len(conditions)), conditions)
        labels = [
            "\n".join([*textwrap.wrap(_short(name), 20), f"{row.base[0]:.0f}, {row.window[0]:.0f}"])
            for name in names
            for row in [models.where(model=name)]
        ]
        ax.set_yticks(range(len(names)), labels)
        ax.set_xlim(-0.5, len(conditions) - 0.5)
        ax.set_ylim(len(names) - 0.4, -0.5)
        for condition, name, limit, side in zip(
            models.condition, models.model, models.limit, models.side, strict=True
        ):
            ax.annotate(
                f"{_SIGNS[side]} {limit:.0f}",
                (conditions.index(condition), names.index(name)),
                xytext=(0, -12),
                textcoords="offset points",
                ha="center",
                fontsize=6.5,
            )
    served = sum(met == "yes" for met in sums.met)
    resolved = sum(met == "yes" for met in models.where(condition="precision").met)
    frame.finish(
        ax,
        xlabel="published condition, at the model's own window",
        ylabel="model: base, window (tokens)",
        title=f"of {len(names)} models' bases {served} meet the cosine sum, {resolved} precision;\n"
        f"above the least base that meets the cosine sum, yet failing it: {len(odd)}",
    )
    return frame.shared_legend(figure)
