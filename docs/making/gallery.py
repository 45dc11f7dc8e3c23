"""The gallery: every committed figure with what it draws, its data, its script and its claims."""

from __future__ import annotations

import functools
import html
import json
import re
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from making.places import FIGURES, relative
from paper_repro import committed, ledger, runner

SMOKE = "finetune_quick"
_PLAIN = re.compile(r"[-−\d.,]*|.*10\^.*")
_GROUP = "{http://www.w3.org/2000/svg}g"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known of one committed figure; ``alt`` says in words what its panels show."""

    stem: str
    item: str
    title: str
    about: str
    alt: str
    command: str


@functools.cache
def stems() -> tuple[str, ...]:
    """Return the stems of all figures, by item as `paper_repro list` has them."""
    found = [
        path.stem
        for path in sorted(FIGURES.glob("*.svg"))
        if path.with_suffix(".json").exists() and not path.stem.startswith(SMOKE)
    ]
    return tuple(sorted(found, key=lambda stem: (runner.ITEMS.index(_item(stem)), stem)))


@functools.cache
def described(stem: str) -> Figure:
    """Return the facts of one figure, its titles read back from the picture itself."""
    item = _item(stem)
    panels, shared = drawn(stem)
    titles = [panel.title for panel in panels if panel.title]
    # Above all panels stands the title; the words below and beside them are shared labels.
    title = shared[-1] if shared and not titles else "; ".join(dict.fromkeys(titles))
    parts = dict.fromkeys(panel.said() for panel in panels)
    alt = f"{len(panels)} panels. " * (len(panels) > 1) + " ".join(parts)
    if shared:
        alt += f" Shared: {', '.join(shared)}."
    about = runner.title(item)
    return Figure(
        stem,
        item,
        _one_line(title or about).rstrip("."),
        about,
        _one_line(alt),
        committed.summary(stem)["provenance"]["command"],
    )


def sources() -> set[str]:
    """Return the scripts of all figures."""
    return {f"paper_repro/items/{_item(stem)}.py" for stem in stems()}


@functools.cache
def _item(stem: str) -> str:
    command: str = committed.summary(stem)["provenance"]["command"]
    found: list[str] = re.findall(r" run (\w+)", command)
    return found[0]


@dataclass(frozen=True, slots=True)
class Panel:
    """The words of one panel, read back from the picture."""

    title: str
    x: str
    y: str
    series: tuple[str, ...]
    logarithmic: tuple[str, ...]

    def said(self) -> str:
        """Return them as a sentence."""
        said = self.title
        if self.x or self.y:
            said += ": " * bool(said) + f"{self.y or 'values'} against {self.x or 'cases'}"
        if self.logarithmic:
            said += f", {' and '.join(self.logarithmic)} logarithmic"
        if self.series:
            said += f"; series {', '.join(self.series)}"
        return said + "."


def drawn(stem: str) -> tuple[list[Panel], list[str]]:
    """Return the panels of a committed picture and the words that stand outside them."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(FIGURES / f"{stem}.svg", parser)
    groups = [group for group in tree.iter(_GROUP) if re.match(r"axes_\d", group.get("id", ""))]
    parent = next(g for g in tree.iter(_GROUP) if g.get("id", "").startswith("figure_"))
    shared = [" ".join(_texts(group)) for group in _named(parent, "text_")]
    legends = [text for group in _named(parent, "legend_") for text in _texts(group)]
    return _labelled([_panel(group) for group in groups]), legends + shared


def _labelled(panels: list[Panel]) -> list[Panel]:
    """Return the panels with the labels that they share: y from the left, x from below."""
    for order, name in ((range(len(panels)), "y"), (reversed(range(len(panels))), "x")):
        label = ""
        for at in order:
            label = getattr(panels[at], name) or label
            panels[at] = (
                replace(panels[at], y=label) if name == "y" else replace(panels[at], x=label)
            )
    return panels


def _named(group: Any, start: str) -> list[Any]:
    return [child for child in group if str(child.get("id", "")).startswith(start)]


def _texts(group: Any) -> list[str]:
    return [
        _one_line(html.unescape(node.text or ""))
        for node in group.iter()
        if node.tag is ElementTree.Comment
    ]


def _panel(group: Any) -> Panel:
    labels, logarithmic = ["", ""], []
    own = [" ".join(_texts(part)) for part in _named(group, "text_")]
    for at, place in enumerate(_named(group, "matplotlib.axis_")[:2]):
        labels[at] = " ".join(text for part in _named(place, "text_") for text in _texts(part))
        ticks = [" ".join(_texts(part)) for part in _named(place, f"{'xy'[at]}tick_")]
        if any("10^{" in text for text in ticks):
            logarithmic.append("xy"[at])
        if not labels[at] and not any(_PLAIN.fullmatch(text) for text in ticks):
            # Cases, not numbers: each with the value that is written at it.
            values = own[:-1] if len(own) == len(ticks) + 1 else [""] * len(ticks)
            cases = (f"{tick} {value}" for tick, value in zip(ticks, values, strict=True))
            labels[at] = "; ".join(case.strip() for case in cases)
    series = [text for part in _named(group, "legend_") for text in _texts(part)]
    return Panel(own[-1] if own else "", labels[0], labels[1], tuple(series), tuple(logarithmic))


def quoted(text: str) -> str:
    """Return text as a value of a directive's option, whatever it begins with."""
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.replace("$", "").split())


def pages() -> dict[str, str]:
    """Return docname -> Markdown: the gallery, and a page a figure."""
    facts = [described(stem) for stem in stems()]
    claims = ledger.read(FIGURES)
    out = {f"figures/{one.stem}": _page(one, claims) for one in facts}
    out["figures/index"] = _index(facts)
    return out


def _page(facts: Figure, claims: list[ledger.Claim]) -> str:
    page = f"figures/{facts.stem}"
    links = "\n".join(
        f'<li><a href="{facts.stem}.{kind}">{facts.stem}.{kind}</a> {what}</li>'
        for kind, what in (
            ("csv", "the data"),
            ("json", "inputs, seed, versions, digest of sources"),
            ("pdf", "for print"),
            ("svg", "scales without loss"),
        )
    )
    script = relative(page, f"source/paper_repro/items/{facts.item}.py.html")
    own = [claim for claim in claims if claim.item == facts.item]
    rows = "\n".join(
        f'<li><a href="../ledger.html#claim-{claim.key}">{html.escape(claim.key)}</a> '
        f'<span class="verdict">{claim.verdict}</span> {html.escape(claim.statement)}</li>'
        for claim in own
    )
    listed = f"<ul>\n{rows}\n</ul>" if own else "<p>None: this item states no claim.</p>"
    return (
        f"---\norphan: true\n---\n# {facts.stem}: {facts.title}\n\n"
        f"```{{image}} {facts.stem}.png\n:alt: {quoted(facts.alt)}\n:class: paper\n```\n\n"
        f"**Item** `{facts.item}`: {facts.about}\n\n"
        f"**What it shows, in words.** {facts.alt}\n\n"
        f"**Made by** `{facts.command}`\n\n"
        f'```{{raw}} html\n<ul>\n{links}\n<li><a href="{script}">paper_repro/items/{facts.item}.py'
        f"</a> computes, draws and judges</li>\n</ul>\n```\n\n"
        f"## Claims of this item\n\n```{{raw}} html\n{listed}\n```\n"
    )


def _index(facts: list[Figure]) -> str:
    cards = "\n".join(
        f'<li><a href="{one.stem}.html"><img src="{one.stem}.png" loading="lazy" '
        f'alt="{html.escape(one.alt, quote=True)}"><span>{html.escape(one.title)}</span></a></li>'
        for one in facts
    )
    return (
        "# Figures\n\nEvery figure with its data, the script that made it and the claims that rest "
        f'on it: {len(facts)} in all.\n\n```{{raw}} html\n<ul class="gallery">\n{cards}\n</ul>\n'
        f"```\n"
    )
