"""What the site is made of: links, formulas, docstrings, evidence; each refuses what is wrong."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for needed in ("sphinx", "latex2mathml", "jinja2"):
    pytest.importorskip(needed, reason="the site's tools are not installed: make site")
sys.path.insert(0, str(ROOT / "docs"))
import jinja2  # noqa: E402
from making import docstrings, explorer, gallery, ledger, links, mathml, places, values  # noqa: E402

from paper_repro import ledger as claims  # noqa: E402


def test_every_link_of_the_site_leads_somewhere(site):
    assert links.broken(site) == []


@pytest.mark.parametrize(
    "link", ['<a href="gone.html">', '<a href="b.html#gone">', '<img src="gone.png">']
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, link):
    (tmp_path / "a.html").write_text(f'<p id="here"><a href="b.html#there">b</a>{link}</p>')
    (tmp_path / "b.html").write_text('<p id="there"><a href="a.html#here">a</a></p>')
    assert len(links.broken(tmp_path)) == 1


def test_the_evidence_of_every_claim_exists():
    for claim in claims.read(places.FIGURES):
        kinds = {kind for kind, _, _ in ledger.evidence(claim)}
        assert "item" in kinds
        assert ("test" in kinds) == bool(claim.test)
        assert ("proof" in kinds) == ("Coq" in claim.certificate)


def test_evidence_that_does_not_exist_is_refused():
    claim = claims.read(places.FIGURES)[0]
    parts = {name: getattr(claim, name) for name in claim.__slots__}
    with pytest.raises(ValueError, match="files that exist"):
        ledger.evidence(claims.Claim(**{**parts, "test": "bounds/test_gone.py"}))
    with pytest.raises(ValueError, match="name a theorem"):
        ledger.evidence(claims.Claim(**{**parts, "certificate": "Coq no_such_theorem"}))
    with pytest.raises(ValueError, match="lead to files of the repository"):
        places.page_of("docs/gone.md")


def test_every_figure_says_in_words_what_it_shows():
    assert len(gallery.stems()) > 40
    for stem in gallery.stems():
        facts = gallery.described(stem)
        assert len(facts.alt) > 20, stem
        assert facts.title, stem
    alt = gallery.described("theorem21_counterexample").alt
    assert "the printed bound: deviation, max|h| = 1 against span s (tokens)" in alt
    assert "bound: paper, Eq. 5" in alt


def test_formulas_become_mathml():
    out = mathml.mathml(r"\max_j |h_j| \tfrac12", "block")
    assert out.startswith("<math")
    assert "<munder>" in out
    assert "mtable" in mathml.mathml("\\begin{aligned}\n& a \\\\\n& = b\n\\end{aligned}", "block")
    assert "munder" not in mathml.mathml(r"\max_j |h_j|")
    with pytest.raises(ValueError, match="known commands"):
        mathml.mathml(r"\nosuchcommand x")


def test_bars_of_docstrings_are_bars():
    text = "|h_j| in :math:`|h|` and ``|x|``\n\n    >>> abs(1 | 2)\n    3\n\n|a|"
    kept = ":math:`|h|` and ``|x|``\n\n    >>> abs(1 | 2)\n    3\n"
    assert docstrings.escaped(text) == rf"\|h_j\| in {kept}" + "\n" + r"\|a\|"


def test_a_module_named_by_its_last_name_is_the_one_beside():
    text = ":mod:`~.ratio`, :mod:`~.nosuch`"
    found = docstrings.beside(text, "pianalysis.bounds.certified.constants")
    assert found == ":mod:`~pianalysis.bounds.certified.ratio`, :mod:`~.nosuch`"


def test_numbers_in_prose_come_from_records():
    render = values.environment().from_string
    for claim in claims.read(places.FIGURES)[:3]:
        assert render(f'{{= claim("{claim.key}").ours =}}').render() == claim.ours
    with pytest.raises(jinja2.UndefinedError, match="nosuch"):
        render('{= nosuch("x") =}').render()
    with pytest.raises(ValueError, match="one row"):
        values.row("schemes", factor=4.0)


# Models' sizes, the paper's own constants, years and numbers of papers.
TYPED = {"10000", "10,000", "8192", "2048", "294.73", "8000"}
YEAR = re.compile(r"(?:19|20)\d\d|2306(?:\.15595)?")
GENERATED = re.compile(r"\{=.*?=\}|\{%%.*?%%\}|```\{raw\}.*?```|\(\S+?\)", re.DOTALL)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "site" / "theory").glob("*.md")), ids=lambda p: p.stem
)
def test_prose_of_the_theory_holds_no_typed_result(path):
    prose = GENERATED.sub("", path.read_text(encoding="utf-8"))
    numbers = [one.rstrip(".,") for one in re.findall(r"\d[\d,]*\.?\d*", prose)]
    long = {one for one in numbers if len(re.sub(r"\D", "", one)) >= 4}
    assert {one for one in long - TYPED if not YEAR.fullmatch(one)} == set()


def test_the_explorer_is_one_script_of_its_modules():
    text = explorer.bundle()
    assert "import " not in "\n".join(line[:7] for line in text.splitlines())
    assert json.loads(explorer.presets())["llama-7b"] == {"dim": 128, "base": 1e4, "window": 2048}
    for name in explorer.MODULES:
        lines = (ROOT / "docs" / "explorer" / f"{name}.js").read_text().count("\n")
        assert lines <= 300, name
