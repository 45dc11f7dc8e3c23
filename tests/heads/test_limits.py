"""A head against its own limits, after the softmax and on average: naive loops, then the orders."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from tiny import HEADS, SCALING, synthetic

import pianalysis as pia
from pianalysis.bounds.worst_case import head_limits
from pianalysis.heads import attention, permitted, sampled, statistics

SPEC, WINDOW = HEADS, 13
THETA = [SPEC.base ** (-2 * j / 6) for j in range(3)]


@pytest.fixture(params=[None, 1.5])
def layer(request, rng):
    return synthetic(rng, softcap=request.param)


def drawn(layer, head, seed, draws):
    """The (query, key) pairs, the spans and the asked queries, drawn in the documented order."""
    rng = np.random.default_rng([seed, layer.layer, head])
    spans = sampled.draw_spans(WINDOW, rng)
    at = [m for m in range(layer.queries.shape[1]) for _ in range(draws)]
    to = rng.integers(0, np.array(at) + 1).tolist()
    return list(zip(at, to, strict=True)), spans, attention.draw_queries(7, WINDOW, rng)


def score(h, s):
    return sum(
        (a * complex(math.cos(s * t), math.sin(s * t))).real for a, t in zip(h, THETA, strict=True)
    )


def variation(one, other):
    """Half the sum of |difference| of two softmax distributions."""
    p, q = ([math.exp(x) / sum(math.exp(y) for y in row) for x in row] for row in (one, other))
    return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2


def closed_form(span, most, limit):
    """The least bound of two ellipsoids, from real matrices and a scalar search."""
    rows = np.array([[f(n * t) for t in THETA for f in (math.cos, math.sin)] for n in range(13)])
    grid, box = rows.T @ rows / (13 * limit**2), np.eye(6) / (3 * most**2)
    c = np.array([f(span * t) for t in THETA for f in (math.cos, math.sin)])

    def bound(share):
        return math.sqrt(c @ np.linalg.solve(share * grid + (1 - share) * box, c))

    found = minimize_scalar(bound, bounds=(0.0, 1 - 1e-9), method="bounded", options={"xatol": 0})
    return min(found.fun, bound(0.0))


def naive(layer, head, seed, draws):
    """One head's columns, by loops."""
    places, spans, asked = drawn(layer, head, seed, draws)
    keys = layer.keys[head // 2]
    hs = [
        [SCALING * a * b.conjugate() for a, b in zip(layer.queries[head, m], keys[n], strict=True)]
        for m, n in places
    ]
    squares = {"own": [score(h, m - n) ** 2 for h, (m, n) in zip(hs, places, strict=True)]}
    for end, part in zip((1, 2, 4, 8), np.split(spans.mass, 4), strict=True):
        squares[end] = [score(h, s) ** 2 for h in hs for s in part]
    want = {f"rms_{end}": math.sqrt(np.mean(values)) for end, values in squares.items()}
    moments = [np.mean([abs(h[j]) ** 2 for h in hs]) for j in range(3)]
    want["rms_predicted"] = math.sqrt(sum(moments) / 2)
    bent = [(1 - math.cos(t / 2)) ** 2 for t in THETA]  # |e^{i t/2} - (1 + e^{i t})/2|^2
    want["rms_deviation_predicted"] = math.sqrt(np.dot(moments, bent) / 2)
    gaps = [
        score(h, s) - (score(h, s - 0.5) + score(h, s + 0.5)) / 2 for h in hs for s in spans.chord
    ]
    want["rms_deviation"] = math.sqrt(np.mean(np.square(gaps)))
    best, index, span = max(
        (score(h, s), -i, s) for i, h in enumerate(hs) for s in range(WINDOW, 2 * WINDOW)
    )
    want |= {"beyond_score": best, "beyond_span": span}
    want |= {"beyond_query": places[-index][0], "beyond_key": places[-index][1]}
    trained = max(abs(score(h, n)) for h in hs for n in range(WINDOW))
    want["ceiling"] = closed_form(span, max(abs(x) for h in hs for x in h), trained)
    values = {name: [] for name in attention.SHIFTS}
    for m in asked:
        rows = {"pi": [], "chord": [], "plain": [], "magnitude": [], "weighted": []}
        for n in range(m + 1):
            q, s = layer.queries[head, m], (m - n) / 2
            h = [SCALING * a * b.conjugate() for a, b in zip(q, keys[n], strict=True)]
            u, size = s - math.floor(s), [abs(x) for x in h]
            ends = score(h, math.floor(s)), score(h, math.floor(s) + 1)
            rows["pi"].append(score(h, s))
            rows["chord"].append((1 - u) * ends[0] + u * ends[1])
            rows["plain"].append(score(h, m - n))
            off = [abs(np.exp(1j * u * t) - (1 - u) - u * np.exp(1j * t)) for t in THETA]
            rows["magnitude"].append(np.dot(size, off))
            rows["weighted"].append(u * (1 - u) / 2 * np.dot(size, np.square(THETA)))
        cap = layer.softcap
        pi, chord, plain = (
            row if cap is None else [cap * math.tanh(x / cap) for x in row]
            for row in (rows["pi"], rows["chord"], rows["plain"])
        )
        values["logit_move"].append(max(abs(a - b) for a, b in zip(pi, chord, strict=True)))
        values["from_chords"].append(variation(pi, chord))
        values["from_unextended"].append(variation(pi, plain))
        for form, name in (("magnitude", "bound"), ("weighted", "weighted_bound")):
            delta = max(rows[form])
            values[f"delta_{form}"].append(delta)
            values[f"from_chords_{name}"].append((math.exp(delta) - 1) / (math.exp(delta) + 1))
    for name, sample in values.items():
        want[f"{name}_median"], want[f"{name}_max"] = np.median(sample), max(sample)
        want[f"{name}_p95"] = np.quantile(sample, 0.95)
    pairs = zip(values["from_chords"], values["from_chords_bound"], strict=True)
    want["from_chords_ratio"] = max(a / b for a, b in pairs if b)
    return want, [max(abs(h[j]) for h in hs) for j in range(3)]


@pytest.mark.parametrize("draws", [1, 3])
def test_every_column_is_what_naive_loops_give(layer, draws):
    measured = statistics.layer_statistics(layer, seed=5, draws=draws)
    prefixes = ("beyond_", "ceiling", "rms_", "logit_move", "delta_", "from_")
    for head in range(4):
        want, largest = naive(layer, head, 5, draws)
        assert set(want) == {name for name in measured.table if name.startswith(prefixes)}
        for name, value in want.items():
            close = pytest.approx(value, rel=1e-7 if name == "ceiling" else 1e-11, abs=1e-12)
            assert measured.table[name][head] == close, name
        np.testing.assert_allclose(measured.pair_largest[head], largest, rtol=1e-13)


def test_the_orders_that_are_theorems(rng):
    """observed <= magnitude <= weighted before the softmax and after it, and nothing vacuous."""
    spec = pia.RopeSpec(16, 100.0, 64)
    layer = synthetic(rng, spec=spec, tokens=90, size=1.0)
    table = statistics.layer_statistics(layer, seed=0).table
    for level in ("median", "p95", "max"):
        chain = ["logit_move", "delta_magnitude", "delta_weighted"]
        move, magnitude, weighted = (table[f"{name}_{level}"] for name in chain)
        assert (move <= magnitude).all()
        assert (magnitude < weighted).all()
        chain = ["from_chords", "from_chords_bound", "from_chords_weighted_bound"]
        seen, bound, loose = (table[f"{name}_{level}"] for name in chain)
        assert (seen < bound).all()
        assert (bound < loose).all()
        # The other distance is no deviation from a chord, and goes far above the bound.
        assert (table[f"from_unextended_{level}"] > 1.5 * seen).all()
    assert (table["from_chords_ratio"] < 1.0).all()
    assert (table["from_chords_ratio"] > 0.05).all()
    assert (table["from_unextended_max"] > 0.3).all()


def test_independent_phases_are_predicted_and_tied_ones_are_not(rng):
    spec = pia.RopeSpec(16, 100.0, 64)
    layer = synthetic(rng, spec=spec, tokens=300)
    table = statistics.layer_statistics(layer, seed=0).table
    for name in ("rms_own", "rms_1", "rms_2", "rms_8"):
        assert table[name] == pytest.approx(table["rms_predicted"], rel=0.12)
    assert table["rms_deviation"] == pytest.approx(table["rms_deviation_predicted"], rel=0.12)
    # All phases 0: at span 0 the score is the sum of |h_j|, and slow pairs still add up near it.
    layer.queries = np.abs(layer.queries) + 0j
    layer.keys = np.abs(layer.keys) + 0j
    tied = statistics.layer_statistics(layer, seed=0).table
    assert (tied["rms_1"] > 1.1 * tied["rms_predicted"]).all()
    assert (tied["beyond_span"] >= 64).all()
    assert tied["beyond_score"] == pytest.approx(tied["peak_2_max"], rel=1e-12)
    assert tied["rms_8"] == pytest.approx(tied["rms_predicted"], rel=0.2)


def test_queries_stay_where_every_chord_has_trained_ends(rng):
    assert attention.draw_queries(5, 13, rng).tolist() == [0, 1, 2, 3, 4]
    assert attention.draw_queries(1000, 13, rng).tolist() == list(
        range(25)
    )  # 2 (L - 1) is the last
    drawn = attention.draw_queries(1000, 8192, rng)
    assert len(set(drawn.tolist())) == attention.QUERIES
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() < 1000


def solved(spec, head):
    """The one-sided worst case with |h_j| in a polygon of 64 sides: a linear programme."""
    low, high, most, span = head
    waves = np.exp(1j * np.outer(np.arange(spec.context_window), spec.frequencies))
    grid = np.concatenate([waves.real, -waves.imag], axis=1)
    turn = np.exp(1j * span * spec.frequencies)
    goal = np.concatenate([turn.real, -turn.imag])
    sides = [
        [
            (j % spec.pairs == i) * (math.cos(a) if j < spec.pairs else math.sin(a))
            for j in range(2 * spec.pairs)
        ]
        for i in range(spec.pairs)
        for a in 2 * math.pi * np.arange(64) / 64
    ]
    rows = np.concatenate([grid, -grid, sides])
    size = spec.context_window
    limits = np.concatenate([np.full(size, high), np.full(size, -low), np.full(len(sides), most)])
    return -linprog(-goal, A_ub=rows, b_ub=limits, bounds=(None, None)).fun


def test_permitted_scores_against_a_linear_programme(rng):
    spec = pia.RopeSpec(8, 100.0, 24)
    layers = [synthetic(rng, spec=spec, layer=n, tokens=12) for n in (0, 2)]
    for layer in layers:  # phases that make most trained scores negative
        layer.queries = -np.abs(layer.queries) * np.exp(0.3j * rng.normal(size=layer.queries.shape))
        layer.keys = np.abs(layer.keys) + 0j
    measured = statistics.combine([statistics.layer_statistics(x, seed=0) for x in layers])
    found = permitted.permitted_scores(measured)
    assert found.layer.tolist() == [0, 2]
    assert found.draws == 12
    table = measured.table
    for row, layer in enumerate(found.layer):
        inside = table["layer"] == layer
        growth = table["beyond_score"] / table["peak_1_max"]
        assert found.head[row] == growth[inside].argmax()
        index = int(np.flatnonzero(inside)[int(found.head[row])])
        assert found.low[row] == table["dip_1_min"][index]
        assert found.high[row] == table["peak_1_max"][index]
        assert found.observed[row] == table["beyond_score"][index]
        assert -found.low[row] > found.high[row]
        most, span = found.max_coefficient[row], found.span[row]
        one = solved(spec, (found.low[row], found.high[row], most, span))
        size = -found.low[row]
        two = solved(spec, (-size, size, most, span))
        assert found.one_sided[row] == pytest.approx(one, rel=2e-3)
        assert found.two_sided[row] == pytest.approx(two, rel=2e-3)
        assert found.one_sided[row] < 0.99 * found.two_sided[row]
        assert found.in_phase[row] == pytest.approx(measured.pair_largest[index].sum())
    assert (found.observed <= found.one_sided).all()
    assert (found.one_sided_upper <= found.two_sided_upper).all()
    assert (found.two_sided_upper <= found.ceiling * (1 + 1e-12)).all()
    assert (found.observed <= found.pairwise).all()
    assert (found.pairwise <= found.in_phase * (1 + 1e-12)).all()
    assert (found.ceiling <= found.max_coefficient * 4 * (1 + 1e-12)).all()


def test_a_window_too_long_is_held_by_what_is_in_phase(rng, monkeypatch):
    layer = synthetic(rng)
    plain = statistics.combine([statistics.layer_statistics(layer, seed=0)])
    monkeypatch.setattr(head_limits, "holds", lambda _: False)
    monkeypatch.setattr(permitted, "holds", lambda _: False)
    measured = statistics.combine([statistics.layer_statistics(layer, seed=0)])
    assert measured.table["ceiling"] == pytest.approx(3 * measured.table["coefficient_max"])
    assert (plain.table["ceiling"] <= measured.table["ceiling"]).all()
    assert permitted.permitted_scores(measured) is None


def test_a_head_of_zeros_is_left_out(rng):
    layer = synthetic(rng, heads=2, groups=1)
    layer.queries[:] = 0.0
    measured = statistics.combine([statistics.layer_statistics(layer, seed=0)])
    assert permitted.permitted_scores(measured) is None
    assert measured.table["ceiling"].tolist() == [0.0, 0.0]
