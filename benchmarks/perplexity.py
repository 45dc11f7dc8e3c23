"""Sliding-window perplexity against the loop of Hugging Face's documentation.

The loop masks the labels that an earlier window has scored; it is the documentation's but for two
things: 1, 2 or 4 windows make a batch, and the mean loss is weighted by the labels that are left
after the model's shift, where the documentation counts one a window too few. A window of W + 1
tokens there is one of W here, which reads W tokens and predicts as many. Ours reads one window at a
time. Results are compared first, each batch size timed once meanwhile; the quickest then runs in
turn with ours in one process.
"""

from __future__ import annotations

import math
from typing import Any

import common
import torch
from models import opened

from pianalysis.evaluation.perplexity import perplexity, window_spans

SIZES = {
    "full": {
        "model": "smollm2",
        "window": 1024,
        "stride": 256,
        "windows": 4,
        "batches": (1, 2, 4),
        "rounds": 3,
        "cores": None,
    },
    "small": {
        "model": "tiny",
        "window": 16,
        "stride": 4,
        "windows": 4,
        "batches": (1, 2, 4),
        "rounds": 1,
        "cores": 1,
    },
}


def plain(model: Any, tokens: list[int], window: int, stride: int, batch: int) -> float:
    """Return the perplexity; windows of one length are read ``batch`` at a time."""
    length, ids, windows, done = window + 1, torch.tensor(tokens), [], 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + length, len(tokens))
        labels = ids[begin:end].clone()
        labels[: len(labels) - (end - done)] = -100
        windows.append((ids[begin:end], labels))
        done = end
        if end == len(tokens):
            break
    total, count = 0.0, 0
    for first in range(0, len(windows), batch):
        some = windows[first : first + batch]
        inputs, labels = (torch.stack(part) for part in zip(*some, strict=True))
        with torch.no_grad():
            loss = model(inputs, labels=labels).loss
        scored = int((labels[:, 1:] != -100).sum())
        total, count = total + float(loss) * scored, count + scored
    return math.exp(total / count)


def measure(size: common.Size) -> common.Record:
    window, stride, count = size["window"], size["stride"], size["windows"]
    checkpoint, tokens = opened(size["model"], window + (count - 1) * stride + 1)

    def ours() -> float:
        found = perplexity(checkpoint, [tokens], windows=[window], stride=stride)
        return float(found.perplexity[0])

    def peer(batch: int) -> float:
        return plain(checkpoint.model, tokens, window, stride, batch)

    if len(list(window_spans(len(tokens), window, stride))) != count:
        raise ValueError(f"the text must hold {count} windows")
    with common.cores(size["cores"]) as cores:
        numbers, once = {"perplexity": ours()}, {}
        for batch in size["batches"]:
            once[batch], found = common.seconds(lambda batch=batch: peer(batch))
            common.agree(f"perplexity, {batch} a batch", numbers["perplexity"], found, 1e-5)
            numbers[f"the loop once, {batch} a batch, s"] = once[batch]
        best = min(once, key=once.__getitem__)
        row = common.alternate(
            f"{count} windows of {window}, stride {stride}; the loop, {best} a batch",
            ours,
            lambda: peer(best),
            size["rounds"],
            (cores, cores),
        )
    return {
        "question": f"sliding-window perplexity of {size['model']}, float32",
        "threads": cores,
        "rows": [{**row, "headline": True}],
        "growth": [],
        "numbers": numbers,
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
