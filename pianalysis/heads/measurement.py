"""One checkpoint measured whole: statistics of every head, and reading across a gap.

Everything is done in units that are stored as they finish (a layer; a scheme and gap; a scheme,
distance and trial), so that a run that was stopped anywhere goes on and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from pianalysis import checks
from pianalysis.bounds.interpolation import FORMS
from pianalysis.bounds.worst_case.case import LARGEST_DIM, LARGEST_GRID
from pianalysis.checkpoints.checkpoint import Checkpoint
from pianalysis.evaluation import units
from pianalysis.evaluation.likelihood import GapLikelihood, gap_likelihood
from pianalysis.evaluation.passkeys import Passkeys, gap_passkey, shortest_distance
from pianalysis.evaluation.units import Store
from pianalysis.extension import Extension
from pianalysis.extension.registry import AS_LOADED
from pianalysis.heads.attention import SHIFTS
from pianalysis.heads.capture import LayerHeads, visit_layers
from pianalysis.heads.permitted import PermittedScores, permitted_scores
from pianalysis.heads.sampled import ENDS
from pianalysis.heads.statistics import (
    HeadStatistics,
    HeadTable,
    LayerStatistics,
    combine,
    layer_statistics,
)
from pianalysis.heads.summary import WorstCaseCurve, worst_case_curve
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

LIMITS = (0.05, 0.1, 0.3, 1.0, 3.0, 10.0)  # H of the worst-case curve
_GAP_TEXT = 1024  # tokens read across a gap, at most: half before it, half behind


@dataclass(frozen=True, slots=True)
class Measurement:
    """The records of one checkpoint; ``curve`` and ``permitted`` are None where L is too long."""

    statistics: HeadStatistics
    permitted: PermittedScores | None
    curve: WorstCaseCurve | None
    likelihood: GapLikelihood
    passkey: Passkeys


def measure(
    checkpoint: Checkpoint,
    tokens: Sequence[int],
    *,
    extensions: Mapping[str, Extension] | None = None,
    draws: int = 1,
    trials: int = 5,
    seed: int = 0,
    store: Store | None = None,
) -> Measurement:
    """Measure every head of a checkpoint on a text, and reading across gaps of growing size.

    Parameters
    ----------
    checkpoint : Checkpoint
    tokens : sequence of int
        The text the statistics are taken on, at least 8 tokens; its first 1024 at most serve the
        likelihood across a gap, half of them before it.
    extensions : mapping, optional
        Label -> extension, for reading across a gap; the statistics are those of the model itself.
    draws : int
        Keys drawn for each query and head.
    trials : int
        Passkeys for each distance.
    seed : int
    store : mutable mapping, optional
        Where finished units are kept, see ``FolderStore``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: too few tokens, an extension of another model.
    """
    store = {} if store is None else store
    if len(tokens) < 8:
        raise ValueError(f"tokens must hold at least 8, got {len(tokens)}")
    statistics = head_statistics(checkpoint, tokens, draws=draws, seed=seed, store=store)
    likelihood, passkey = across_gaps(
        checkpoint, tokens, extensions=extensions, trials=trials, seed=seed, store=store
    )
    return Measurement(
        statistics=statistics,
        permitted=permitted_scores(statistics),
        curve=limits_curve(checkpoint.spec),
        likelihood=likelihood,
        passkey=passkey,
    )


def across_gaps(
    checkpoint: Checkpoint,
    tokens: Sequence[int],
    *,
    extensions: Mapping[str, Extension] | None,
    trials: int,
    seed: int,
    store: Store,
) -> tuple[GapLikelihood, Passkeys]:
    """Return how the text's beginning and passkeys are read across the default gaps."""
    text, window = list(tokens[:_GAP_TEXT]), checkpoint.spec.context_window
    likelihood = gap_likelihood(
        checkpoint,
        text,
        prefix=len(text) // 2,
        gaps=default_gaps(window, len(text)),
        extensions=extensions,
        store=store,
    )
    passkey = gap_passkey(
        checkpoint,
        distances=default_distances(window, shortest_distance(checkpoint.tokenizer)),
        trials=trials,
        seed=seed,
        extensions=extensions,
        store=store,
    )
    return likelihood, passkey


def head_statistics(
    checkpoint: Checkpoint, tokens: Sequence[int], *, draws: int, seed: int, store: Store
) -> HeadStatistics:
    """Return the statistics of every head; each layer is measured as the forward pass reaches it.

    Layers in the store are not measured again; one that was damaged there is, by itself. One
    that does not rotate has no statistics.
    """
    setting = {
        "kind": "statistics, softmax and averages",
        "tokens": units.sha256(tokens),
        "draws": checks.whole("draws", draws),
        "seed": checks.whole("seed", seed, at_least=0),
    }

    def unit(layer: int | None, measure: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        cases = {layer: {**setting, "layer": layer}}
        (result,) = units.run(checkpoint, {AS_LOADED: None}, cases, measure, store)
        return result

    def measured(heads: LayerHeads) -> dict[str, Any]:
        return layer_statistics(heads, seed=seed, draws=draws).arrays()

    def all_layers(_: None) -> dict[str, Any]:
        count = checkpoint.model.config.get_text_config().num_hidden_layers
        visited: list[int] = []
        with tqdm(total=count, unit="layer", disable=None, leave=False) as bar:

            def visit(heads: LayerHeads) -> None:
                unit(heads.layer, lambda _: measured(heads))
                visited.append(heads.layer)
                bar.update()

            visit_layers(checkpoint, tokens, visit)
        return {"visited": visited}

    def one_layer(layer: int) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        visit_layers(checkpoint, tokens, lambda h: parts.append(measured(h)), layers=[layer])
        return parts[0]

    layers = unit(None, all_layers)["visited"]
    return combine(LayerStatistics.from_arrays(unit(layer, one_layer)) for layer in layers)


def default_gaps(window: int, tokens: int) -> list[int]:
    """Return gaps from none to four windows; the last token stands at about these shares of L."""
    shares = (0.25, 0.5, 0.75, 0.9, 1.25, 1.5, 2.0, 3.0, 4.0)
    reach = [round(share * window) - tokens for share in shares]
    return [0, *sorted({gap for gap in reach if gap > 0})]


def default_distances(window: int, shortest: int) -> list[int]:
    """Return passkey distances to twice the window, more of them around it."""
    shares = (1 / 32, 0.25, 0.5, 0.75, 0.875, 1.0, 1.125, 1.25, 1.5, 2.0)
    return sorted({max(round(share * window), shortest) for share in shares})


def limits_curve(spec: RopeSpec) -> WorstCaseCurve | None:
    """Return the worst case at four windows, where the programme fits in memory."""
    if spec.context_window * spec.rotary_dim > LARGEST_GRID or spec.rotary_dim > LARGEST_DIM:
        return None
    return worst_case_curve(spec, 4.0 * spec.context_window, LIMITS)


@dataclass(frozen=True, slots=True)
class HeadColumns(HeadTable):
    """Some columns of the statistics, those of one picture, beside the curve it is held against."""

    meanings: dict[str, str]
    curve: WorstCaseCurve | None


def records(measurement: Measurement) -> dict[str, Record]:
    """Return file stem -> record, each the data of the picture of that name."""
    heads = head_records(measurement.statistics, measurement.permitted, measurement.curve)
    return heads | gap_records(measurement.likelihood, measurement.passkey)


def gap_records(likelihood: GapLikelihood, passkey: Passkeys) -> dict[str, Record]:
    """Return the records of reading across gaps, by file stem."""
    return {"heads_likelihood": likelihood, "heads_passkey": passkey}


def head_records(
    statistics: HeadStatistics, permitted: PermittedScores | None, curve: WorstCaseCurve | None
) -> dict[str, Record]:
    """Return the records of the heads themselves, by file stem."""

    def chosen(*names: str, curve: WorstCaseCurve | None = None) -> HeadColumns:
        table = {name: statistics.table[name] for name in ("layer", "head", *names)}
        return HeadColumns(table=table, meanings=statistics.meanings, curve=curve)

    bounds = [f"{form}_{what}" for form in FORMS for what in ("bound_max", "violations", "ratio")]
    searched = [f"found_{what}" for what in ("ratio", "deviation", "bound", "query", "key", "span")]
    growth = ("limit_median", "growth_median", "growth_limit", "growth_max")
    softmax = [f"{name}_{level}" for name in SHIFTS for level in ("median", "p95", "max")]
    average = [f"rms_{end}" for end in ("own", *ENDS, "predicted")]
    average += ["rms_deviation", "rms_deviation_predicted"]
    written: dict[str, Record] = {
        "heads_map": statistics,
        "heads_bands": statistics.bands,
        "heads_bounds": chosen("deviation_max", *bounds, *searched),
        "heads_growth": chosen(*growth, curve=curve),
        "heads_softmax": chosen(*softmax, "from_chords_ratio"),
        "heads_average": chosen(*average),
    }
    if permitted is not None:
        written["heads_permitted"] = permitted
    return written
