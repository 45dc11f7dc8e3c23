"""What the trained models show: their heads against the bounds, and held-out text by length.

Everything is measured on the shipped files, on a play that no model was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import PositionInterpolation, RopeSpec, interpolation_bound
from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.records import Record, columns

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint
    from pianalysis.heads.capture import LayerHeads
    from pianalysis.heads.statistics import HeadStatistics

# What `python -m paper_repro.scratch` wrote, one folder a model. Trained anew on another machine
# they may differ in their last digits, so everything here rests on these files.
DATA = ("paper_repro/scratch_models/*/*",)
MODELS = Path(__file__).resolve().parents[1] / "scratch_models"
PASSAGES = 8  # of one window each: heads are measured on what the models were trained to read
DRAWS = 2  # keys for each query
FACTORS = (1, 2, 4, 8)
TOKENS = 8192  # scored at every length, the same ones
DIRECT, PI = "direct", "PI"
_QUANTITIES = (
    "coefficient",
    "total",
    *(f"{name}_{end}" for name in ("peak", "dip") for end in FACTORS),
    *(f"excess_{end}" for end in FACTORS[1:]),
    "limit",
    "growth",
)
_EVERY = 100  # training steps in one point


@dataclass(frozen=True, slots=True)
class Trainings(Record):
    """Training of each model: means of ``loss`` (nats) and mean sum_j |h_j|^2 over 100 steps."""

    settings: dict[str, Any]
    parameters: int
    model: tuple[str, ...]
    step: FloatArray
    loss: FloatArray
    mean_square: FloatArray


@dataclass(frozen=True, slots=True)
class HeadBounds(Record):
    """Every head of each model against Theorem 2.1, over all passages of held-out text.

    ``FORM_ratio`` is the largest deviation / bound of ``checked`` sampled (pair, span) a head,
    ``FORM_violations`` how many lie above it. ``found`` is the pair and span of the largest
    deviation / printed bound found among all causal pairs of the passages, ``reach`` what a
    deviation of any of them could come to at some real span, in printed bounds.
    ``corrected_unit`` is the corrected bound in printed bounds: both are max|h| times a number.
    """

    spec: RopeSpec
    digests: dict[str, str]
    passages: int
    checked: int
    corrected_unit: float
    model: tuple[str, ...]
    layer: FloatArray
    head: FloatArray
    paper_ratio: FloatArray
    paper_violations: FloatArray
    corrected_ratio: FloatArray
    corrected_violations: FloatArray
    sharp_ratio: FloatArray
    sharp_violations: FloatArray
    weighted_ratio: FloatArray
    weighted_violations: FloatArray
    reach: FloatArray
    reach_above: FloatArray
    found_ratio: FloatArray
    found_passage: FloatArray
    found_query: FloatArray
    found_key: FloatArray
    found_span: FloatArray
    found_deviation: FloatArray
    found_bound: FloatArray


@dataclass(frozen=True, slots=True)
class Growth(Record):
    """Scores beyond the window: quantiles over sampled pairs of all heads, a row a quantity.

    Quantities as in ``heads.statistics``; ``extreme`` is the largest, of dips the least.
    ``mean_square`` is the held-out mean of sum_j |h_j|^2 that the penalty lowers.
    """

    context_window: int
    pairs: int
    resolution: str
    mean_square: dict[str, float]
    model: tuple[str, ...]
    quantity: tuple[str, ...]
    p05: FloatArray
    median: FloatArray
    p95: FloatArray
    extreme: FloatArray

    def value(self, model: str, quantity: str, level: str) -> float:
        """Return one number."""
        return float(self.only(model=model, quantity=quantity)[level])


@dataclass(frozen=True, slots=True)
class Extrapolation(Record):
    """Held-out likelihood by length: the same ``tokens``, cut into documents of ``length``.

    Every document is read whole, so that positions run up to its length. ``scheme`` "PI" is
    Position Interpolation by length / L, without fine-tuning. ``nats`` a token.
    """

    context_window: int
    tokens: int
    model: tuple[str, ...]
    scheme: tuple[str, ...]
    length: FloatArray
    nats: FloatArray
    perplexity: FloatArray

    def nats_by_length(self, model: str, scheme: str) -> dict[int, float]:
        """Return length -> nats a token of one model."""
        rows = self.where(model=model, scheme=scheme)
        return dict(zip(rows.length.astype(int).tolist(), rows.nats.tolist(), strict=True))


def measure_all(seed: int) -> tuple[Trainings, HeadBounds, Growth, Extrapolation]:
    """Measure every shipped model on the first tokens of the held-out play."""
    from pianalysis.checkpoints.checkpoint import open_checkpoint
    from pianalysis.evaluation.text import default_text, encode

    text = default_text()  # the play that is held out
    measured, squares, digests = {}, {}, {}
    likelihoods: list[dict[str, Any]] = []
    for label, folder in shipped().items():
        checkpoint = open_checkpoint(folder)
        tokens = encode(checkpoint.tokenizer, text, TOKENS + 1)
        texts = passages(checkpoint.spec, tokens)
        measured[label], squares[label] = measure_heads(checkpoint, texts, seed)
        likelihoods += [{"model": label, **row} for row in _likelihoods(checkpoint, tokens)]
        digests[label] = checkpoint.digest
    spec = checkpoint.spec
    return (
        _trainings(),
        _head_bounds(measured, spec, digests),
        _growth(measured, squares),
        Extrapolation(context_window=spec.context_window, tokens=TOKENS, **columns(likelihoods)),
    )


def shipped() -> dict[str, Path]:
    """Return label -> folder of the shipped models: by seed, then by penalty.

    Raises
    ------
    ValueError
        There is none.
    """
    folders = {}
    for path in MODELS.glob("*/training.json"):
        setting = json.loads(path.read_text(encoding="utf-8"))["setting"]
        folders[setting["seed"], setting["penalty"]] = path.parent
    if not folders:
        raise ValueError(f"scratch_models must hold a trained model, got none in {MODELS}")
    return {_label(penalty, seed): folders[seed, penalty] for seed, penalty in sorted(folders)}


def _label(penalty: float, seed: int) -> str:
    name = f"penalty {penalty:g}" if penalty else "no penalty"
    return f"{name}, seed {seed}" if seed else name


def passages(spec: RopeSpec, tokens: Sequence[int]) -> list[Sequence[int]]:
    """Return the passages that heads are measured on, one window each."""
    window = spec.context_window
    return [tokens[i * window : (i + 1) * window] for i in range(PASSAGES)]


def measure_heads(
    checkpoint: Checkpoint, texts: Sequence[Sequence[int]], seed: int
) -> tuple[HeadStatistics, float]:
    """Return statistics of all heads over all passages, and the mean sum_j |h_j|^2.

    Each passage is read by itself, from position 0 on. Layer l of passage p enters the statistics
    as layer p * layers + l: its draws are its own, and the quantiles are over all of them.
    """
    from pianalysis.heads.capture import visit_layers
    from pianalysis.heads.statistics import combine, layer_statistics

    layers = int(checkpoint.model.config.num_hidden_layers)
    parts, squares = [], []
    for passage, tokens in enumerate(texts):
        caught: list[LayerHeads] = []
        visit_layers(checkpoint, tokens, caught.append)
        for heads in caught:
            numbered = replace(heads, layer=passage * layers + heads.layer)
            parts.append(layer_statistics(numbered, seed=seed, draws=DRAWS))
            squares.append(mean_square(heads))
    return combine(parts), float(np.mean(squares))


def mean_square(heads: LayerHeads) -> float:
    """Return the mean sum_j |h_j|^2 over heads and all pairs of positions, as ``penalty`` does."""
    query, key = (np.square(np.abs(v)).mean(axis=1) for v in (heads.queries, heads.keys))
    return float(heads.scaling**2 * (query * key).sum(axis=1).mean())


def _likelihoods(checkpoint: Checkpoint, tokens: list[int]) -> list[dict[str, Any]]:
    """Return a row for each scheme and length."""
    from pianalysis.evaluation.perplexity import perplexity

    rows: list[dict[str, Any]] = []
    window = checkpoint.spec.context_window
    for factor in FACTORS:
        length = factor * window
        # One token more than is read: the last is only predicted.
        documents = [tokens[i : i + length + 1] for i in range(0, TOKENS, length)]
        schemes = {PI: PositionInterpolation(checkpoint.spec, length)} if factor > 1 else {}
        read = perplexity(
            checkpoint, documents, windows=[length], stride=length, extensions=schemes
        )
        nats = read.total / read.count
        for scheme, value in zip((DIRECT, *schemes), nats.tolist(), strict=True):
            rows.append(
                {"scheme": scheme, "length": length, "nats": value, "perplexity": np.exp(value)}
            )
    return rows


def _trainings() -> Trainings:
    settings, rows, parameters = {}, [], 0
    for label, folder in shipped().items():
        body = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        settings[label], parameters = body["setting"], body["parameters"]
        table = np.genfromtxt(folder / "training.csv", delimiter=",", names=True)
        for first in range(0, table.size, _EVERY):
            part = table[first : first + _EVERY]
            means = {name: part[name].mean() for name in ("loss", "mean_square")}
            rows.append({"model": label, "step": part["step"][-1], **means})
    return Trainings(settings=settings, parameters=parameters, **columns(rows))


def _head_bounds(
    measured: Mapping[str, HeadStatistics], spec: RopeSpec, digests: dict[str, str]
) -> HeadBounds:
    rows: list[dict[str, Any]] = []
    for label, statistics in measured.items():
        table, heads = statistics.table, int(statistics.table["head"].max()) + 1
        layers = len(table["head"]) // PASSAGES // heads
        by_head = {name: column.reshape(PASSAGES, -1) for name, column in table.items()}
        best = by_head["found_ratio"].argmax(axis=0)
        for column, passage in enumerate(best.tolist()):
            layer, head = divmod(column, heads)
            row: dict[str, Any] = {"model": label, "layer": layer % layers, "head": head}
            row["found_passage"] = passage
            for name in (*(f"{form}_ratio" for form in FORMS), "reach"):
                row[name] = by_head[name][:, column].max()
            for name in (*(f"{form}_violations" for form in FORMS), "reach_above"):
                row[name] = by_head[name][:, column].sum()
            for name in ("ratio", "query", "key", "span", "deviation", "bound"):
                row[f"found_{name}"] = by_head[f"found_{name}"][passage, column]
            rows.append(row)
    paper, corrected = (
        float(interpolation_bound(spec, 0.5, 1.0, form=form)) for form in ("paper", "corrected")
    )
    return HeadBounds(
        spec=spec,
        digests=digests,
        passages=PASSAGES,
        checked=PASSAGES * statistics.tokens * statistics.pairs * statistics.chord_spans,
        corrected_unit=corrected / paper,
        **columns(rows),
    )


def _growth(measured: Mapping[str, HeadStatistics], squares: dict[str, float]) -> Growth:
    rows: list[dict[str, Any]] = []
    for label, statistics in measured.items():
        for quantity in _QUANTITIES:
            row = statistics.overall.only(quantity=quantity)
            levels = {level: row[level] for level in ("p05", "median", "p95", "extreme")}
            rows.append({"model": label, "quantity": quantity, **levels})
    return Growth(
        context_window=statistics.context_window,
        pairs=len(statistics.table["head"]) * statistics.tokens * statistics.pairs,
        resolution=statistics.overall.resolution,
        mean_square=squares,
        **columns(rows),
    )
