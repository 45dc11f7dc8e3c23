"""Statistics of heads: every column against naive loops over rotated vectors; nothing vacuous."""

import io
import json
import math
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest
from oracles import chord_gap, score, theta
from tiny import HEADS, SCALING, synthetic

import pianalysis as pia
from pianalysis.heads import cells, sampled, search, statistics, summary, sweep
from pianalysis.scores import kernels

SPEC = HEADS
RANGES = ((0, 13), (13, 26), (26, 52), (52, 104))


@pytest.fixture(params=[None, 1.5])
def layer(request, rng):
    return synthetic(rng, softcap=request.param)


def rotated(x, position):
    """The vector (2 d/2 real numbers) of pairs x turned to a position, by 2 x 2 rotations."""
    out = []
    for j, pair in enumerate(x):
        angle = position * SPEC.base ** (-2 * j / SPEC.rotary_dim)
        out.append(math.cos(angle) * pair.real - math.sin(angle) * pair.imag)
        out.append(math.sin(angle) * pair.real + math.cos(angle) * pair.imag)
    return out


def logit(q, k, m, n):
    """Scaled dot product of a query rotated to position m and a key rotated to n."""
    return SCALING * sum(a * b for a, b in zip(rotated(q, m), rotated(k, n), strict=True))


def capped(value, softcap):
    return value if softcap is None else softcap * math.tanh(value / softcap)


def drawn(layer, head, seed, draws):
    """The queries, keys and spans of one head, drawn anew in the documented way."""
    rng = np.random.default_rng([seed, layer.layer, head])
    spans = sampled.draw_spans(layer.spec.context_window, rng)
    at = [m for m in range(layer.queries.shape[1]) for _ in range(draws)]
    return list(zip(at, rng.integers(0, np.array(at) + 1).tolist(), strict=True)), spans


def naive(layer, head, seed=0, draws=1):
    """One row a draw, by loops over rotated vectors; query and key heads as models share them."""
    kv = {0: 0, 1: 0, 2: 1, 3: 1}[head]
    places, spans = drawn(layer, head, seed, draws)
    base, d, window = SPEC.base, SPEC.rotary_dim, SPEC.context_window
    rows = []
    for m, n in places:
        q, k = layer.queries[head, m], layer.keys[kv, n]
        size = [SCALING * abs(a) * abs(b) for a, b in zip(q, k, strict=True)]
        row = {"query": m, "key": n, "coefficient": max(size), "total": sum(size)}
        for end, (first, last) in zip((1, 2, 4, 8), RANGES, strict=True):
            scores = [logit(q, k, s, 0) for s in range(first, last)]
            row[f"peak_{end}"], row[f"dip_{end}"] = max(scores), min(scores)
            row[f"excess_{end}"] = max(scores) - row["peak_1"]
        inside = max(abs(logit(q, k, s, 0)) for s in range(window))
        row["cancellation"], row["limit"] = sum(size) / inside, max(size) / inside
        outside = [abs(logit(q, k, s, 0)) for s in range(window, 8 * window)]
        row["growth"] = max(outside) / inside
        gaps = [
            abs(logit(q, k, s, 0) - (logit(q, k, s - 0.5, 0) + logit(q, k, s + 0.5, 0)) / 2)
            for s in spans.chord
        ]
        row["deviation"], row["span"] = max(gaps), spans.chord[int(np.argmax(gaps))]
        squares = [base ** (-4 * j / d) for j in range(d // 2)]
        curves = [abs(np.exp(1j * r**0.5 * 0.5) - (1 + np.exp(1j * r**0.5)) / 2) for r in squares]
        row["paper_bound"] = d * max(size) / (32 * math.log(base))
        row["corrected_bound"] = max(size) / 8 * sum(squares)
        row["sharp_bound"] = max(size) * sum(curves)
        row["weighted_bound"] = sum(a * b for a, b in zip(size, squares, strict=True)) / 8
        for form in ("paper", "corrected", "sharp", "weighted"):
            row[f"{form}_violations"] = sum(gap > row[f"{form}_bound"] for gap in gaps)
        row["share"] = [a / sum(size) for a in size]
        logits = [
            capped(logit(layer.queries[head, m], layer.keys[kv, i], m, i), layer.softcap)
            for i in range(m + 1)
        ]
        others = sum(math.exp(x) for i, x in enumerate(logits) if i != n)
        row["mass_own"] = math.exp(logits[n]) / (others + math.exp(logits[n]))
        for end, part in zip((1, 2, 4, 8), np.split(spans.mass, 4), strict=True):
            moved = [math.exp(capped(logit(q, k, s, 0), layer.softcap)) for s in part]
            row[f"mass_{end}"] = np.mean([x / (others + x) for x in moved])
        rows.append(row)
    return rows


def searched(layer, head):
    """The furthest of all queries, causal keys and half-integer spans, by loops over everything."""
    kv, theta_j = head // 2, [SPEC.base ** (-2 * j / 6) for j in range(3)]
    reaches, best = [], {"ratio": -1.0}
    for m in range(layer.queries.shape[1]):
        of_query = []
        for n in range(m + 1):
            q, k = layer.queries[head, m], layer.keys[kv, n]
            size = [SCALING * abs(a) * abs(b) for a, b in zip(q, k, strict=True)]
            bound = 6 * max(size) / (32 * math.log(50.0))
            bent = [x * (1 - math.cos(t / 2)) for x, t in zip(size, theta_j, strict=True)]
            of_query.append((sum(bent) / bound, n, bound))
        reaches += [reach for reach, _, _ in of_query]
        _, n, bound = max(of_query)
        q, k = layer.queries[head, m], layer.keys[kv, n]
        for s in np.arange(0.5, 12.0):
            chord = (logit(q, k, s - 0.5, 0) + logit(q, k, s + 0.5, 0)) / 2
            gap = abs(logit(q, k, s, 0) - chord)
            if gap / bound > best["ratio"]:
                best = {"ratio": gap / bound, "query": m, "key": n, "span": s}
                best |= {"deviation": gap, "bound": bound}
    out = {"reach": max(reaches), "reach_above": sum(reach > 1 for reach in reaches)}
    return out | {f"found_{name}": value for name, value in best.items()}


@pytest.mark.parametrize("draws", [1, 3])
def test_every_column_is_what_naive_loops_give(layer, draws):
    table = statistics.layer_statistics(layer, seed=5, draws=draws).table
    wavelengths = [2 * math.pi * SPEC.base ** (2 * j / 6) for j in range(3)]
    # What stands beyond the window, after the softmax and on average: test_limits.py.
    elsewhere = ("beyond_", "ceiling", "rms_", "logit_move", "delta_", "from_")
    unchecked = {name for name in table if not name.startswith(elsewhere)}
    for head in range(4):
        rows = naive(layer, head, 5, draws)
        sample = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        want = {"layer": 3, "head": head, "base": 50.0, "scaling": SCALING}
        want["softcap"] = layer.softcap or 0.0
        for name in sampled.COUNTED:
            low = name.startswith("dip")
            want[f"{name}_median"] = np.quantile(sample[name], 0.5)
            want[f"{name}_p05" if low else f"{name}_p95"] = np.quantile(
                sample[name], 0.05 if low else 0.95
            )
            want[f"{name}_min" if low else f"{name}_max"] = (
                sample[name].min() if low else sample[name].max()
            )
        for form in ("paper", "corrected", "sharp", "weighted"):
            ratios = sample["deviation"] / sample[f"{form}_bound"]
            want[f"{form}_violations"] = sample[f"{form}_violations"].sum()
            want[f"{form}_ratio"] = ratios.max()
            if form == "paper":
                row = rows[int(ratios.argmax())]
                want |= {f"witness_{name}": row[name] for name in ("query", "key", "span")}
                want |= {"witness_deviation": row["deviation"], "witness_bound": row["paper_bound"]}
        want["growth_limit"] = rows[int(sample["growth"].argmax())]["limit"]
        share = sample["share"].mean(axis=0)
        want |= {"main_pair": share.argmax(), "main_share": share.max()}
        want["slow_share"] = sum(x for x, w in zip(share, wavelengths, strict=True) if w > 13)
        for end in ("own", "1", "2", "4", "8"):
            want[f"mass_{end}"] = sample[f"mass_{end}"].mean()
        want |= searched(layer, head)
        for name, value in want.items():
            assert table[name][head] == pytest.approx(value, rel=1e-11, abs=1e-12), name
            unchecked.discard(name)
    assert not unchecked


def test_the_witness_at_50_digits(layer):
    table = statistics.layer_statistics(layer, seed=0).table
    frequencies = theta(50.0, 6)
    for head in range(4):
        m, n = int(table["witness_query"][head]), int(table["witness_key"][head])
        h = SCALING * layer.queries[head, m] * layer.keys[head // 2, n].conj()
        s = table["witness_span"][head]
        gap = chord_gap(frequencies, h, s - 0.5, s, s + 0.5)
        assert abs(float(gap) - table["witness_deviation"][head]) < 1e-14 * np.abs(h).sum()
        bound = mp.mpf(6) * max(abs(x) for x in h) / (32 * mp.log(50))
        assert table["witness_bound"][head] == pytest.approx(float(bound), rel=1e-14)


@pytest.mark.parametrize("window", [2, 3, 511, 512, 1500])
@pytest.mark.parametrize("dim", [2, 10, 64])
def test_extremes_are_those_of_every_integer(window, dim, rng):
    spec = pia.RopeSpec(dim, 10_000.0, window)
    h = rng.normal(size=(5, dim // 2)) + 1j * rng.normal(size=(5, dim // 2))
    high, low = sweep.score_extremes(spec, h)
    slack = dim * np.finfo(float).eps * np.abs(h).sum(axis=1)
    for index, (first, last) in enumerate(sweep.RANGES):
        scores = pia.attention_score(spec, h, np.arange(first * window, last * window, dtype=float))
        assert (np.abs(scores.max(axis=1) - high[:, index]) <= slack).all()
        assert (np.abs(scores.min(axis=1) - low[:, index]) <= slack).all()


def test_scores_are_those_of_the_library(rng):
    h = rng.normal(size=(7, 3)) + 1j * rng.normal(size=(7, 3))
    spans = rng.integers(0, 10**6, 50) + 0.5
    want = pia.attention_score(SPEC, h, spans)
    np.testing.assert_allclose(sweep.scores(SPEC, h, spans), want, rtol=0, atol=1e-14)


def test_the_search_covers_long_windows_and_all_threads(rng):
    spec = pia.RopeSpec(6, 1e9, 20_000)
    q, k = rng.normal(size=(2, 150, 3)) + 1j * rng.normal(size=(2, 150, 3))
    furthest = search.search(spec, q, k)
    m, n = int(furthest["found_query"]), int(furthest["found_key"])
    assert n <= m
    s = np.arange(0.5, 19_999.0)
    h = q[m] * k[n].conj()
    ends = pia.attention_score(spec, h, s - 0.5) + pia.attention_score(spec, h, s + 0.5)
    gaps = np.abs(pia.attention_score(spec, h, s) - ends / 2)
    assert furthest["found_deviation"] == pytest.approx(gaps.max(), abs=1e-14)
    assert furthest["found_span"] == s[gaps.argmax()]
    bound = pia.interpolation_bound(spec, 0.5, h, form="paper")
    assert furthest["found_bound"] == pytest.approx(float(bound), rel=1e-14)
    assert furthest["found_ratio"] <= furthest["reach"]


def test_extremes_at_50_digits_far_outside(rng):
    spec = pia.RopeSpec(8, 10_000.0, 100_000)
    h = rng.normal(size=(1, 4)) + 1j * rng.normal(size=(1, 4))
    high, _ = sweep.score_extremes(spec, h)
    spans = np.arange(400_000.0, 800_000.0)
    at = spans[pia.attention_score(spec, h[0], spans).argmax()]
    assert high[0, 3] == pytest.approx(float(score(theta(10_000.0, 8), h[0], at)), abs=1e-14)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_log_sums_over_several_blocks_of_keys(softcap, rng, monkeypatch):
    monkeypatch.setattr(sweep, "_KEYS", 8)
    q, k = rng.normal(size=(2, 30, 3)) + 1j * rng.normal(size=(2, 30, 3))
    sums = sweep.causal_log_sums(SPEC, SCALING * q, k, softcap)
    for m in range(30):
        terms = [mp.exp(capped(logit(q[m], k[n], m, n), softcap)) for n in range(m + 1)]
        assert sums[m] == pytest.approx(float(mp.log(sum(terms))), abs=1e-13)


def test_log_sums_do_not_overflow(rng):
    q = np.full((6, 3), 1000.0 + 0j)
    sums = sweep.causal_log_sums(SPEC, q, q, None)
    assert np.isfinite(sums).all()
    assert sums[0] == pytest.approx(3e6)


def test_draws_are_where_they_must_be(rng):
    for window in (2, 13, 8192):
        edges = sampled.band_edges(window)
        assert {1.0, window, 2 * window, 4 * window, 8 * window} <= set(edges)
        assert (np.diff(edges) >= 1).all()
        spans = sampled.draw_spans(window, rng)
        assert (spans.chord % 1 == 0.5).all()
        assert spans.chord.min() >= 0.5
        assert spans.chord.max() <= window - 1.5
        for part, (first, last) in zip(np.split(spans.mass, 4), sweep.RANGES, strict=True):
            assert (part % 1 == 0).all()
            assert first * window <= part.min() <= part.max() < last * window
        bands = spans.bands.reshape(len(edges) - 1, -1)
        assert (bands >= edges[:-1, None]).all()
        assert (bands < edges[1:, None]).all()


def test_keys_are_drawn_from_the_whole_causal_context(rng):
    layer = synthetic(rng, tokens=40)
    places, _ = drawn(layer, 0, 0, 50)
    keys = [n for m, n in places if m == 9]
    assert set(keys) == set(range(10))
    assert all(n <= m for m, n in places)


def test_heads_and_layers_draw_for_themselves(rng):
    layer = synthetic(rng, heads=2, groups=1)
    layer.queries[1] = layer.queries[0]
    here = statistics.layer_statistics(layer, seed=0).table
    assert here["deviation_median"][0] != here["deviation_median"][1]
    layer.layer = 4
    there = statistics.layer_statistics(layer, seed=0).table
    assert here["deviation_median"][0] != there["deviation_median"][0]
    layer.layer = 3
    assert statistics.layer_statistics(layer, seed=1).table["deviation_median"][0] not in (
        here["deviation_median"][0],
        there["deviation_median"][0],
    )


def test_quantiles_of_counts_are_those_of_the_values(rng):
    values = np.sinh(rng.normal(0.0, 3.0, size=(20_001, 2)))
    count = cells.counts(values)
    assert (count.sum(axis=1) == len(values)).all()
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    measured = cells.quantiles(count, levels)
    want = np.quantile(values, levels, axis=0).T
    assert (np.abs(measured - want) <= 0.021 * np.abs(want) + 0.0002).all()
    assert np.abs(cells.quantiles(cells.counts(np.array([[1e12]])), (0.5,))) > 1e6


def test_bands_and_overall_quantiles_against_all_values(rng):
    layers = [synthetic(rng, tokens=60, layer=number) for number in (0, 1)]
    parts = [statistics.layer_statistics(layer, seed=0) for layer in layers]
    measured = statistics.combine(parts)
    scores, peaks = {}, []
    for layer in layers:
        for head in range(4):
            places, spans = drawn(layer, head, 0, 1)
            for m, n in places:
                q, k = layer.queries[head, m], layer.keys[head // 2, n]
                for index, s in enumerate(spans.bands):
                    scores.setdefault(index // 4, []).append(logit(q, k, s, 0))
                peaks.append(max(logit(q, k, s, 0) for s in range(13, 26)))
    bands = measured.bands
    assert len(bands.first) == len(scores)
    assert (bands.first[1:] == bands.last[:-1] + 1).all()
    assert (bands.first[0], bands.last[-1]) == (1, 103)
    for index in scores:
        sample = scores[index]
        # A quantile of few values lies anywhere between two of them: compare by rank.
        for level, name in ((0.05, "p05"), (0.5, "median"), (0.95, "p95")):
            value = getattr(bands, name)[index]
            slack = 0.011 * abs(value) + 1e-4
            assert np.mean(np.array(sample) < value - slack) <= level + 1e-9
            assert np.mean(np.array(sample) <= value + slack) >= level - 1e-9
    row = measured.overall.quantity.index("peak_2")
    assert measured.overall.median[row] == pytest.approx(np.median(peaks), rel=0.02)
    assert measured.overall.extreme[row] == pytest.approx(max(peaks), rel=1e-12)
    row = measured.overall.quantity.index("dip_1")
    assert measured.overall.extreme[row] == measured.table["dip_1_min"].min()


def test_work_grows_with_the_tokens_alone(rng, monkeypatch):
    done = []
    run = kernels.score_extremes

    def counted(high, low, re, im, turn_re, *rest):
        done.append(len(re) * len(turn_re))
        run(high, low, re, im, turn_re, *rest)

    monkeypatch.setattr(kernels, "score_extremes", counted)
    work = []
    for tokens, draws in ((64, 1), (256, 1), (64, 4)):
        done.clear()
        statistics.layer_statistics(synthetic(rng, tokens=tokens), seed=0, draws=draws)
        work.append(sum(done))
    assert work[1] == work[2] == 4 * work[0] > 0


def test_draws_are_measured_in_blocks_of_one_size(rng, monkeypatch):
    layer = synthetic(rng, tokens=50)
    whole = statistics.layer_statistics(layer, seed=0).arrays()
    sizes = []
    measure = sampled.measure

    def watched(spec, h, spans):
        sizes.append(len(h))
        return measure(spec, h, spans)

    monkeypatch.setattr(sampled, "measure", watched)
    monkeypatch.setattr("pianalysis.heads.layer._ROWS", 16)
    cut = statistics.layer_statistics(layer, seed=0).arrays()
    assert max(sizes) == 16
    assert sum(sizes) == 4 * 50
    for name, value in whole.items():
        np.testing.assert_allclose(cut[name], value, rtol=1e-12, atol=1e-13)


def test_same_bytes_twice_and_for_any_number_of_threads(layer, monkeypatch):
    def output(cores):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
        measured = statistics.combine([statistics.layer_statistics(layer, seed=2)])
        return measured.csv() + measured.json()

    assert output(1) == output(1) == output(3)


def test_a_layer_survives_npz_and_json(layer):
    part = statistics.layer_statistics(layer, seed=1, draws=2)
    out = io.BytesIO()
    np.savez_compressed(out, **part.arrays())
    out.seek(0)
    text = json.dumps({name: np.asarray(value).tolist() for name, value in part.arrays().items()})
    for stored in (np.load(out), json.loads(text)):
        again = statistics.LayerStatistics.from_arrays(stored)
        assert (again.layer, again.spec, again.seed) == (part.layer, part.spec, part.seed)
        assert (again.tokens, again.draws) == (part.tokens, part.draws)
        assert statistics.combine([again]).csv() == statistics.combine([part]).csv()
        assert statistics.combine([again]).json() == statistics.combine([part]).json()


def test_combine_sorts_layers_and_checks_them(rng):
    parts = [
        statistics.layer_statistics(synthetic(rng, layer=number), seed=0) for number in (0, 1, 2)
    ]
    measured = statistics.combine(parts)
    assert measured.columns()["layer"] == [0] * 4 + [1] * 4 + [2] * 4
    assert measured.columns()["head"] == [0, 1, 2, 3] * 3
    assert measured.pair_share.shape == (12, 3)
    assert measured.pair_share.sum(axis=1) == pytest.approx(1.0)
    assert statistics.combine(parts[::-1]).csv() == measured.csv()
    body = json.loads(measured.json())
    assert body["meanings"]["growth"].startswith("max |a(s)|")
    assert body["ranges"] == [[0, 1], [1, 2], [2, 4], [4, 8]]
    assert len(measured.csv().splitlines()) == 13
    with pytest.raises(ValueError, match=r"layers must differ, got \[1, 1\]"):
        statistics.combine([parts[1], parts[1]])
    with pytest.raises(ValueError, match="at least one layer"):
        statistics.combine([])
    other = statistics.layer_statistics(synthetic(rng, layer=3), seed=1)
    with pytest.raises(ValueError, match="layers must share"):
        statistics.combine([parts[0], other])


def test_every_column_has_a_meaning(layer):
    known = set(statistics.MEANINGS)
    for name in statistics.layer_statistics(layer, seed=0).table:
        if name in ("layer", "head", "base", "scaling"):
            continue
        if name.startswith(("witness", "found", "beyond")):
            continue
        stem = name.rsplit("_", 1)[0] if name.endswith(_SUFFIXES) else name
        if stem in known:
            continue
        for form in ("paper", "corrected", "sharp", "weighted", "magnitude"):
            stem = stem.replace(f"{form}_", "FORM_").replace(f"delta_{form}", "delta_FORM")
        if stem[-1].isdigit():
            stem = stem[:-1] + "K"
        assert {stem, name, "main_pair" if stem == "main_share" else stem} & known, name


_SUFFIXES = ("_median", "_p05", "_p95", "_min", "_max")


def test_a_head_of_zeros_has_no_ratios_and_no_nan(rng):
    layer = synthetic(rng)
    layer.queries[1] = 0.0
    measured = statistics.layer_statistics(layer, seed=0)
    assert all(np.isfinite(column).all() for column in measured.table.values())
    for name in ("growth_max", "limit_max", "cancellation_max", "paper_ratio", "main_share"):
        assert measured.table[name][1] == 0.0
        assert measured.table[name][0] > 0.0
    assert measured.table["mass_own"][1] == pytest.approx(np.mean([1 / m for m in range(1, 8)]))


def test_large_logits_overflow_nothing(rng):
    table = statistics.layer_statistics(synthetic(rng, size=100.0), seed=0).table
    assert all(np.isfinite(column).all() for column in table.values())
    assert (table["mass_own"] <= 1.0).all()


def test_the_paper_form_can_be_violated_and_is_counted():
    spec = pia.RopeSpec(128, 10_000.0, 2)
    # h_j = e^{-i theta_j / 2}: every term curves together at s = 1/2, the only chord of L = 2.
    keys = np.exp(0.5j * spec.frequencies).reshape(1, 1, -1)
    layer = SimpleNamespace(
        layer=0,
        queries=np.ones((1, 1, 64), complex),
        keys=keys,
        spec=spec,
        scaling=1.0,
        softcap=None,
    )
    measured = statistics.combine([statistics.layer_statistics(layer, seed=0)])
    assert measured.table["paper_violations"] == [measured.chord_spans]
    assert measured.table["paper_ratio"][0] == pytest.approx(0.493876 / 0.434294, rel=1e-5)
    assert measured.table["sharp_violations"] == measured.table["weighted_violations"] == [0.0]
    assert measured.table["sharp_ratio"][0] == pytest.approx(1.0, abs=1e-12)
    told = summary.summarise(measured)
    assert told.bounds.violations.tolist() == [64.0, 0.0, 0.0, 0.0]
    assert told.reach_above == 1
    assert told.found["deviation"] == told.witness["deviation"]
    assert (told.witness["query"], told.witness["key"], told.witness["span"]) == (0, 0, 0.5)


def test_summary_says_what_the_table_holds(rng):
    layers = [synthetic(rng, layer=number) for number in (0, 1)]
    measured = statistics.combine([statistics.layer_statistics(x, seed=0, draws=2) for x in layers])
    told = summary.summarise(measured)
    assert (told.heads, told.sampled) == (8, 8 * 7 * 2)
    assert told.bounds.checked == 112 * 64
    assert sum(told.main_pairs.values()) == 8
    most = measured.table["excess_2_median"].argmax()
    assert (told.most_excess["layer"], told.most_excess["head"]) == (most // 4, most % 4)
    worst = measured.table["paper_ratio"].argmax()
    assert told.witness["deviation"] == measured.table["witness_deviation"][worst]
    assert told.moved["4"] == pytest.approx(measured.table["mass_4"].mean())
    text = summary.text(told)
    assert "8 heads, 112 pairs of 7 tokens, window 13, seed 0" in text
    assert f"{measured.overall.median[0]:.4g}" in text
    json.loads(told.json())


def test_normalised_draws_lie_below_the_worst_case(rng):
    spec = pia.RopeSpec(16, 100.0, 64)
    curve = summary.worst_case_curve(spec, 96.0, [0.2, 0.5, 1.0, 2.0])
    assert (np.diff(curve.value) > 0).all()
    assert (curve.lower <= curve.upper).all()
    h = rng.normal(size=(300, 8)) + 1j * rng.normal(size=(300, 8))
    inside = np.abs(pia.attention_score(spec, h, np.arange(64.0))).max(axis=1)
    limit = np.abs(h).max(axis=1) / inside
    there = np.abs(pia.attention_score(spec, h, 96.0)) / inside
    for value, upper in zip(curve.max_coefficient, curve.upper, strict=True):
        below = limit <= value
        assert (there[below] <= upper).all()
    with pytest.raises(ValueError, match="max_coefficients must hold at least one value"):
        summary.worst_case_curve(spec, 96.0, [])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queries": np.ones((4, 7, 2), complex)}, ValueError, "queries must have its last axis"),
        ({"queries": np.ones((7, 3), complex)}, ValueError, "queries and keys must have shape"),
        ({"queries": np.ones((4, 0, 3), complex)}, ValueError, "none of them 0"),
        ({"queries": np.ones((4, 6, 3), complex)}, ValueError, "must have the same tokens"),
        ({"queries": np.ones((3, 7, 3), complex)}, ValueError, "a multiple of key-value heads"),
        ({"keys": np.full((2, 7, 3), np.nan)}, ValueError, "keys must be finite"),
        ({"spec": "llama"}, TypeError, "spec must be a RopeSpec"),
        ({"spec": pia.RopeSpec(6, 50.0, 1)}, ValueError, "context_window must be at least 2"),
        ({"scaling": 0.0}, ValueError, "scaling must be a finite number above 0"),
        ({"softcap": -1.0}, ValueError, "softcap must be a finite number above 0"),
        ({"layer": -1}, ValueError, "layer must be an integer of at least 0"),
    ],
)
def test_bad_layers_are_named(change, error, message, rng):
    layer = synthetic(rng)
    vars(layer).update(change)
    with pytest.raises(error, match=message):
        statistics.layer_statistics(layer, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": 0, "draws": 0}, "draws must be an integer from 1 to 1024"),
        ({"seed": 0, "draws": 2000}, "draws must be an integer from 1 to 1024"),
    ],
)
def test_bad_settings_are_named(arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        statistics.layer_statistics(synthetic(rng), **arguments)
