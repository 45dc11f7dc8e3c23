"""What every panel of every committed picture says: titles, labels, scales, legends.

``panels.json`` beside this file holds it; ``python tests/paper_repro/panels.py`` writes it anew,
after a change of a picture that somebody has looked at.
"""

import json
import re
from pathlib import Path

KEPT = Path(__file__).with_name("panels.json")
SMOKE = "finetune_quick"  # a smoke test of the fine-tune draws no figure that anybody reads
# Numbers inside titles and notes come from records, which are compared elsewhere.
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def of(figure):
    """Return one entry a panel: all that names what is drawn."""
    return [_panel(ax) for ax in figure.axes] + [_shared(figure)]


def _panel(ax):
    legend = ax.get_legend()
    return {
        "title": NUMBER.sub("#", ax.get_title(loc="left") or ax.get_title()),
        "x": [ax.get_xlabel(), ax.get_xscale()],
        "y": [ax.get_ylabel(), ax.get_yscale()],
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "lines": sum(line.get_visible() for line in ax.lines),
        "texts": sorted({NUMBER.sub("#", text.get_text()) for text in ax.texts}),
    }


def _shared(figure):
    return {
        "x": figure.get_supxlabel(),
        "y": figure.get_supylabel(),
        "title": figure.get_suptitle(),
        "legend": [text.get_text() for box in figure.legends for text in box.get_texts()],
    }


def differences(stem, figure):
    """Return a line for each panel of a figure that does not say what is kept of it."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    if stem not in kept:
        return [f"{stem}: not kept, run python {Path(__file__).name}"]
    now = of(figure)
    if len(now) != len(kept[stem]):
        return [f"{stem}: {len(kept[stem]) - 1} panels kept, {len(now) - 1} now"]
    return [
        f"{stem}, panel {place}, {name}: kept {old[name]!r}, now {new[name]!r}"
        for place, (old, new) in enumerate(zip(kept[stem], now, strict=True))
        for name in old
        if old[name] != new[name]
    ]


def write():
    """Compute every item, read the committed tier of the fine-tune, and keep what panels say."""
    import test_twins

    from paper_repro import committed, runner

    stems = {kind: f"finetune_cpu_{kind}" for kind in test_twins.KINDS}
    kinds = {kind: (committed.columns(s), committed.summary(s)) for kind, s in stems.items()}
    drawn = test_twins.pictures(kinds)
    for name in runner.ITEMS:
        drawn |= runner.load(name).plot(runner.compute(name))
    kept = {stem: of(figure) for stem, figure in drawn.items() if not stem.startswith(SMOKE)}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
