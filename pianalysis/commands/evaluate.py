"""`pianalysis evaluate`: a model read as the paper reads its own, as loaded and under a scheme.

Each reading is asked for by its option and may stand beside others: sliding-window perplexity,
passkeys out of whole prompts, likelihood behind a gap, short tasks, summaries.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pianalysis.commands.checkpoint import (
    add_checkpoint_command,
    add_draws,
    check_draws,
    kept_units,
    open_model,
    save,
    words,
)
from pianalysis.commands.parser import (
    OneLineParser,
    add_json,
    check_folder,
    names,
    whole_numbers,
)
from pianalysis.records import plain

PARTS = ".evaluate-parts"  # finished units of a run that has not ended, inside its folder
READINGS = ("perplexity", "passkeys", "likelihood", "tasks", "summaries")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_checkpoint_command(
        commands,
        "evaluate",
        summary="perplexity, passkeys, likelihood, short tasks and summaries of a checkpoint",
        description="Read a text, passkeys, short tasks or reports with a checkpoint, as loaded "
        "and under an extension scheme. Prints a table and writes CSV, JSON and a picture for "
        "each reading.",
    )
    command.set_defaults(run=run)
    _add_readings(command)
    add_draws(command, tokens=8192, trials=10)
    _add_settings(command)
    add_json(command)


def _add_readings(command: OneLineParser) -> None:
    readings = command.add_argument_group("readings, at least one")
    readings.add_argument(
        "--perplexity", action="store_true", help="of the text, by a sliding window"
    )
    readings.add_argument(
        "--passkeys",
        action="store_true",
        help="read out of whole prompts of k tokens, k up to the scheme's target, or up to the "
        "pretrained window without a scheme",
    )
    readings.add_argument(
        "--likelihood",
        action="store_true",
        help="of the text's first 1024 tokens, half of them behind a gap in the positions",
    )
    readings.add_argument(
        "--tasks",
        type=names,
        metavar="NAMES",
        help="short tasks, comma-separated: boolq, piqa, race, winogrande, hellaswag "
        "(needs the extra eval)",
    )
    readings.add_argument(
        "--summaries",
        metavar="FILE",
        help="JSON Lines with report and summary, scored by ROUGE (needs the extra eval)",
    )


def _add_settings(command: OneLineParser) -> None:
    """Add the settings of single readings, each named after the parameter that it becomes.

    One that is not given is left to the reading's own default.
    """
    settings = command.add_argument_group("settings of single readings")
    left = argparse.SUPPRESS
    settings.add_argument(
        "--window",
        type=whole_numbers,
        metavar="TOKENS[,TOKENS]",
        help="perplexity: tokens read at once (default: the pretrained window)",
    )
    settings.add_argument(
        "--stride", type=int, default=left, help="perplexity: between windows (default 256)"
    )
    settings.add_argument(
        "--compat",
        action="store_true",
        help="perplexity: the mean over windows, as public scripts take it, not over tokens",
    )
    settings.add_argument(
        "--distances", type=int, default=left, help="passkeys: how many k (default 32)"
    )
    settings.add_argument(
        "--data",
        action=_TaskFile,
        default={},
        metavar="TASK=FILE",
        help="tasks: JSON Lines in the data set's form, in place of the hub; may be repeated",
    )
    settings.add_argument(
        "--limit", type=int, help="tasks: the first so many documents (default: all)"
    )
    settings.add_argument(
        "--document-tokens",
        type=int,
        default=left,
        metavar="TOKENS",
        help="summaries: of a report that are read (default 15000)",
    )
    settings.add_argument(
        "--summary-tokens",
        type=int,
        default=left,
        metavar="TOKENS",
        help="summaries: written at most (default 1000)",
    )


class _TaskFile(argparse.Action):
    """Collects TASK=FILE pairs of an option that may be repeated."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        task, separator, file = str(values).partition("=")
        if not separator:
            raise argparse.ArgumentError(self, f"must be TASK=FILE, got {values!r}")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), task: file})


def run(options: Any) -> str:
    """Read, write everything into the folder and return what the command prints."""
    out = check_folder(options.out)
    if not any(getattr(options, name) for name in READINGS):
        raise ValueError(f"at least one reading must be asked for: --{', --'.join(READINGS)}")
    if options.data and not options.tasks:
        raise ValueError("data goes with tasks, got it alone")
    check_draws(options)
    from pianalysis.commands import readings

    readings.check(options)
    text = words(options.text) if options.perplexity or options.likelihood else ""
    checkpoint, extensions = open_model(options)
    with kept_units(out / PARTS) as store:
        records = readings.read(checkpoint, text, options, extensions=extensions, store=store)
        save(records, readings.figures(records), out)
    if options.json:
        return json.dumps(plain(records), indent=2)
    spec = checkpoint.spec
    head = f"{checkpoint.name}: base {spec.base:g}, window {spec.context_window} tokens"
    files = ", ".join(f"{stem}.csv/.json/.png" for stem in records)
    return "\n\n".join([head, *readings.tables(records), f"written to {options.out}: {files}"])
