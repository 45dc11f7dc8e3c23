"""The readings of `pianalysis evaluate`: what each takes of the options, its table, its picture.

Importing this module imports torch; the command does so when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pianalysis.checkpoints.checkpoint import Checkpoint
from pianalysis.commands.parser import arguments_of
from pianalysis.commands.text import across_gaps, by_scheme, passkeys_read, right_aligned
from pianalysis.evaluation.likelihood import gap_likelihood
from pianalysis.evaluation.passkeys import passkeys
from pianalysis.evaluation.perplexity import Perplexity, perplexity
from pianalysis.evaluation.summaries import SummaryScores, read_reports, rouge, summary_scores
from pianalysis.evaluation.tasks import TaskAccuracy, task_accuracy, task_files
from pianalysis.evaluation.text import encode
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension
from pianalysis.heads.measurement import default_gaps
from pianalysis.pictures import evaluation
from pianalysis.pictures.heads import likelihood_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP_TEXT = 1024  # tokens read across a gap, at most: half before it, half behind


def check(options: Any) -> None:
    """Refuse what can be refused before the model is opened, a missing package among it."""
    if options.tasks:
        task_files(options.tasks, options.data)
    if options.summaries:
        read_reports(options.summaries)
        rouge("", "")


def read(
    checkpoint: Checkpoint,
    text: str,
    options: Any,
    *,
    extensions: Mapping[str, Extension],
    store: Store,
) -> dict[str, Measured]:
    """Return file stem -> record of each reading that is asked for."""
    window = checkpoint.spec.context_window
    shared: dict[str, Any] = {"extensions": extensions, "store": store}
    records: dict[str, Measured] = {}
    if options.perplexity:
        records["evaluate_perplexity"] = perplexity(
            checkpoint,
            [encode(checkpoint.tokenizer, text, options.tokens)],
            windows=options.window or [window],
            **arguments_of(perplexity, options),
            **shared,
        )
    if options.passkeys:
        records["evaluate_passkeys"] = passkeys(
            checkpoint,
            target=max([window, *(extension.target for extension in extensions.values())]),
            **arguments_of(passkeys, options),
            **shared,
        )
    if options.likelihood:
        tokens = encode(checkpoint.tokenizer, text, options.tokens)[:GAP_TEXT]
        records["evaluate_likelihood"] = gap_likelihood(
            checkpoint,
            tokens,
            prefix=len(tokens) // 2,
            gaps=default_gaps(window, len(tokens)),
            **shared,
        )
    if options.tasks:
        records["evaluate_tasks"] = task_accuracy(
            checkpoint, **arguments_of(task_accuracy, options), **shared
        )
    if options.summaries:
        records["evaluate_summaries"] = summary_scores(
            checkpoint,
            read_reports(options.summaries),
            **arguments_of(summary_scores, options),
            **shared,
        )
    return records


def tables(records: Mapping[str, Measured]) -> list[str]:
    """Return each record as text."""
    return [TABLES[stem](record) for stem, record in records.items()]


def figures(records: Mapping[str, Measured]) -> dict[str, Figure]:
    """Return file stem -> picture of each record."""
    return {stem: PICTURES[stem](record) for stem, record in records.items()}


def _perplexity_table(record: Perplexity) -> str:
    table = by_scheme(record, ["window"], lambda row: f"{row['perplexity']:.4f}", head="PPL ")
    return (
        f"{table}\nof {record.count[0]} tokens at stride {record.stride}, pooled by "
        f"{record.pooling}; the longest window read is {record.longest.max()}"
    )


def _task_table(record: TaskAccuracy) -> str:
    def cell(row: Mapping[str, Any]) -> str:
        return f"{100 * row['value']:.1f} ± {100 * row['standard_error']:.1f}"

    table = by_scheme(record, ["task", "metric"], cell)
    return f"{table}\n% right and its standard error, without examples; harness {record.harness}"


def _summary_table(record: SummaryScores) -> str:
    rows = []
    for scheme in record.scheme:
        row = record.only(scheme=scheme)
        scores = [f"{row[name]:.2f}" for name in ("rouge_1", "rouge_2", "rouge_l")]
        rows.append([scheme, *scores, f"{row['written']:.1f}", f"{row['unfinished']}"])
    table = right_aligned(
        rows, ["scheme", "ROUGE-1", "ROUGE-2", "ROUGE-L", "tokens written", "unfinished"]
    )
    return f"{table}\nF-measures in % of {record.count[0]} summaries, {record.cut[0]} reports cut"


TABLES: dict[str, Callable[[Any], str]] = {
    "evaluate_perplexity": _perplexity_table,
    "evaluate_passkeys": passkeys_read,
    "evaluate_likelihood": across_gaps,
    "evaluate_tasks": _task_table,
    "evaluate_summaries": _summary_table,
}
PICTURES: dict[str, Callable[[Any], Figure]] = {
    "evaluate_perplexity": evaluation.perplexity_picture,
    "evaluate_passkeys": evaluation.whole_passkey_picture,
    "evaluate_likelihood": likelihood_picture,
    "evaluate_tasks": evaluation.task_picture,
    "evaluate_summaries": evaluation.summary_picture,
}
