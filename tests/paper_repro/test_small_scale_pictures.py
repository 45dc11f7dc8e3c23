"""The tables and pictures of the experiment, from readings made up: what is drawn is the data."""

from dataclasses import replace

import numpy as np
import pytest

from paper_repro.items import finetune as item
from paper_repro.small_scale import pictures as drawn
from paper_repro.small_scale import plan, tables
from paper_repro.small_scale.plan import Case, Reading
from pianalysis.bounds.interpolation import FORMS
from pianalysis.finetune.reach import coverage
from pianalysis.pictures import frame

L = 8192
GRID = [L * i // 4 for i in range(1, 17)]
STEPS = (0, 200, 400)
CASES = (
    *(Case(scheme, 4, seed, 400) for scheme in ("linear", "default") for seed in (0, 1)),
    Case("yarn", 4, 0, 200),  # less training: in no picture of step 400
    *(Case(scheme, 2, 0, 400) for scheme in ("default", "linear")),
)


def recalled(k, edge):
    """All keys up to an edge, where it is one of five: that is k_max, and not surely."""
    return 1 if k == edge < 2 * L else 5 * (k <= edge)


def passkeys(case, step):
    edge = case.factor * L if case.scheme == "linear" and step else 10240
    return [
        {
            **{"k": k, "nearest": k - 100, "farthest": k, "recalled": recalled(k, edge)},
            **{"written": 4 * (k <= L), "nats": 0.1 if k <= edge else 3.0 + case.seed},
            **{"standard_error": 0.05, "trials": 5},
        }
        for k in GRID
        if k <= case.factor * L
    ]


def gaps(case, step):
    return [
        {"text": text, "gap": r - 1024, "reach": r, "standard_error": 0.2}
        | {"nats": 3.0 + 0.1 * step / 400 + case.seed + {L: 0.5, 2 * L: 0.2}.get(r, 0.0)}
        for text in ("play", "source")
        for r in (1024, L, 2 * L, 4 * L)
    ]


def windows(case, step):
    rng = np.random.default_rng(0)
    base = rng.normal(size=16)
    return [
        {"text": text, "window": w, "block": b, "nats": base[b] - 0.1 * (w == 2 * L) * (step > 0)}
        for text in ("play", "source")
        for w in (L, 2 * L)
        for b in range(16)
    ]


def heads(case, step):
    value = {f"{form}_ratio": 0.1 * (1 + i) for i, form in enumerate(FORMS)} | {"found_ratio": 1.2}
    return [{"quantity": name, "value": number} for name, number in value.items()]


def whole(case):
    """FT recalls one key less in the longer prompt, and no error bar there reaches 0."""
    return [
        {"how": how, "k": k, "nearest": k, "farthest": k, "trials": 2, "written": 0}
        | {"recalled": 2 - (less := how == "whole" and k > L and case.scheme == "default")}
        | {"nats": 2.0 if less else 0.01, "standard_error": 0.005 if k == L else 3.0}
        for how in ("whole", "gap")
        for k in (L, 2 * L)
    ]


@pytest.fixture(scope="module")
def made():
    read = {}
    for case in CASES:
        for step in [s for s in STEPS if s <= case.steps]:
            read[case, step, Reading("passkeys", (16, 5))] = passkeys(case, step)
            read[case, step, Reading("gaps")] = gaps(case, step)
            if case.scheme != "yarn":
                read[case, step, Reading("windows", (L, 2 * L))] = windows(case, step)
                read[case, step, Reading("heads", (1024,))] = heads(case, step)
            if step:
                read[case, step, Reading("loss")] = [{"at": step, "loss": 4.0}]
            if step == 400 and case.factor == 2:
                read[case, step, Reading("whole", (2, L, 2 * L))] = whole(case)
    ahead = Case("linear", 4, 0, 600)  # a step that FT has not come to
    for reading, made_up in ((Reading("passkeys", (16, 5)), passkeys), (Reading("gaps"), gaps)):
        read[ahead, 600, reading] = made_up(ahead, 600)
    return tables.tables(read, plan.TIERS["full"], window=L)


def labels(figure):
    legends = [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def line(ax, index):
    return ax.containers[index].lines[0]


def marked(ax):
    """Places of the vertical dashed lines, all inside the picture."""
    places = [x.get_xdata()[0] for x in ax.lines if len(set(x.get_xdata())) == 1]
    low, high = ax.get_xlim()
    assert all(low < place < high for place in places)
    return places


def test_tables_hold_every_reading(made):
    assert set(made) == {"passkeys", "reach", "gaps", "windows", "heads", "loss", "whole"}
    one = made["reach"].only(scheme="linear", factor=4.0, seed=1.0, step=400.0)
    assert (one["k_max"], one["low"], one["high"], one["trials"]) == (4 * L, 4 * L, 4 * L, 5)
    assert one["written"] == L
    lost = made["reach"].only(scheme="default", factor=4.0, seed=0.0, step=400.0)
    assert (lost["k_max"], lost["low"]) == (10240, L)
    assert lost["high"] > 10240
    assert made["windows"].window == L
    assert set(made["windows"].tokens) == {L, 2 * L}
    assert made["loss"].only(scheme="yarn", seed=0.0)["step"] == 200
    assert made["passkeys"].csv().startswith("scheme,factor,seed,step,k,nearest,farthest,")


def test_k_max_by_step_with_both_seeds_and_their_intervals(made):
    figure = drawn.reached(made["reach"].where(factor=4.0))
    (ax,) = figure.axes
    names = ["PI, seed 0", "PI, seed 1", "FT, seed 0", "FT, seed 1", "YaRN, seed 0"]
    assert labels(figure) == names
    assert line(ax, 0).get_ydata().tolist() == [10240, 4 * L, 4 * L, 4 * L]
    steps = {0: [0, 200, 400, 600], 4: [0, 200]}  # the first stands left of its step, the last
    places = {index: line(ax, index).get_xdata() - at for index, at in steps.items()}  # right
    assert all(np.ptp(moved) == pytest.approx(0.0, abs=1e-9) for moved in places.values())
    assert places[0][0] == pytest.approx(-places[4][0])
    assert -15.0 < places[0][0] < -5.0
    (bars,) = ax.containers[2].lines[2]
    low, high = bars.get_segments()[-1][:, 1]
    assert (low, high) == (L, made["reach"].where(scheme="default", step=400.0).high[0])
    said, lost = f"{4 * L} ({4 * L}–{4 * L})", f"10240 ({L}–18432)"
    assert ax.get_title(loc="left") == (
        f"after 400 steps (95% interval of each seed): PI {said}; FT {lost}"
    )
    assert {L, 4 * L} <= set(ax.get_yticks())
    assert "95% interval" in ax.get_ylabel()
    grid = f"{len(GRID)} distances of 5 keys"
    assert ax.get_xlabel() == f"fine-tuning steps, points of one step side by side ({grid})"
    levels = [x.get_ydata()[0] for x in ax.lines if len(set(x.get_ydata())) == 1]
    assert {L, 4 * L} <= set(levels)
    assert ax.get_ylim()[1] > 4 * L


def test_windows_without_the_original_are_not_drawn(made):
    """What is run case by case has PI's windows before there is anything to hold them against."""
    alone = made["windows"].where(factor=2.0, scheme="linear")
    assert alone.step.size
    assert drawn.windows(alone) is None
    assert item.plot({"finetune_x2_windows": alone}) == {}


def test_another_grid_of_distances_is_said(made):
    reach = made["reach"].where(factor=4.0, scheme="default", seed=0.0)
    finer = replace(reach, trials=np.where(reach.step == 400.0, 10.0, reach.trials))
    (ax,) = drawn.reached(finer).axes
    said = f"{len(GRID)} distances of 5 keys; from 400 on {len(GRID)} of 10"
    assert ax.get_xlabel() == f"fine-tuning steps, points of one step side by side ({said})"


def losses(**of):
    """Return a record of (scheme, seed) -> losses, from step 1 on."""
    cases = {tuple(name.split("_")): values for name, values in of.items()}
    return tables.Losses(
        window=L,
        batch_tokens=256,
        scheme=tuple(scheme for (scheme, _), values in cases.items() for _ in values),
        factor=np.full(sum(map(len, cases.values())), 4.0),
        seed=np.concatenate([np.full(len(v), float(seed)) for (_, seed), v in cases.items()]),
        step=np.concatenate([np.arange(1.0, len(v) + 1.0) for v in cases.values()]),
        loss=np.concatenate(list(cases.values())),
    )


def test_losses_are_held_against_those_of_ft_on_the_same_tokens():
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=400) for _ in range(2)]  # differ far more than methods do
    late = np.where(np.arange(400) < 200, 1.0, -0.2) + np.tile([0.1, -0.1], 200)
    record = losses(
        linear_0=tokens[0] + late,
        default_0=tokens[0],
        linear_1=(tokens[1] + 0.5)[:200],  # less training than FT had
        default_1=tokens[1],
        yarn_0=tokens[0][:100],
    )
    figure = drawn.loss(record)
    (ax,) = figure.axes
    assert labels(figure) == ["PI, seed 0", "PI, seed 1", "YaRN, seed 0"]
    assert line(ax, 0).get_ydata().tolist() == pytest.approx([1.0, 1.0, -0.2, -0.2])
    middle = line(ax, 1).get_xdata()  # PI's second seed, of the three that are drawn
    assert middle.tolist() == [100.0, 200.0]
    assert (line(ax, 0).get_xdata()[:2] < middle).all()
    assert line(ax, 0).get_xdata().tolist() == pytest.approx([100, 200, 300, 400], abs=4.0)
    assert line(ax, 1).get_ydata().tolist() == pytest.approx([0.5, 0.5])
    (bars,) = ax.containers[0].lines[2]
    error = np.ptp(bars.get_segments()[0][:, 1]) / 2.0
    assert error == pytest.approx(0.1 / np.sqrt(99), rel=1e-6)  # of late alone: tokens drop out
    # Equal training: both seeds end at step 200, and its second half is told.
    title = ax.get_title(loc="left")
    assert title == (
        "steps 101 to 200, minus FT, by seed: PI +1.000 ± 0.010 and +0.500 ± 0.000 nats a token"
    )


def test_losses_without_ft_are_not_drawn():
    assert drawn.loss(losses(linear_0=np.ones(100))) is None
    assert drawn.loss(losses(default_0=np.ones(100))) is None


def test_digits_against_distance_of_equal_training_only(made):
    figure = drawn.digits(made["passkeys"].where(factor=4.0))
    (ax,) = figure.axes
    assert labels(figure) == ["PI, seed 0", "PI, seed 1", "FT, seed 0", "FT, seed 1"]
    assert line(ax, 3).get_ydata()[-1] == 4.0
    assert line(ax, 0).get_xdata().tolist() == GRID
    (bars,) = ax.containers[0].lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.05, 0.15])
    assert marked(ax) == [L, 4 * L]
    title = ax.get_title(loc="left")
    assert title.endswith("400 steps: PI 0.10 and 0.10; FT 3.00 and 4.00 nats a digit (means)")
    assert line(ax, 0).get_linestyle() != line(ax, 1).get_linestyle()


def test_text_behind_gaps_by_kind(made):
    figure = drawn.gaps(made["gaps"].where(factor=4.0))
    assert [ax.get_title(loc="left").split(",")[0] for ax in figure.axes] == [
        *("play", "source"),
    ]
    assert {ax.get_ylabel().partition("\n")[0] for ax in figure.axes} == {
        "loss of held-out text, 400 steps"
    }
    for ax in figure.axes:
        assert marked(ax) == [L, 4 * L]
        assert len(ax.containers) == 4
        assert line(ax, 1).get_ydata().tolist() == pytest.approx([4.1, 4.6, 4.3, 4.1])
        assert ax.get_title(loc="left").endswith(", beyond L: PI 3.10–4.30, FT 3.10–4.30")
    assert "YaRN, seed 0" not in labels(figure)


def test_whole_prompts_beside_gaps(made):
    figure = drawn.whole(made["whole"])
    assert labels(figure) == ["whole prompt", "the same distance across a gap"]
    for ax, name, end, last in zip(figure.axes, ("PI", "FT"), (2, 1), (0.01, 2.0), strict=True):
        title = f"{name}, keys recalled of 2\nwhole prompts: 2, {end}; gaps: 2, 2"
        assert ax.get_title(loc="left") == title
        both = [line(ax, index).get_xdata() for index in (0, 1)]
        np.testing.assert_allclose((both[0] + both[1]) / 2.0, [L, 2 * L])  # side by side
        assert (both[0] < both[1]).all()
        assert line(ax, 0).get_ydata().tolist() == [0.01, last]
        assert line(ax, 1).get_ydata().tolist() == [0.01, 0.01]
        (bars,) = ax.containers[0].lines[2]
        np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.005, 0.015])
        np.testing.assert_allclose(bars.get_segments()[1][:, 1], [0.1 * last, last + 3.0])
        assert marked(ax) == [L, 2 * L]
        assert ax.get_yscale() == "log"
        assert (ax.get_ylim()[0] < 0.01, ax.get_ylim()[1] > 2.0) == (True, True)


def test_one_method_alone_is_drawn_as_far_as_it_was_read(made):
    ft = {kind: made[kind].where(factor=2.0, scheme="default") for kind in made}
    for kind in ("reach", "passkeys", "gaps", "windows"):
        drawn.PICTURES[kind](ft[kind])
    assert labels(drawn.PICTURES["windows"](ft["windows"])) == ["original", "FT, 400 steps"]


def test_windows_are_compared_block_by_block(made):
    figure = drawn.windows(made["windows"].where(factor=2.0))
    for ax in figure.axes:
        before, after = (line(ax, i).get_ydata().tolist() for i in range(2))
        assert before == pytest.approx([0.0, 0.0])
        assert after == pytest.approx([0.0, -0.1])
        spans = [np.ptp(seg[:, 1]) for seg in ax.containers[1].lines[2][0].get_segments()]
        assert max(spans) < 1e-9  # blocks differ by far more than that, and it drops out
        assert marked(ax) == [L, 2 * L]
    assert labels(figure) == ["original", "PI, 400 steps", "FT, 400 steps"]


def test_the_searched_ratio_stands_beside_the_sampled_ones(made):
    (ax,) = drawn.ratios(made["heads"]).axes
    points = [x for x in ax.lines if len(x.get_xdata()) == 5]
    assert len(points) == 8  # PI and FT, x4 and x2, before and after
    assert points[0].get_ydata().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.2])
    assert ax.get_title(loc="left").startswith(
        "found by search at the last step: PI x4 1.20, FT x4 1.20, PI x2 1.20, FT x2 1.20 times"
    )
    looks = {(x.get_marker(), x.get_markerfacecolor() == "none") for x in points}
    assert len(looks) == 8  # told apart without colour
    assert ax.get_xticklabels()[-1].get_text() == "paper, searched"
    assert ax.get_ylim()[1] > 1.2


def test_coverage_of_gaps():
    record = coverage(400, 256, 4 * L, edge_share=0.125)
    figure = drawn.coverage(record)
    uniform, ours = figure.axes[0].lines
    assert uniform.get_ydata().tolist() == record.uniform.tolist()
    assert ours.get_ydata().tolist() == record.stratified.tolist()
    assert frame.png(figure) == frame.png(drawn.coverage(record))
