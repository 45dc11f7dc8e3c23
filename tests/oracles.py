"""Independent oracles: naive sums at 50 digits and a rotation done the way models do it."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import torch

DIGITS = 50


def theta(base, dim):
    """theta_j at 50 digits, straight from the definition."""
    with mp.workdps(DIGITS + 10):
        return [mp.mpf(base) ** (mp.mpf(-2 * j) / dim) for j in range(dim // 2)]


def score(frequencies, h, s, derivative=0):
    """Re sum_j (i theta_j)^n h_j e^{i s theta_j}, term by term."""
    with mp.workdps(DIGITS):
        total = mp.mpc(0)
        for t, c in zip(frequencies, h, strict=True):
            total += (1j * t) ** derivative * mp.mpc(complex(c)) * mp.expj(t * mp.mpf(float(s)))
        return total.real


def abel(frequencies, s):
    """sum_k |A_{k+1}(s)|, term by term."""
    with mp.workdps(DIGITS):
        partial, total = mp.mpc(0), mp.mpf(0)
        for t in frequencies:
            partial += mp.expj(t * mp.mpf(float(s)))
            total += abs(partial)
        return total


def chord_gap(frequencies, h, left, s, right):
    """|a(s) - chord| at 50 digits."""
    with mp.workdps(DIGITS):
        share = (mp.mpf(s) - left) / (mp.mpf(right) - left)
        ends = score(frequencies, h, left), score(frequencies, h, right)
        return abs(score(frequencies, h, s) - (1 - share) * ends[0] - share * ends[1])


def rotated_score(q, k, m, n, frequencies, layout):
    """Rotate in torch, float64, as Llama (rotate_half) or GPT-J (interleaved); dot product."""
    q, k = torch.as_tensor(q, dtype=torch.float64), torch.as_tensor(k, dtype=torch.float64)
    angle_m = torch.as_tensor(m, dtype=torch.float64) * torch.as_tensor(np.array(frequencies))
    angle_n = torch.as_tensor(n, dtype=torch.float64) * torch.as_tensor(np.array(frequencies))

    def rotate(x, angle):
        if layout == "half":
            cos, sin = torch.cat([angle.cos()] * 2), torch.cat([angle.sin()] * 2)
            first, second = x.chunk(2)
            return x * cos + torch.cat([-second, first]) * sin
        cos, sin = angle.cos().repeat_interleave(2), angle.sin().repeat_interleave(2)
        turned = torch.stack([-x[1::2], x[0::2]], dim=-1).flatten()
        return x * cos + turned * sin

    return float(rotate(q, angle_m) @ rotate(k, angle_n))
