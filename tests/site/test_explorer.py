"""The explorer's numbers are the package's, in a real browser; its controls, address and speed."""

import csv
import math
import re

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import pianalysis as pia
from pianalysis import RopeSpec
from pianalysis.bounds.worst_case.closed_form import checked_problem
from pianalysis.extension.named import COMPARABLE

FORMS = ("paper", "corrected", "sharp", "weighted")
TOLERANCE = 1e-9
VIEWS = 40


@pytest.fixture
def explorer(page, address):
    page.goto(f"{address}/explorer.html")
    page.wait_for_function("window.explorer !== undefined")
    yield page
    assert page.faults == []


def random_views(rng):
    """Settings over all that the controls reach, each preset among them."""
    presets = list(pia.PRESETS.values())
    for at in range(VIEWS):
        spec = presets[at % len(presets)].spec
        view = {"dim": spec.rotary_dim, "base": spec.base, "window": spec.context_window}
        if at >= len(presets):
            view = {
                "dim": 2 * int(rng.integers(1, 100)),
                "base": float(np.exp(rng.uniform(math.log(2.0), math.log(1e7)))),
                "window": int(np.exp(rng.uniform(math.log(32), math.log(9000)))),
            }
        target = int(view["window"] * np.exp(rng.uniform(0.0, math.log(32.0))))
        yield view | {
            "target": target,
            "scheme": str(rng.choice(COMPARABLE)),
            "newBase": float(np.exp(rng.uniform(math.log(2.0), math.log(1e8)))),
            "s": float(rng.choice([rng.uniform(0, target), rng.integers(0, target), target - 1])),
            "H": float(np.exp(rng.uniform(math.log(0.01), math.log(1e5)))),
            "phases": str(rng.choice(["cell", "zero", "random"])),
            "sizes": str(rng.choice(["equal", "slow", "fast"])),
            "scale": str(rng.choice(["trained", "limit"])),
            "seed": int(rng.integers(0, 1000)),
        }


def extension(name, spec, view):
    """The scheme by the package, or None where it refuses."""
    try:
        if name == "base-change":
            return pia.BaseChange(spec, view["target"], base=view["newBase"])
        return pia.SCHEMES[name](spec, view["target"])
    except ValueError:
        return None


def ceilings(spec, spans, limit, model):
    """The closed form by the package's coordinates, at the best weight.

    The package's own search ends a little before it, which costs 1e-7 of a bound at most.
    """
    problem = checked_problem(spec, limit, model)
    grid = (problem.coordinates.norms**2 / spec.context_window).ravel()
    ours = pia.worst_case_bound(spec, spans, max_coefficient=limit, extension=model)
    beta, out = 1.0 / (limit**2 * spec.pairs), []
    for span, own in zip(spans, ours, strict=True):
        squares = problem.projected(np.array([span])).ravel() ** 2

        def value(at, squares=squares):
            share = beta / (beta + math.exp(at))
            return math.sqrt((squares / (share * grid + (1.0 - share) * beta)).sum())

        ends = (math.log(beta) - 21.0, math.log(beta) + 14.0)
        least = minimize_scalar(value, bounds=ends, method="bounded", options={"xatol": 1e-9}).fun
        least = min(least, math.sqrt(squares.sum() / beta))
        assert least * (1 - 1e-9) <= own <= least * (1 + 1e-7)
        out.append(least)
    return out


def expected(view, h):
    """The page's numbers by the package, each with the scale of its quantity."""
    spec = RopeSpec(view["dim"], view["base"], view["window"])
    span, limit, pairs = view["s"], view["H"], spec.pairs
    position = span * spec.context_window / view["target"]
    ends = pia.attention_score(spec, h, [math.floor(position), math.floor(position) + 1.0])
    part = position - math.floor(position)
    largest, given_limit = float(np.abs(h).sum()), float(np.abs(h).max())
    out = {
        "x": (position, view["target"]),
        "score": (float(pia.attention_score(spec, h, position)), largest),
        "chord": ((1 - part) * ends[0] + part * ends[1], largest),
        "abel": (float(pia.abel_sum(spec, span)), pairs * (pairs + 1) / 2),
        "plainContrast": (float(pia.adjacent_contrast(spec, h)), largest),
    }
    for form in FORMS:
        scale = float(pia.interpolation_bound(spec, 0.5, given_limit))
        given = h if form == "weighted" else given_limit
        out[form] = (float(pia.interpolation_bound(spec, position, given, form=form)), scale)
    for name in COMPARABLE:
        model = extension(name, spec, view)
        if model is None:
            out[f"worst {name}"] = (None, None)
            continue
        bounds = ceilings(spec, [span, view["target"] - 1.0], limit, model)
        for place, bound in zip(("s", "last"), bounds, strict=True):
            # Relative to the largest |a'(s)|.
            out[f"worst {name} {place}"] = (float(bound), model.attention_factor**2 * limit * pairs)
        if name == view["scheme"]:
            factor = model.attention_factor**2
            out["extended"] = (float(pia.attention_score(model, h, span)), factor * largest)
            out["contrast"] = (float(pia.adjacent_contrast(model, h)), factor * largest)
    return out


def shown(result):
    """The same numbers as the page has them."""
    out = {name: result[name] for name in ("x", "score", "chord", "abel", "plainContrast")}
    out |= {form: result["bounds"][form] for form in FORMS}
    out |= {name: result[name] for name in ("extended", "contrast")}
    for name, both in result["worst"].items():
        if both is None:
            out[f"worst {name}"] = None
        else:
            out[f"worst {name} s"], out[f"worst {name} last"] = both
    return out


def differences(view, result):
    h = np.array(result["h"]["re"]) + 1j * np.array(result["h"]["im"])
    found = shown(result)
    lines = []
    for name, (value, scale) in expected(view, h).items():
        if value is None or found[name] is None:
            if value is not found[name]:
                lines.append(f"{name}: ours {value}, the page's {found[name]} at {view}")
        elif not abs(found[name] - value) <= TOLERANCE * scale:
            off = abs(found[name] - value) / scale
            lines.append(f"{name}: ours {value!r}, the page's {found[name]!r}, {off:.1e} at {view}")
    return lines


def test_numbers_are_the_packages(explorer):
    lines = []
    for view in random_views(np.random.default_rng(17)):
        result = explorer.evaluate("view => window.explorer.compute(view)", view)
        assert {name: result["settings"][name] for name in view} == view
        lines += differences(view, result)
    assert lines == []


@pytest.mark.parametrize("target", [3072, 8192])
@pytest.mark.parametrize("scheme", ["default", "linear", "yarn"])
def test_unseen_phases_are_the_profiles(explorer, scheme, target):
    """At the span that Position Interpolation reads at the last trained integer."""
    spec = pia.preset("llama-7b")
    profile = pia.scheme_profile(pia.SCHEMES[scheme](spec, target))
    view = {"scheme": scheme, "target": target, "s": 2047 * target / 2048}
    result = explorer.evaluate("view => window.explorer.compute(view)", view)
    assert len(result["unseen"]["chosen"]) == profile.unseen_pairs


def test_the_printed_bound_is_crossed_where_the_paper_says(explorer):
    result = explorer.evaluate("window.explorer.compute({ target: 4096, s: 1 })")
    gap = abs(result["score"] - result["chord"])
    assert result["bounds"]["paper"] < gap <= result["bounds"]["sharp"] * (1 + 1e-12)


def test_the_head_drawn_is_within_the_limits(explorer):
    """By default no score exceeds 1 and no coefficient H; in the other form one reaches H."""
    for view in random_views(np.random.default_rng(3)):
        h = explorer.evaluate("view => window.explorer.compute(view).h", view)
        size = np.abs(np.array(h["re"]) + 1j * np.array(h["im"]))
        assert size.max() <= view["H"] * (1 + 1e-12)
        if view["scale"] == "trained":
            assert size.sum() <= 1 + 1e-12
        else:
            assert size.max() == pytest.approx(view["H"], rel=1e-12)
    assert explorer.evaluate("window.explorer.compute({}).settings.scale") == "trained"
    bare = explorer.evaluate("window.explorer.compute({ scale: 'limit' })")
    result = explorer.evaluate("window.explorer.compute({})")
    assert abs(result["score"]) <= 1 < abs(bare["score"])
    assert result["bounds"]["paper"] / result["largest"] == pytest.approx(bare["bounds"]["paper"])


def test_ceiling_and_exact_worst_case_stand_beside_each_other(explorer, root):
    heads = explorer.locator("table.worst thead th").all_inner_texts()
    assert heads == ["scheme", "ceiling at s", "ceiling at L' - 1", "exact at L' - 1"]
    with (root / "figures" / "worst_case_tightness.csv").open() as handle:
        kept = {row["scheme"]: row for row in csv.DictReader(handle) if row["span"] == "8191.0"}
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in explorer.locator("table.worst tbody tr").all()
    }
    for name, scheme in (("Position Interpolation", "linear"), ("YaRN", "yarn")):
        _, ceiling, exact = map(float, rows[name])
        assert ceiling == pytest.approx(float(kept[scheme]["bound"]), rel=1e-3)
        assert exact == pytest.approx(float(kept[scheme]["upper"]), rel=1e-3)
        assert exact < ceiling
    assert rows["another base (500000)"][2] == "not kept"
    assert (
        "exact: Position Interpolation" in explorer.locator('[data-panel="worst"] ul').inner_text()
    )
    explorer.evaluate("window.explorer.set({ H: 2 })")
    last = explorer.locator("table.worst tbody tr td:last-child").all_inner_texts()
    assert set(last) == {"not kept"}
    assert "exact" not in explorer.locator('[data-panel="worst"] ul').inner_text()


def test_labels_follow_the_scheme(explorer):
    said, table = explorer.locator(".reading"), explorer.locator("table.numbers")
    for span, where in (
        (6000, "1500, at a trained position;"),
        (6002, "1500.5, between trained positions;"),
        (8191, "2047.75, beyond the last trained position;"),
    ):
        explorer.evaluate("s => window.explorer.set({ s })", span)
        assert f"It reads span s at x = s L / L' = {where}" in said.inner_text()
    names = (
        ("yarn", "YaRN"),
        ("ntk", "NTK-aware"),
        ("base-change", "another base (500000)"),
    )
    for scheme, name in names:
        explorer.evaluate("scheme => window.explorer.set({ scheme })", scheme)
        assert said.inner_text().startswith(f"Under {name} each pair turns by a factor")
        assert f"score a'(s), {name}" in table.inner_text()
        assert f"at most: {name}" in table.inner_text()
    explorer.evaluate("window.explorer.set({ scheme: 'default' })")
    assert said.inner_text().startswith("With no change span s is read at s itself")


def test_a_view_is_kept_in_the_address(explorer, address):
    explorer.evaluate("window.explorer.set({ scheme: 'yarn', H: 3, s: 777.25, target: 5000 })")
    kept = explorer.evaluate("location.href")
    assert "scheme=yarn" in kept
    before = explorer.evaluate("window.explorer.settings()")
    pictures = explorer.eval_on_selector_all(".picture", "all => all.map(one => one.innerHTML)")
    explorer.goto("about:blank")
    explorer.goto(kept)
    assert explorer.evaluate("window.explorer.settings()") == before
    again = explorer.eval_on_selector_all(".picture", "all => all.map(one => one.innerHTML)")
    assert again == pictures
    explorer.goto("about:blank")
    explorer.goto(f"{address}/explorer.html#dim=-3&base=x&target=1&scheme=nothing&s=1e99")
    wild = explorer.evaluate("window.explorer.settings()")
    assert (wild["dim"], wild["base"], wild["target"]) == (2, 10000, 2048)
    assert (wild["scheme"], wild["s"]) == ("linear", 2048)
    said = explorer.locator(".changed").inner_text()
    for part in (
        "rotary dimension d is 2, not -3: allowed are even numbers from 2 to 256.",
        "base c is 10000, not x: allowed are numbers from 1.01 to 100000000.",
        "target L' is 2048, not 1: allowed are whole numbers from 2048 to 4194304.",
        "scheme is linear, not nothing: allowed are default, linear, ",
        "span s is 2048, not 1e99: allowed are numbers from 0 to 2048.",
    ):
        assert part in said


def test_what_is_out_of_range_is_changed_in_one_visible_line(explorer):
    line, limit = (
        explorer.locator(".changed"),
        explorer.locator('input[type="number"][data-for="H"]'),
    )
    assert line.get_attribute("role") == "status"
    assert not line.is_visible()
    limit.fill("200000")
    wanted = "limit H on |h| is 100000, not 200000: allowed are numbers from 0.01 to 100000."
    assert line.inner_text() == wanted
    assert explorer.evaluate("window.explorer.settings().H") == 100000
    limit.blur()  # the field shows what is used, the line stays
    assert limit.input_value() == "100000"
    assert line.is_visible()
    limit.fill("3")
    assert not line.is_visible()
    explorer.evaluate("window.explorer.set({ dim: 127, seed: 1.5 })")
    assert line.inner_text() == (
        "rotary dimension d is 128, not 127: allowed are even numbers from 2 to 256. "
        "seed is 2, not 1.5: allowed are whole numbers from 0 to 999."
    )
    explorer.click("button[type=reset]")
    assert not line.is_visible()


def test_a_number_half_typed_changes_no_other(explorer):
    target = explorer.locator('input[type="number"][data-for="target"]')
    target.fill("8")  # below the window, and so is the span then
    assert explorer.evaluate("window.explorer.settings().s") == 2048
    assert "span s is 2048, not 5002" in explorer.locator(".changed").inner_text()
    target.fill("8000")
    assert explorer.evaluate("window.explorer.settings().s") == 5002
    assert not explorer.locator(".changed").is_visible()


def test_exact_worst_cases_differ_without_colour(explorer):
    explorer.evaluate("window.explorer.set({ scheme: 'yarn' })")
    keys = explorer.locator('[data-panel="worst"] ul li', has_text="exact:").locator("svg")
    shapes = [key.inner_html() for key in keys.all()]
    outlines = {re.sub(r'stroke="[^"]*"', "", shape) for shape in shapes}
    assert len(shapes) == len(outlines) == 3


def test_controls_are_moved_by_keys_and_redraw(explorer):
    slider = explorer.locator('input[type="range"][data-for="s"]')
    drawn = explorer.locator('[data-panel="score"] .picture')
    before, value = drawn.inner_html(), float(slider.input_value())
    slider.focus()
    explorer.keyboard.press("ArrowRight")
    explorer.keyboard.press("PageUp")
    explorer.wait_for_function("before => document.querySelector('[data-panel=score] .picture')"
                               ".innerHTML !== before", arg=before)  # fmt: skip
    assert float(slider.input_value()) > value
    explorer.select_option('[data-for="preset"]', "smollm2-135m")
    assert explorer.locator('[data-for="dim"]').input_value() == "64"
    explorer.fill('[data-for="dim"]', "32")
    assert explorer.locator('[data-for="preset"]').input_value() == "own"
    explorer.select_option('[data-for="scheme"]', "yarn")
    explorer.fill('[data-for="window"]', "16")
    explorer.fill('[data-for="base"]', "2")
    explorer.fill('[data-for="window"]', "60000")
    explorer.wait_for_function("document.querySelector('.refused').textContent !== ''")
    explorer.click("button[type=reset]")
    assert explorer.evaluate("window.explorer.settings().dim") == 128
    turn = explorer.locator(".turn")
    start = explorer.evaluate("window.explorer.settings().s")
    turn.click()
    explorer.wait_for_function("start => window.explorer.settings().s !== start", arg=start)
    turn.click()
    assert turn.get_attribute("aria-pressed") == "false"


# The fastest of some runs of each change: other work on the machine slows the rest.
QUICKEST = """() => {
  const set = (changes) => {
    window.explorer.set(changes);
    return window.explorer.timing().last;
  };
  const schemes = ["yarn", "ntk", "llama3"];
  const changes = {
    s: (k) => ({ s: 3000 + k }),
    H: (k) => ({ H: 1 + k / 100 }),
    base: (k) => ({ base: 2e4 + k }),
    window: (k) => ({ window: 2000 + k }),
    target: (k) => ({ target: 9000 + k }),
    scheme: (k) => ({ scheme: schemes[k % 3], newBase: 1e6 + k }),
  };
  for (let k = 0; k < 5; k++) set({ s: 10 + k, base: 1e4 + k });
  const out = {};
  for (const [name, of] of Object.entries(changes)) {
    out[name] = Math.min(...Array.from({ length: 15 }, (_, k) => set(of(k))));
  }
  return out;
}"""


def test_every_change_is_drawn_and_its_time_told(explorer):
    times = explorer.evaluate(QUICKEST)  # milliseconds: printed (pytest -s), as machines differ
    print(times)
    assert set(times) == {"s", "H", "base", "window", "target", "scheme"}
    assert all(took > 0.0 for took in times.values())


def test_it_opens_from_a_file(page, site):
    page.goto((site / "explorer.html").as_uri())
    page.wait_for_function("window.explorer !== undefined")
    assert page.locator(".picture svg").count() == 5
    assert page.locator(".wheels svg").count() == 2
    assert page.faults == []
