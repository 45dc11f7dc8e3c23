"""The compiled inner loop of B(s) on a uniform grid, and nothing else.

Per span and pair the work is one complex product, one addition and one square root; the square
root is the bottleneck, so the loop runs at the rate of the machine's vector square root.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pianalysis._validate import FloatArray


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
