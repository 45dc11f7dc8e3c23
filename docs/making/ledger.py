"""The ledger as a page: every claim a row, each link to a page that exists."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from making import gallery
from making.places import FIGURES, ROOT
from paper_repro import ledger

HEAD = ("where", "the paper says", "verdict", "paper", "ours", "rests on", "evidence")
PROOFS = ROOT / "paper_repro" / "proofs"


@cache
def proof_of(name: str) -> tuple[str, int]:
    """Return the Coq file and the line in which a theorem is stated."""
    form = re.compile(rf"^(?:Theorem|Lemma|Corollary) {re.escape(name)}\b", re.MULTILINE)
    for path in sorted(PROOFS.glob("*.v")):
        text = path.read_text(encoding="utf-8")
        found = form.search(text)
        if found:
            return path.relative_to(ROOT).as_posix(), text.count("\n", 0, found.start()) + 1
    raise ValueError(f"a certificate must name a theorem of paper_repro/proofs, got {name}")


def evidence(claim: ledger.Claim) -> list[tuple[str, str, str]]:
    """Return (kind, words, address) of everything a claim rests on; a missing file is an error."""
    out = []
    files = [("item", f"paper_repro/items/{claim.item}.py")]
    if claim.test:
        files.append(("test", f"tests/{claim.test}"))
    for kind, path in files:
        if not (ROOT / path).is_file():
            raise ValueError(f"claim {claim.key} must name files that exist, got {path}")
        out.append((kind, path.rsplit("/", 1)[1], f"source/{path}.html"))
    for name in re.findall(r"Coq (\w+)", claim.certificate):
        path, line = proof_of(name)
        out.append(("proof", name, f"source/{path}.html#L-{line}"))
    own = [stem for stem in gallery.stems() if gallery.described(stem).item == claim.item]
    return out + [("figure", stem, f"figures/{stem}.html") for stem in own]


def sources() -> set[str]:
    """Return the files that the ledger's rows lead to."""
    out = {f"paper_repro/items/{one.item}.py" for one in ledger.read(FIGURES)}
    out |= {f"tests/{one.test}" for one in ledger.read(FIGURES) if one.test}
    return out | {path.relative_to(ROOT).as_posix() for path in PROOFS.glob("*.v")}


class Ledger(SphinxDirective):
    """``{ledger}``: the whole table; ``:verdicts:`` and ``:from:`` choose rows."""

    option_spec = {"verdicts": str, "without": str}  # noqa: RUF012 (docutils' own form)

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        wanted = [name.strip() for name in self.options.get("verdicts", "").split(",") if name]
        without = self.options.get("without")
        rows = [
            claim
            for claim in ledger.read(FIGURES)
            if (not wanted or claim.verdict in wanted)
            and not (without and claim.location.startswith(without))
        ]
        anchor = not wanted
        body = nodes.tbody("", *[self._row(claim, anchor=anchor) for claim in rows])
        head = nodes.thead("", nodes.row("", *[_entry(nodes.Text(text)) for text in HEAD]))
        widths = (8, 24, 10, 12, 24, 10, 12)
        columns = [nodes.colspec(colwidth=width) for width in widths]
        group = nodes.tgroup("", *columns, head, body, cols=len(HEAD))
        table = nodes.table("", group, classes=["ledger", "cards"])
        self.set_source_info(table)
        return [table]

    def _row(self, claim: ledger.Claim, *, anchor: bool) -> nodes.row:
        said: list[nodes.Node] = [nodes.Text(claim.statement)]
        if claim.why:
            said += [nodes.Text(" "), nodes.emphasis("", claim.why)]
        where: list[nodes.Node] = [nodes.Text(claim.location)]
        if anchor:
            where.insert(0, nodes.raw("", f'<span id="claim-{claim.key}"></span>', format="html"))
            where += [nodes.Text(" "), nodes.inline("", claim.key, classes=["key"])]
        else:
            link = nodes.reference("", claim.key, refuri=f"ledger.html#claim-{claim.key}")
            where += [nodes.Text(" "), link]
        links: list[nodes.Node] = []
        last = ""
        for kind, words, address in evidence(claim):
            if kind != last:
                if last:
                    links.append(nodes.raw("", "<br>", format="html"))
                links.append(nodes.inline("", f"{kind} ", classes=["kind"]))
            else:
                links.append(nodes.Text(", "))
            links.append(nodes.reference("", words, refuri=address))
            last = kind
        verdict = nodes.inline("", claim.verdict, classes=["verdict", _slug(claim.verdict)])
        cells = [*map(nodes.Text, (claim.paper, claim.ours, claim.certificate))]
        return nodes.row(
            "",
            _entry(*where),
            _entry(*said),
            _entry(verdict),
            *[_entry(cell) for cell in cells],
            _entry(*links),
        )


def _slug(verdict: str) -> str:
    return "v-" + verdict.replace(" ", "-")


def _entry(*parts: nodes.Node) -> nodes.entry:
    return nodes.entry("", nodes.paragraph("", "", *parts))


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("ledger", Ledger)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
