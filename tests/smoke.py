"""Every command once, as a user of the installed wheel runs it; prints a line a command.

Started by ``make wheel`` with the fresh environment's Python, in an empty folder outside the tree.
"""

import json
import subprocess
import sys
from pathlib import Path

CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
    "vocab_size": 260,
    "max_position_embeddings": 256,
    "rope_theta": 10000.0,
}
RECIPE = {
    "scheme": "linear",
    "target": 512,
    "steps": 2,
    "sequence_length": 64,
    "batch": 2,
    "gap": True,
    "recall_share": 0.0,
    "seed": 0,
}


def model(folder):
    """Save a random Llama of two layers with a tokenizer of one token a byte."""
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", *alphabet])}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")
    wrapped.save_pretrained(folder)
    config = transformers.LlamaConfig(**CONFIG)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def run(*command):
    """Run one command; a failure ends everything with what it printed."""
    done = subprocess.run(command, capture_output=True, text=True)
    print(f"{done.returncode} {' '.join(map(str, command[1:]))}", flush=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def main():
    """Run them all in the present folder."""
    import pianalysis

    here = Path.cwd()
    installed = Path(pianalysis.__file__).resolve()
    assert "site-packages" in installed.parts, f"the wheel must be imported, got {installed}"
    python = sys.executable
    command = (str(Path(python).with_name("pianalysis")),)
    model(here / "model")
    text = here / "text.txt"
    text.write_text("The sun is yellow and the grass is green, as far as one can tell. " * 60)
    (here / "recipe.json").write_text(json.dumps(RECIPE))
    run(*command, "--version")
    run(*command, "report", "model", "--target", "1024")
    run(*command, "compare", "model", "--target", "1024", "--schemes", "linear,yarn")
    run(*command, "phase-error", "llama-7b")
    run(*command, "plan", "llama-7b", "--target", "8192")
    run(*command, "heads", "model", "--text", "text.txt", "--tokens", "48", "--trials", "1")
    reading = ("--perplexity", "--window", "64", "--stride", "32", "--tokens", "300")
    run(*command, "evaluate", "model", *reading, "--text", "text.txt")
    training = ("model", "--recipe", "recipe.json", "--text", "text.txt")
    run(*command, "finetune", *training, "--out", "run")
    run(python, "-m", "pianalysis.finetune", *training, "--out", "again")
    run(python, "-m", "pianalysis", "--help")
    run(python, "-m", "paper_repro", "list")
    run(python, "-m", "paper_repro", "run", "fig1", "tables", "--out", "figures")
    run(python, "-m", "paper_repro.scratch", "--help")


if __name__ == "__main__":
    main()
