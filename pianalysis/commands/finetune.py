"""``pianalysis finetune``: one run; ``-m pianalysis.finetune`` is what torchrun starts.

On one host with eight GPUs: ``torchrun --nproc-per-node 8 -m pianalysis.finetune SOURCE ...``. The
first process alone reads the checkpoint and says why it is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis.commands.parser import OneLineParser, add_original_length, carry_out

if TYPE_CHECKING:
    from pianalysis.finetune.corpus import Corpus

DESCRIPTION = (
    "Fine-tune a checkpoint under an extension scheme, by a recipe in JSON; a run that was stopped "
    "goes on when given again."
)


EXAMPLE = (
    'a recipe: {"scheme": "linear", "target": 16384, "steps": 200, "sequence_length": 256, '
    '"gap": true} trains to 16384 tokens by sequences of 256 with left-out positions; the other '
    "keys are the parameters of pianalysis.finetune.recipe.Recipe"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the module's own command line; returns the exit status."""
    parser = OneLineParser(
        prog="python -m pianalysis.finetune", description=DESCRIPTION, epilog=EXAMPLE
    )
    add_arguments(parser)
    return carry_out(parser, arguments)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command: OneLineParser = commands.add_parser(
        "finetune",
        help="train a checkpoint to a longer window, by a recipe",
        description=DESCRIPTION,
        epilog=f"{EXAMPLE}. On several GPUs: torchrun --nproc-per-node N -m pianalysis.finetune "
        "SOURCE ...",
    )
    add_arguments(command)


def add_arguments(command: OneLineParser) -> None:
    """Add the arguments, which the subcommand and the module call share."""
    command.set_defaults(run=run)
    command.add_argument(
        "source", help="directory, .gguf file, hub id, smollm2, or a model's config.json"
    )
    command.add_argument(
        "--recipe", required=True, metavar="FILE", help="recipe as JSON, see below"
    )
    command.add_argument("--out", required=True, metavar="DIR", help="checkpoints, log and record")
    command.add_argument(
        "--text", nargs="+", metavar="FILE", help="UTF-8 texts (default: plays, one held out)"
    )
    command.add_argument(
        "--tokenizer", metavar="DIR", help="for a model from scratch: with a tokenizer.json"
    )
    command.add_argument(
        "--save-every", type=int, metavar="STEPS", help="checkpoints besides the last"
    )
    add_original_length(command)


def run(options: Any) -> str | None:
    """Return what the command prints; nothing but in a run's first process."""
    import torch

    from pianalysis.finetune.distributed import RefusedByFirst
    from pianalysis.finetune.recipe import Recipe
    from pianalysis.finetune.train import finetune
    from pianalysis.pictures.training import save_loss_curve

    try:
        recipe = Recipe.from_json(Path(options.recipe).read_text(encoding="utf-8"))
        every = recipe.steps if options.save_every is None else options.save_every
        if every < 1:
            raise ValueError(f"--save-every must be at least 1, got {every}")
        source = options.source
        if source.endswith(".json"):
            source = json.loads(Path(source).read_text(encoding="utf-8"))
        training = finetune(
            source,
            recipe,
            options.out,
            corpus=lambda tokenizer: _corpus(tokenizer, options.tokenizer, options.text),
            save_at=range(every, recipe.steps, every),
            original_length=options.original_length,
        )
    except RefusedByFirst:
        raise SystemExit(2) from None  # the first process says why
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if int(os.environ.get("RANK", "0")) != 0:
        return None
    save_loss_curve(training, Path(options.out, "loss.png"))
    return (
        f"{training.recipe['scheme']}: {recipe.steps} steps, loss {training.loss[-1]:.3f}, "
        f"{training.tokens_per_second:.0f} tokens/s, {100 * training.share_of_peak:.0f}% of the "
        f"matrix-product peak; written to {options.out}"
    )


def _corpus(tokenizer: Any, folder: str | None, paths: Sequence[str] | None) -> Corpus:
    """Return the corpus of the files named, or the default one, by the model's tokenizer."""
    from pianalysis.evaluation.text import read_text
    from pianalysis.finetune.corpus import default_corpus, pack

    if folder is not None:
        from transformers import PreTrainedTokenizerFast

        file = Path(folder, "tokenizer.json")
        if not file.is_file():
            raise ValueError(f"--tokenizer must hold a tokenizer.json, got {folder}")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    if paths is None:
        return default_corpus(tokenizer)
    return pack(tokenizer, [read_text(path) for path in paths])
