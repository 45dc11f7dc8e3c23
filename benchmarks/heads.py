"""The statistics of trained heads against a plain script of hooks in torch: time and peak memory.

The peer keeps the queries and keys of the chosen layers and computes some of our columns from the
same draws, float64, as one would write them down: a table of cosines for the sweep, block by block,
and whole matrices of logits. How many columns each side gives a head stands below the times. The
peer leaves out every median and other quantile, the cancellations, excesses and limits, the sharp
and the corrected bound, ratios to bounds and their violations, the root mean squares, shares of the
pairs, bands, ceilings, the attention read from chords and between them, and the queries, keys and
spans that attain anything. Its columns are compared first, then both sides run in turn in one
process. Ours keeps one layer at a time. Peak memory is what a process of its own grows by, the
model and a first run of a few tokens, which loads libraries, not counted. Growth is that of ours on
one layer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import common
import numpy as np
import torch
from models import opened

from pianalysis.heads import combine, layer_statistics, visit_layers
from pianalysis.heads.sampled import MASS_SPANS, draw_spans
from pianalysis.heads.sweep import RANGES

SEED, BLOCK, WARM = 0, 4096, 8  # BLOCK: spans swept at a time
SIZES = {
    "full": {
        "model": "smollm2",
        "layers": (0, 14, 29),
        "tokens": 1024,
        "grow": (512, 1024, 2048, 4096),
        "rounds": 3,
        "cores": None,
    },
    "small": {
        "model": "tiny",
        "layers": (0, 1),
        "tokens": 20,
        "grow": (8, 12, 16),
        "rounds": 1,
        "cores": 1,
    },
}


def ours(checkpoint: Any, tokens: list[int], layers: Sequence[int]) -> dict[str, np.ndarray]:
    parts: list[Any] = []

    def visit(heads: Any) -> None:
        parts.append(layer_statistics(heads, seed=SEED))

    visit_layers(checkpoint, tokens, visit, layers=layers)
    return combine(parts).table


def plain(checkpoint: Any, tokens: list[int], layers: Sequence[int]) -> dict[str, np.ndarray]:
    """Hook the projections of a Llama, keep their outputs, then measure head by head."""
    kept: dict[tuple[int, str], torch.Tensor] = {}
    attention = {layer: checkpoint.model.model.layers[layer].self_attn for layer in layers}
    hooks = [
        getattr(attention[layer], name).register_forward_hook(
            lambda module, inputs, output, at=(layer, name): kept.__setitem__(at, output[0])
        )
        for layer in layers
        for name in ("q_proj", "k_proj")
    ]
    with torch.no_grad():
        checkpoint.model.model(input_ids=torch.tensor([tokens]), use_cache=False)
        for hook in hooks:
            hook.remove()
        theta = torch.tensor(checkpoint.spec.frequencies)
        window, dim = checkpoint.spec.context_window, checkpoint.spec.head_dim
        angle = torch.outer(torch.arange(RANGES[-1][1] * window, dtype=torch.float64), theta)
        table = torch.cat([angle.cos(), -angle.sin()], dim=1)
        rows = []
        for layer in layers:
            pairs = []
            for name in ("q_proj", "k_proj"):
                x = kept[layer, name].double().view(len(tokens), -1, dim).transpose(0, 1)
                pairs.append(torch.complex(x[..., : dim // 2], x[..., dim // 2 :]))
            q, k = pairs
            for head in range(len(q)):
                rng = np.random.default_rng([SEED, layer, head])
                key = k[head // (len(q) // len(k))]
                query = attention[layer].scaling * q[head]
                rows.append(one_head(query, key, checkpoint.spec, theta, table, rng))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def one_head(
    q: torch.Tensor, k: torch.Tensor, spec: Any, theta: torch.Tensor, table: torch.Tensor, rng: Any
) -> dict[str, float]:
    """Return one head's numbers under the names of ours; the draws are those of ours."""
    window, count = spec.context_window, len(q)
    spans = draw_spans(window, rng)
    to = torch.from_numpy(rng.integers(0, np.arange(count) + 1))
    h = q * k[to].conj()
    real = torch.cat([h.real, h.imag], dim=1)
    size, bend = h.abs(), 2.0 * torch.sin(theta / 4.0) ** 2
    highest, total = size.amax(1), size.sum(1)
    row = {"coefficient_max": float(highest.max()), "total_max": float(total.max())}
    extremes = []
    for first, last in RANGES:
        high, low = swept(real, table[first * window : last * window])
        row |= {f"peak_{last}_max": float(high.max()), f"dip_{last}_min": float(low.min())}
        extremes.append(torch.maximum(high, -low))
    row["growth_max"] = float((torch.stack(extremes[1:]).amax(0) / extremes[0]).max())
    at = torch.from_numpy(spans.chord - 0.5).long()
    chord = real @ (table[at] + table[at + 1]).T / 2.0
    middle = torch.outer(torch.from_numpy(spans.chord), theta)
    scores = real @ torch.cat([middle.cos(), -middle.sin()], dim=1).T
    row["deviation_max"] = float((scores - chord).abs().max())
    of_one = spec.rotary_dim / (32.0 * np.log(spec.base))  # Eq. 5 in the middle of a cell
    row["paper_bound_max"] = float(of_one * highest.max())
    row["weighted_bound_max"] = float((size @ theta.square()).max() / 8.0)
    row |= moved(q, k, h, to, theta, table, torch.from_numpy(spans.mass))
    return row | reaches(q, k, bend, of_one)


def swept(real: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's largest and least score; the scores of one block of spans are kept."""
    high = torch.full((len(real),), -torch.inf, dtype=torch.float64)
    low, scores = -high, torch.empty(len(real), BLOCK, dtype=torch.float64)
    for part in table.split(BLOCK):
        block = torch.matmul(real, part.T, out=scores[:, : len(part)])
        torch.maximum(high, block.amax(1), out=high)
        torch.minimum(low, block.amin(1), out=low)
    return high, low


def moved(q: Any, k: Any, h: Any, to: Any, theta: Any, table: Any, spans: Any) -> dict[str, float]:
    """Return the mean softmax weights of the sampled keys, own and moved."""
    turn = torch.exp(1j * torch.outer(torch.arange(len(q), dtype=torch.float64), theta))
    logits = ((q * turn) @ (k * turn).conj().T).real
    hidden = torch.ones(logits.shape, dtype=torch.bool).triu(1)
    logits = logits.masked_fill(hidden, -torch.inf)
    at = torch.arange(len(q)), to
    own = torch.exp(logits[at] - logits.logsumexp(1))
    logits[at] = -torch.inf
    away = torch.cat([h.real, h.imag], dim=1) @ table[spans.long()].T
    weight = torch.sigmoid(away - logits.logsumexp(1)[:, None])
    means = weight.view(len(q), len(RANGES), MASS_SPANS).mean(dim=(0, 2))
    names = (f"mass_{last}" for _, last in RANGES)
    return {"mass_own": float(own.mean()), **dict(zip(names, means.tolist(), strict=True))}


def reaches(q: Any, k: Any, bend: Any, of_one: float) -> dict[str, float]:
    """Return how far any causal pair's deviation could reach, in units of the paper's bound."""
    a, b = q.abs(), k.abs()
    largest = torch.zeros(len(q), len(k), dtype=torch.float64)
    for j in range(a.shape[1]):
        torch.maximum(largest, torch.outer(a[:, j], b[:, j]), out=largest)
    reach = ((a * bend) @ b.T / (of_one * largest)).tril()
    return {"reach": float(reach.max()), "reach_above": float((reach > 1.0).sum())}


def memory(run: Any) -> Any:
    """Return the function that measures a side's peak, in bytes."""

    def peak(size: common.Size) -> int:
        checkpoint, tokens = opened(size["model"], size["tokens"])
        with common.cores(size["cores"]):
            run(checkpoint, tokens[:WARM], size["layers"])
            return common.peak_bytes(lambda: run(checkpoint, tokens, size["layers"]))

    return peak


ALONE = {"ours": memory(ours), "peer": memory(plain)}


def peaks(name: str, size: common.Size) -> dict[str, float]:
    """Return both peaks in MiB, each from a process of its own; a small run stays in this one."""
    if name == "small":
        sides = {side: float(run(size)) for side, run in ALONE.items()}
    else:
        sides = {side: float(common.child(sys.argv[0], "--alone", side)) for side in ALONE}
    return {f"peak memory, {side}, MiB": value / 2**20 for side, value in sides.items()}


def measure(size: common.Size) -> common.Record:
    checkpoint, longest = opened(size["model"], max(*size["grow"], size["tokens"]))
    tokens, layers = longest[: size["tokens"]], size["layers"]
    with common.cores(size["cores"]) as cores:
        print("once each, to compare", flush=True)
        found, peer = ours(checkpoint, tokens, layers), plain(checkpoint, tokens, layers)
        columns = {"columns a head, ours": len(found), "columns a head, peer": len(peer)}
        # Where a key holds all but 1e-16 of the weight, rounding decides what moving it does.
        moved_weights = {name: peer.pop(name) for name in [f"mass_{last}" for _, last in RANGES]}
        common.agree("moved weights", found, moved_weights, 2.0 / len(tokens))
        difference = common.agree("statistics of the heads", found, peer, 1e-5)
        row = common.alternate(
            f"{len(found['layer'])} heads of {len(layers)} layers, {len(tokens)} tokens",
            lambda: ours(checkpoint, tokens, layers),
            lambda: plain(checkpoint, tokens, layers),
            size["rounds"],
            (cores, cores),
        )
        grows = common.growth(
            "the number of tokens",
            1.0,
            size["grow"],
            lambda n: ours(checkpoint, longest[:n], layers[:1]),
            size["rounds"],
        )
    return {
        "question": f"the statistics of trained heads of {size['model']}",
        "threads": cores,
        "rows": [{**row, "headline": True}],
        "growth": [grows],
        "numbers": {
            **columns,
            "largest relative difference": difference,
            **peaks("small" if size["model"] == "tiny" else "full", size),
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES, ALONE)
