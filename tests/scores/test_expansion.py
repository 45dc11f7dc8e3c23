"""Coefficients and scores against actually rotating q and k in torch, and against 50 digits."""

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pianalysis as pia


@pytest.mark.parametrize("layout", ["interleaved", "half"])
@pytest.mark.parametrize(("dim", "base"), [(2, 10.0), (64, 1e5), (128, 1e4), (256, 1e6)])
def test_score_equals_rotating_in_torch(rng, layout, dim, base):
    spec = pia.RopeSpec(dim, base, 2048)
    for _ in range(20):
        q, k = rng.standard_normal((2, dim))
        m, n = rng.integers(0, 4096, 2)
        h = pia.score_coefficients(q, k, layout=layout)
        expected = oracles.rotated_score(q, k, m, n, spec.frequencies, layout)
        assert abs(pia.attention_score(spec, h, m - n) - expected) <= 1e-12 * np.abs(h).sum()


def test_layouts_differ(rng):
    q, k = rng.standard_normal((2, 8))
    assert not np.allclose(pia.score_coefficients(q, k), pia.score_coefficients(q, k, "half"))


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_torch_and_numpy_agree_and_torch_differentiates(rng, layout):
    q, k = rng.standard_normal((2, 3, 5, 16))
    h = pia.score_coefficients(q, k, layout=layout)
    leaf = torch.tensor(q, requires_grad=True)
    ours = pia.score_coefficients(leaf, torch.tensor(k), layout=layout)
    assert ours.dtype == torch.complex128
    assert np.allclose(ours.detach().numpy(), h, rtol=1e-14, atol=1e-15)
    ours.abs().sum().backward()
    assert bool(torch.isfinite(leaf.grad).all())
    single = pia.score_coefficients(torch.tensor(q).float(), torch.tensor(k).float(), layout=layout)
    assert single.dtype == torch.complex64


def test_one_query_against_many_keys(rng):
    q, k = rng.standard_normal(16), rng.standard_normal((7, 16))
    assert pia.score_coefficients(q, k).shape == (7, 8)


@pytest.mark.parametrize("derivative", [0, 1, 2])
@pytest.mark.parametrize("s", [0.0, 0.5, 3643.0, 123456.789, 1e6, -17.25])
def test_score_and_derivatives_at_fifty_digits(rng, derivative, s):
    spec = pia.RopeSpec(128, 10_000.0, 2048)
    h = rng.standard_normal(64) + 1j * rng.standard_normal(64)
    exact = oracles.score(oracles.theta(1e4, 128), h, s, derivative)
    ours = pia.attention_score(spec, h, s, derivative=derivative)
    assert abs(ours - exact) <= 1e-14 * np.abs(h).sum()


@pytest.mark.parametrize(("start", "step"), [(0.0, 1.0), (999_000.0, 0.125), (-300.5, 2.0)])
def test_uniform_grid_keeps_the_accuracy(rng, start, step):
    spec = pia.RopeSpec(64, 1e5, 8192)
    h = rng.standard_normal((2, 32)) + 1j * rng.standard_normal((2, 32))
    s = start + step * np.arange(3001)
    ours = pia.attention_score(spec, h, s)
    theta = oracles.theta(1e5, 64)
    for row, values in zip(h, ours, strict=True):
        for k in (0, 1, 777, 3000):
            assert abs(values[k] - oracles.score(theta, row, s[k])) <= 1e-14 * np.abs(row).sum()


@pytest.mark.parametrize("rows", [1, 40, 400])
@pytest.mark.parametrize("count", [257, 1000, 3001])
def test_rows_that_share_a_grid_are_those_of_the_spans_one_by_one(rng, rows, count):
    spec = pia.RopeSpec(32, 1e4, 4096)
    h = rng.standard_normal((rows, 16)) + 1j * rng.standard_normal((rows, 16))
    s = 12.0 + 3.0 * np.arange(count)
    shuffled = rng.permutation(count)
    apart = pia.attention_score(spec, h, s[shuffled])  # no grid: a rotation for each span
    error = np.abs(pia.attention_score(spec, h, s)[:, shuffled] - apart).max(axis=1)
    assert (error <= 1e-15 * np.abs(h).sum(axis=1)).all()


@pytest.mark.parametrize(
    "laid_out",
    [
        np.asfortranarray,
        lambda h: np.repeat(h, 2, axis=1)[:, ::2],
        lambda h: np.broadcast_to(h[0], h.shape),
        lambda h: np.ascontiguousarray(h[::-1, ::-1])[::-1, ::-1],
    ],
)
# So many rows, or so many pairs, that all spans make one block.
@pytest.mark.parametrize("shape", [(300, 16), (2, 128)])
def test_how_coefficients_lie_in_memory_changes_nothing(rng, laid_out, shape):
    spec = pia.RopeSpec(2 * shape[1], 1e4, 4096)
    h = laid_out(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    assert h.strides != np.empty_like(h, order="C").strides
    s = np.arange(256.0)
    expected = pia.attention_score(spec, np.array(h, order="C"), s)
    assert np.array_equal(pia.attention_score(spec, h, s), expected)


@pytest.mark.parametrize("step", [18032430940421.0, -18032430940421.0])
def test_a_grid_from_one_end_of_the_limit_to_the_other(rng, step):
    spec = pia.RopeSpec(64, 1e5, 8192)
    h = rng.standard_normal(32) + 1j * rng.standard_normal(32)
    s = -np.copysign(2.0**53 - 1.0, step) + step * np.arange(1000)
    theta = oracles.theta(1e5, 64)
    ours = pia.attention_score(spec, h, s)
    for k in (1, 500, 998, 999):
        assert abs(ours[k] - oracles.score(theta, h, s[k])) <= 1e-14 * np.abs(h).sum()


@pytest.mark.parametrize("place", [0, 1, 300, 999])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**54])
def test_a_long_grid_with_a_bad_span_is_refused(llama, place, bad):
    s = np.arange(1000.0)
    s[place] = bad
    with pytest.raises(ValueError, match=r"^s must (be finite, got .* at index|lie within)"):
        pia.attention_score(llama, np.ones(64), s)


@pytest.mark.parametrize("bad", [(np.inf, np.inf), (1e308, -1e308), (np.nan, np.inf)])
def test_two_bad_spans_that_begin_a_grid_are_refused(llama, bad):
    s = np.arange(1000.0)
    s[:2] = bad
    with pytest.raises(ValueError, match=r"^s must (be finite, got .* at index 0|lie within)"):
        pia.attention_score(llama, np.ones(64), s)


def test_a_grid_that_leaves_the_limit_is_refused(llama):
    s = 2.0**53 - 2.0 + 2.0 * np.arange(300)
    with pytest.raises(ValueError, match=r"^s must lie within \+-2\*\*53 tokens, got"):
        pia.attention_score(llama, np.ones(64), s)


def test_nearly_uniform_spans_are_not_taken_for_a_grid(rng):
    spec = pia.RopeSpec(64, 1e5, 8192)
    h = rng.standard_normal(32) + 0j
    s = np.linspace(0.0, 1e6, 1001) / 3
    theta = oracles.theta(1e5, 64)
    ours = pia.attention_score(spec, h, s)
    for k in (333, 1000):
        assert abs(ours[k] - oracles.score(theta, h, s[k])) <= 1e-14 * np.abs(h).sum()


def test_shapes(llama, rng):
    h = rng.standard_normal((2, 3, 64))
    assert pia.attention_score(llama, h, 1.0).shape == (2, 3)
    assert pia.attention_score(llama, h, np.arange(5)).shape == (2, 3, 5)
    assert pia.attention_score(llama, h[0, 0], np.ones((4, 5))).shape == (4, 5)
    assert pia.attention_score(llama, h, np.empty(0)).shape == (2, 3, 0)


@given(st.integers(0, 10**6), st.integers(0, 10**5))
def test_score_depends_on_the_span_alone(position, shift):
    spec = pia.RopeSpec(16, 100.0, 64)
    rng = np.random.default_rng(position)
    q, k = rng.standard_normal((2, 16))
    at = oracles.rotated_score(q, k, position, 5, spec.frequencies, "interleaved")
    moved = oracles.rotated_score(
        q, k, position + shift, 5 + shift, spec.frequencies, "interleaved"
    )
    h = pia.score_coefficients(q, k)
    ours = pia.attention_score(spec, h, position - 5)
    tolerance = 1e-15 * (position + shift + 10) * np.abs(h).sum()
    assert abs(at - ours) <= tolerance
    assert abs(moved - ours) <= tolerance


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_spans_and_coefficients_must_be_finite(llama, bad):
    with pytest.raises(ValueError, match=r"s must be finite, got .* at index 1"):
        pia.attention_score(llama, np.ones(64), [0.0, bad])
    h = np.ones(64)
    h[3] = bad
    with pytest.raises(ValueError, match=r"h must be finite, got .* at index 3"):
        pia.attention_score(llama, h, 0.0)
    with pytest.raises(ValueError, match="q must be finite"):
        pia.score_coefficients(np.array([bad, 1.0]), np.ones(2))
    with pytest.raises(ValueError, match="k must be finite"):
        pia.score_coefficients(torch.ones(2), torch.tensor([bad, 1.0]))


def test_half_precision_is_refused(llama):
    with pytest.raises(TypeError, match="q must be float32 or wider, got float16"):
        pia.score_coefficients(np.ones(4, np.float16), np.ones(4))
    with pytest.raises(TypeError, match=r"k must be float32 or wider, got torch\.bfloat16"):
        pia.score_coefficients(torch.ones(4), torch.ones(4).bfloat16())
    with pytest.raises(TypeError, match="s must be float32 or wider, got float16"):
        pia.attention_score(llama, np.ones(64), np.ones(3, np.float16))


@pytest.mark.parametrize(
    ("q", "k", "message"),
    [
        (np.ones(3), np.ones(3), "q must have a last axis of even length"),
        (np.ones(4), np.ones(6), "q and k must broadcast, with equal last axes"),
        (np.ones((2, 4)), np.ones((3, 4)), "q and k must broadcast"),
        (np.float64(1.0), np.ones(2), "q must have a last axis of even length"),
        (np.ones(0), np.ones(0), "q must have a last axis of even length"),
        ([[1.0], [1.0, 2.0]], np.ones(2), "q must be a rectangular array"),
    ],
)
def test_wrong_shapes(q, k, message):
    with pytest.raises(ValueError, match=message):
        pia.score_coefficients(q, k)


def test_what_is_not_a_model_is_refused():
    for call in (pia.abel_sum, pia.partial_sums, pia.extrapolation_bound):
        with pytest.raises(
            TypeError, match="model must be a RopeSpec or an extension, got 'llama'"
        ):
            call("llama", 0.0)
    for call in (pia.grid_constant, pia.adjacent_contrast):
        with pytest.raises(TypeError, match="model must be a RopeSpec or an extension, got None"):
            call(None)
    with pytest.raises(TypeError, match="model must be a RopeSpec or an extension, got 3"):
        pia.attention_score(3, np.ones(2), 0.0)


def test_wrong_types_and_names(llama):
    with pytest.raises(ValueError, match="layout must be one of half, interleaved, got 'halves'"):
        pia.score_coefficients(np.ones(2), np.ones(2), layout="halves")
    with pytest.raises(TypeError, match="q must hold real numbers, got dtype complex128"):
        pia.score_coefficients(np.ones(2) * 1j, np.ones(2))
    with pytest.raises(TypeError, match="s must hold real numbers"):
        pia.attention_score(llama, np.ones(64), ["a"])
    with pytest.raises(
        ValueError, match=r"h must have its last axis of length 64, half the rotary"
    ):
        pia.attention_score(llama, np.ones(63), 0.0)
    with pytest.raises(ValueError, match=r"s must lie within \+-2\*\*53 tokens"):
        pia.attention_score(llama, np.ones(64), 1e300)
    with pytest.raises(ValueError, match="derivative must be an integer from 0 to 2, got 3"):
        pia.attention_score(llama, np.ones(64), 0.0, derivative=3)
