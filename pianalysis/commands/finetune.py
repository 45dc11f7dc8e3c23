"""``pianalysis finetune``: one run; ``-m pianalysis.finetune`` is what torchrun starts.

On one host with eight GPUs: ``torchrun --nproc-per-node 8 -m pianalysis.finetune SOURCE ...``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis.commands.parser import OneLineParser

if TYPE_CHECKING:
    from pianalysis.finetune.corpus import Corpus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = OneLineParser(
        prog="python -m pianalysis.finetune",
        description="Fine-tune a checkpoint under an extension scheme, by a recipe in JSON; a run "
        "that was stopped goes on when given again.",
    )
    parser.add_argument(
        "source", help="directory, .gguf file, hub id, smollm2, or a model's config.json"
    )
    parser.add_argument("--recipe", required=True, metavar="FILE", help="recipe as JSON")
    parser.add_argument("--out", required=True, metavar="DIR", help="checkpoints, log and record")
    parser.add_argument(
        "--text", nargs="+", metavar="FILE", help="UTF-8 texts (default: plays, one held out)"
    )
    parser.add_argument(
        "--tokenizer", metavar="DIR", help="for a model from scratch: with a tokenizer.json"
    )
    parser.add_argument(
        "--save-every", type=int, metavar="STEPS", help="checkpoints besides the last"
    )
    parser.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )
    options = parser.parse_args(arguments)
    import torch

    from pianalysis.finetune.recipe import Recipe
    from pianalysis.finetune.train import finetune

    try:
        recipe = Recipe.from_json(Path(options.recipe).read_text(encoding="utf-8"))
        every = recipe.steps if options.save_every is None else options.save_every
        if every < 1:
            raise ValueError(f"--save-every must be at least 1, got {every}")
        source = options.source
        if source.endswith(".json"):
            source = json.loads(Path(source).read_text(encoding="utf-8"))
        found = finetune(
            source,
            recipe,
            options.out,
            corpus=lambda tokenizer: _corpus(tokenizer, options.tokenizer, options.text),
            save_at=range(every, recipe.steps, every),
            original_length=options.original_length,
        )
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if int(os.environ.get("RANK", "0")) == 0:
        from pianalysis.pictures.training import save_loss_curve

        save_loss_curve(found, Path(options.out, "loss.png"))
        print(
            f"{found.recipe['scheme']}: {recipe.steps} steps, loss {found.loss[-1]:.3f}, "
            f"{found.tokens_per_second:.0f} tokens/s, {100 * found.share_of_peak:.0f}% of the "
            f"matrix-product peak; written to {options.out}"
        )
    return 0


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
