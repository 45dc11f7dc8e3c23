"""Every page of the site in a browser: nothing missing, nothing fetched, readable on a phone."""

import pytest

PHONE = 360
LOOK = """() => {
  const article = document.querySelector("article") ?? document.body;
  const shown = (one) => Math.min(one.clientWidth || one.getBoundingClientRect().width,
                                  one.getBoundingClientRect().height) > 0;
  const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  const raw = [];
  while (texts.nextNode()) {
    const node = texts.currentNode;
    const code = node.parentElement.closest("pre, code, script, math, style");
    if (!code && /\\$[^$]+\\$|\\\\[a-z]+\\{/.test(node.data)) raw.push(node.data.slice(0, 80));
  }
  const formulas = [...document.querySelectorAll("math")];
  const pictures = [...document.images];
  return {
    // The page itself and every box of its frame: only a box inside the text may scroll sideways.
    wide: ["html", ".page", ".main", ".content"]
      .map((one) => document.querySelector(one))
      .filter((one) => one && one.scrollWidth > one.clientWidth + 1)
      .map((one) => `${one.tagName}.${one.className}: ${one.scrollWidth}`),
    formulas: formulas.length,
    hidden: formulas.filter((one) => one.checkVisibility() && !shown(one)).length,
    broken: pictures.filter((one) => one.loading !== "lazy" && !one.naturalWidth).length,
    unnamed: pictures.filter((one) => !one.alt.trim() || one.alt.endsWith(".png"))
      .map((one) => one.src.slice(-60)),
    raw,
  };
}"""


# The words between the anchor of a line and that of the next.
LINE = """() => {
  const anchors = [...document.querySelectorAll("a[id^='L-']")];
  const at = anchors.findIndex((one) => one.matches(":target"));
  const range = document.createRange();
  range.setStartAfter(anchors[at]);
  range.setEndBefore(anchors[at + 1]);
  return range.toString();
}"""


@pytest.fixture(scope="module")
def visited(chromium, address, site, watched):
    """page -> what it shows at phone width, and what went wrong on the way."""
    context = chromium.new_context(viewport={"width": PHONE, "height": 740})
    page = watched(context.new_page())
    out = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        page.goto(f"{address}/{name}", wait_until="load")
        out[name] = page.evaluate(LOOK) | {"faults": list(page.faults)}
        page.faults.clear()
    context.close()
    return out


def faulty(visited, key):
    return {name: look[key] for name, look in visited.items() if look[key]}


def test_every_page_loads_without_an_error_or_a_missing_file(visited):
    assert len(visited) > 100
    assert faulty(visited, "faults") == {}


def test_no_page_scrolls_sideways_on_a_phone(visited):
    assert faulty(visited, "wide") == {}


def test_formulas_render(visited):
    assert sum(look["formulas"] for look in visited.values()) > 300
    assert faulty(visited, "hidden") == {}
    assert faulty(visited, "raw") == {}


def test_pictures_render_and_are_named(visited):
    assert faulty(visited, "broken") == {}
    assert faulty(visited, "unnamed") == {}


def test_the_gallery_shows_every_figure(page, address):
    page.goto(f"{address}/figures/index.html")
    page.eval_on_selector_all("img", "all => all.forEach(one => one.loading = 'eager')")
    page.wait_for_function("[...document.images].every(one => one.complete)")
    shown = page.eval_on_selector_all("ul.gallery img", "all => all.map(one => one.naturalWidth)")
    assert len(shown) > 40
    assert min(shown) > 0
    assert page.faults == []


def test_search_finds_theorem_21(page, address):
    page.goto(f"{address}/index.html")
    page.fill("input[name=q]", "Theorem 2.1")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results ul.search li a")
    found = page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.href)")
    assert any("theory/interpolation.html" in link for link in found), found
    assert page.faults == []


def test_the_ledger_filters(page, address):
    page.goto(f"{address}/ledger.html")
    rows = page.locator("table.ledger tbody tr:visible")
    everything = rows.count()
    assert everything > 80
    page.select_option("select[name=verdict]", "refuted")
    refuted = rows.count()
    assert 0 < refuted < everything
    assert set(page.locator("table.ledger tbody tr:visible td:nth-child(3)").all_inner_texts()) == {
        "refuted"
    }
    page.fill("input[name=words]", "theorem 2.1 head dimension")
    assert rows.count() == 1
    assert f"1 of {everything}" in page.locator(".filters output").inner_text()
    assert "theorem_2_1_false_64" in rows.first.inner_text()
    page.select_option("select[name=rests]", "measured")
    assert rows.count() == 0
    assert page.faults == []


def test_a_row_leads_to_its_proof(page, address):
    page.goto(f"{address}/ledger.html")
    page.get_by_role("link", name="theorem_2_1_false_128").click()
    page.wait_for_url("**/source/paper_repro/proofs/counterexample.v.html#L-*")
    line = page.evaluate(LINE)
    assert "theorem_2_1_false_128" in line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_have_contrast(chromium, address, scheme):
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}/theory/worst_case.html")
    ink, paper = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    )
    context.close()
    dark = sum(map(int, paper[4:-1].split(", ")[:3])) < 200
    assert dark == (scheme == "dark"), (ink, paper)
    assert ink != paper
