"""The compiled inner loops, and nothing else.

B(s) on a uniform grid: per span and pair one complex product, one addition and one square root;
the square root is the bottleneck, so the loop runs at the rate of the machine's vector square root.
Scores of many heads: small matrix products, reduced at once while they are in cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pianalysis.arrays import FloatArray, IntArray


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def abel_sums(
    out: FloatArray,
    coarse_re: FloatArray,
    coarse_im: FloatArray,
    middle_re: FloatArray,
    middle_im: FloatArray,
    fine_re: FloatArray,
    fine_im: FloatArray,
) -> None:
    """Fill out[p, q, w] with B(s_p + t_q + u_w) = sum_k |A_{k+1}|.

    Rotations of the coarse spans s_p (P, pairs), of the middle offsets t_q (Q, pairs) and of the
    fine offsets u_w (pairs, W); their product is the rotation of the sum.
    """
    blocks, pairs = coarse_re.shape
    width = fine_re.shape[1]
    sum_re, sum_im, total = np.empty(width), np.empty(width), np.empty(width)
    for p in range(blocks):
        for q in range(middle_re.shape[0]):
            odd = pairs % 2  # two pairs a pass below; an odd first one has |A_1| = 1
            for w in range(width):
                sum_re[w] = 0.0
                sum_im[w] = 0.0
                total[w] = odd
            if odd:
                re = coarse_re[p, 0] * middle_re[q, 0] - coarse_im[p, 0] * middle_im[q, 0]
                im = coarse_re[p, 0] * middle_im[q, 0] + coarse_im[p, 0] * middle_re[q, 0]
                for w in range(width):
                    sum_re[w] = re * fine_re[0, w] - im * fine_im[0, w]
                    sum_im[w] = re * fine_im[0, w] + im * fine_re[0, w]
            for j in range(odd, pairs, 2):
                k = j + 1
                re = coarse_re[p, j] * middle_re[q, j] - coarse_im[p, j] * middle_im[q, j]
                im = coarse_re[p, j] * middle_im[q, j] + coarse_im[p, j] * middle_re[q, j]
                re2 = coarse_re[p, k] * middle_re[q, k] - coarse_im[p, k] * middle_im[q, k]
                im2 = coarse_re[p, k] * middle_im[q, k] + coarse_im[p, k] * middle_re[q, k]
                for w in range(width):
                    x = sum_re[w] + re * fine_re[j, w] - im * fine_im[j, w]
                    y = sum_im[w] + re * fine_im[j, w] + im * fine_re[j, w]
                    first = np.sqrt(x * x + y * y)
                    x = x + re2 * fine_re[k, w] - im2 * fine_im[k, w]
                    y = y + re2 * fine_im[k, w] + im2 * fine_re[k, w]
                    total[w] += first + np.sqrt(x * x + y * y)
                    sum_re[w] = x
                    sum_im[w] = y
            for w in range(width):
                out[p, q, w] = total[w]


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _products(out: FloatArray, rows: FloatArray, basis: FloatArray) -> None:
    """Fill out[p, r] = sum_j rows[p, j] basis[j, r] for four rows; j runs over a multiple of 4.

    Sixteen factors stay in registers, so each load of the basis feeds four products.
    """
    out0, out1, out2, out3 = out[0], out[1], out[2], out[3]
    out[:4] = 0.0
    for j in range(0, basis.shape[0], 4):
        a0, a1, a2, a3 = rows[0, j], rows[0, j + 1], rows[0, j + 2], rows[0, j + 3]
        b0, b1, b2, b3 = rows[1, j], rows[1, j + 1], rows[1, j + 2], rows[1, j + 3]
        c0, c1, c2, c3 = rows[2, j], rows[2, j + 1], rows[2, j + 2], rows[2, j + 3]
        d0, d1, d2, d3 = rows[3, j], rows[3, j + 1], rows[3, j + 2], rows[3, j + 3]
        for r in range(basis.shape[1]):
            x0, x1, x2, x3 = basis[j, r], basis[j + 1, r], basis[j + 2, r], basis[j + 3, r]
            out0[r] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            out1[r] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            out2[r] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
            out3[r] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def products(out: FloatArray, rows: FloatArray, basis: FloatArray) -> None:
    """Fill out (rows, n) with rows (rows, k) times basis (k, n); rows and k in multiples of 4."""
    for t in range(0, rows.shape[0], 4):
        _products(out[t : t + 4], rows[t : t + 4], basis)


@njit(nogil=True, cache=True, fastmath={"contract", "nnan", "nsz"}, error_model="numpy")
def score_extremes(
    high: FloatArray,
    low: FloatArray,
    h_re: FloatArray,
    h_im: FloatArray,
    centre_re: FloatArray,
    centre_im: FloatArray,
    group: IntArray,
    cosine: FloatArray,
    sine: FloatArray,
) -> None:
    """Raise high[t, g] and lower low[t, g] to the extremes of a(s) over blocks b with group[b] = g.

    A block is its centre c_b and the offsets +-r. With h turned to the centre, a(c + r) = C + S and
    a(c - r) = C - S, where C sums cosines and S sines: one product serves two spans, whose larger
    value is C + |S| and smaller C - |S|. Rows t and pairs come in multiples of four.
    """
    pairs, width = cosine.shape
    turned_re, turned_im = np.empty((4, pairs)), np.empty((4, pairs))
    even, odd = np.empty((4, width)), np.empty((4, width))
    for t in range(0, h_re.shape[0], 4):
        for b in range(centre_re.shape[0]):
            for p in range(4):
                for j in range(pairs):
                    x, y = h_re[t + p, j], h_im[t + p, j]
                    turned_re[p, j] = x * centre_re[b, j] - y * centre_im[b, j]
                    turned_im[p, j] = -x * centre_im[b, j] - y * centre_re[b, j]
            _products(even, turned_re, cosine)
            _products(odd, turned_im, sine)
            g = group[b]
            for p in range(4):
                top, bottom = high[t + p, g], low[t + p, g]
                middle, swing = even[p], odd[p]
                for r in range(width):
                    away = abs(swing[r])
                    above, below = middle[r] + away, middle[r] - away
                    top = above if above > top else top
                    bottom = below if below < bottom else bottom
                high[t + p, g] = top
                low[t + p, g] = bottom


@njit(nogil=True, cache=True, fastmath={"contract", "nnan", "nsz"}, error_model="numpy")
def causal_log_sums(
    out: FloatArray, queries: FloatArray, first: int, keys: FloatArray, softcap: float
) -> None:
    """Fill out[t] with log sum_{n <= first + t} exp(logit of query first + t with key n).

    Queries (rows, d) and keys in blocks (blocks, d, width), turned to their positions; rows and d
    come in multiples of four. A softcap of 0 stands for none.
    """
    width = keys.shape[2]
    logits = np.empty((4, width))
    top, total = np.empty(4), np.empty(4)
    for t in range(0, queries.shape[0], 4):
        top[:] = -np.inf
        total[:] = 0.0
        for b in range((first + t + 3) // width + 1):
            _products(logits, queries[t : t + 4], keys[b])
            for p in range(4):
                row = logits[p]
                count = min(width, first + t + p + 1 - b * width)
                peak = top[p]
                for n in range(count):
                    if softcap > 0.0:
                        row[n] = softcap * np.tanh(row[n] / softcap)
                    peak = max(peak, row[n])
                rest = 0.0
                for n in range(count):
                    rest += np.exp(row[n] - peak)
                if count > 0:
                    total[p] = total[p] * np.exp(top[p] - peak) + rest
                    top[p] = peak
        for p in range(4):
            out[t + p] = top[p] + np.log(total[p])


@njit(nogil=True, cache=True, fastmath={"contract", "nnan", "nsz"}, error_model="numpy")
def largest_reaches(
    reach: FloatArray,
    at: IntArray,
    above: IntArray,
    queries: FloatArray,
    first: int,
    keys: FloatArray,
    bend: FloatArray,
    limit: float,
) -> None:
    """For each query first + t, the key n <= first + t with the largest sum_j b_j x_j / max_j x_j.

    x_j = |q_j| |k_j| from moduli of queries (rows, pairs) and keys (pairs, tokens). Fills reach[t],
    its key at[t], and above[t], the number of keys whose value exceeds the limit.
    """
    pairs, tokens = keys.shape
    total, largest = np.empty(tokens), np.empty(tokens)
    for t in range(queries.shape[0]):
        count = first + t + 1
        total[:count] = 0.0
        largest[:count] = 0.0
        for j in range(pairs):
            weight, modulus = bend[j], queries[t, j]
            key = keys[j]
            for n in range(count):
                x = modulus * key[n]
                total[n] += weight * x
                largest[n] = x if x > largest[n] else largest[n]
        for n in range(count):
            value = total[n] / largest[n] if largest[n] > 0.0 else 0.0
            if value > limit:
                above[t] += 1
            if value > reach[t]:
                reach[t] = value
                at[t] = n
