"""What every panel of every committed picture says: titles, labels, scales, legends.

``panels.json`` beside this file holds it; ``python tests/paper_repro/panels.py`` writes it anew,
after a change of a picture that somebody has looked at.
"""

import json
import re
from itertools import combinations
from pathlib import Path

from matplotlib.text import Text

from pianalysis.pictures import style

KEPT = Path(__file__).with_name("panels.json")
SMALLEST = 6.0  # points, at the width a picture is made for
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
        "title": NUMBER.sub("#", figure.get_suptitle()),
        "legend": [text.get_text() for box in figure.legends for text in box.get_texts()],
    }


def unreadable(figure):
    """Return a line for whatever a reader cannot read at the printed width.

    That is a width other than one or two columns, text that is too small, titles, labels and
    legends cut off at the edge of the picture, and titles over one another.
    """
    with style.applied():
        figure.canvas.draw()
    width = figure.get_figwidth()
    out = [] if width in (style.COLUMN_WIDTH, style.TEXT_WIDTH) else [f"{width} inches wide"]
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    out += [f"small: {text.get_text()!r}" for text in texts if text.get_fontsize() < SMALLEST]
    titles = [t for ax in figure.axes for t in (ax.title, ax._left_title) if t.get_text()]
    named = [ax.get_legend() for ax in figure.axes if ax.get_legend()] + figure.legends
    placed = [*titles, *(text for legend in named for text in legend.get_texts())]
    placed += [
        label for ax in figure.axes if ax.axison for label in (ax.xaxis.label, ax.yaxis.label)
    ]
    extents = {text: text.get_window_extent() for text in [*placed, *figure.texts] if text in texts}
    edge = figure.bbox.padded(1.0)
    for text, box in extents.items():
        if box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1:
            out.append(f"cut off: {text.get_text()!r}")
    pairs = combinations([title for title in titles if title in extents], 2)
    return out + [
        f"one over the other: {a.get_text()!r}, {b.get_text()!r}"
        for a, b in pairs
        if extents[a].overlaps(extents[b])
    ]


def differences(stem, figure):
    """Return a line for each panel that does not say what is kept of it, or is not readable."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    if stem not in kept:
        return [f"{stem}: not kept, run python {Path(__file__).name}"]
    now = of(figure)
    if len(now) != len(kept[stem]):
        return [f"{stem}: {len(kept[stem]) - 1} panels kept, {len(now) - 1} now"]
    return [f"{stem}: {line}" for line in unreadable(figure)] + [
        f"{stem}, panel {place}, {name}: kept {old[name]!r}, now {new[name]!r}"
        for place, (old, new) in enumerate(zip(kept[stem], now, strict=True))
        for name in old
        if old[name] != new[name]
    ]


def write():
    """Compute every item, and keep what its panels say; of the fine-tune what is at hand."""
    from paper_repro import runner

    drawn = {}
    for name in runner.ITEMS:
        item = runner.load(name)
        drawn |= item.plot(item.at_hand() if name == "finetune" else runner.compute(name))
    kept = {stem: of(figure) for stem, figure in drawn.items()}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
