"""Two more surfaces of the fuzzer: the command line, and records that are read back."""

import contextlib
import io
import json
import math
import pathlib
import tempfile
from unittest import mock

import fuzz_checkpoints
from surfaces import PUBLISHED, ROOT, call, mutated_config, pick, words

from paper_repro import committed, ledger, tables
from pianalysis.commands import main

COUNTS = ["1", "8", "512", "2048", "4096", "8192", "0", "-1", "1.5", "x", "", "nan", "9" * 30, "٣"]
REALS = ["1", "2", "4.0", "0.5", "nan", "inf", "-inf", "1e308", "1e-320", "x", "", "0", "-3"]
MODELS = ["llama-7b", "smollm2-135m", "llama-3.1-8b", "lama-7b", "nowhere", "", ".", "/", "\x00"]
MODELS += ["/dev/null", "-", "--", "no/such/config.json", "a" * 5000, "\udcff", "CONFIG", "CONFIG"]
WORDS = ["linear", "yarn", "ntk", "base-change", "config", "yarm", "", ",", "linear,linear", "x,"]
STRAY = ["--nothing", "--json=1", "extra", "--", "-h", "--help", "--version", "--target", "", "-5"]


def _options(rng, most, **usual):
    """Draw options with values; now and then one of them without its value."""
    out = []
    for name, values in usual.items():
        if rng.random() < most:
            out += ["--" + name.replace("_", "-"), rng.choice(values)]
            if rng.random() < 0.03:
                out.pop()
    return out


def _command(rng):
    command = rng.choice(["report", "report", "phase-error", "plan", "plan", "compare", "heads"])
    command = rng.choice([command, command, "evaluate", "finetune", "", "reprot"])
    out = [command]
    if rng.random() < 0.97:
        out.append(rng.choice(MODELS))
    if command in ("report", "phase-error", "plan", "compare"):
        out += _options(rng, 0.9, target=COUNTS)
        out += _options(rng, 0.1, original_length=COUNTS, layer_type=["full_attention", "x", ""])
        out += ["--json"] if rng.random() < 0.3 else []
    if command == "plan":
        out += _options(rng, 0.3, gpus=COUNTS, gpu_memory=REALS, utilisation=REALS, peak=REALS)
        out += _options(rng, 0.3, batch=COUNTS, micro_batch=COUNTS, steps=COUNTS)
    if command in ("phase-error", "compare"):
        out += _options(rng, 0.3, schemes=WORDS)
    # What takes long is given something that has to be refused.
    if command == "compare":
        out += ["--out", "nowhere"]
    if command in ("heads", "evaluate"):
        numbers = {"tokens": COUNTS, "trials": COUNTS, "seed": COUNTS}
        out += _options(rng, 0.3, scheme=WORDS, factor=REALS, **numbers)
        out += ["--perplexity"] if command == "evaluate" and rng.random() < 0.7 else []
        out += rng.choice([["--out", "nowhere"], ["--text", "nowhere"], ["--tokens", "7"]])
        if command == "evaluate":
            out += _options(rng, 0.2, window=COUNTS, stride=COUNTS, distances=COUNTS, data=WORDS)
            out += _options(rng, 0.2, tasks=WORDS, limit=COUNTS)
            out += ["--out", "nowhere"]
    if command == "finetune":
        out += _options(rng, 0.8, recipe=["nowhere", "/", "/dev/null", "CONFIG", "\x00"], out=["x"])
        out += _options(rng, 0.3, save_every=COUNTS, original_length=COUNTS, tokenizer=MODELS[4:])
    if rng.random() < 0.08:
        out.insert(rng.randrange(len(out) + 1), rng.choice(STRAY))
    if rng.random() < 0.04:
        rng.shuffle(out)
    return out


def commands(rng):
    """Arguments of ``pianalysis``, some of them with a mutated config in a file."""
    given = _command(rng)
    data = _config_bytes(rng)

    def answer():
        out, err = io.StringIO(), io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            path = pathlib.Path(folder, "config.json")
            path.write_bytes(data)
            arguments = [str(path) if word == "CONFIG" else word for word in given]
            status = None
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    status = main.main(arguments)
                except SystemExit as stop:
                    status = stop.code
            left = {path.name for path in pathlib.Path(folder).iterdir()} - {"config.json"}
        assert status in (0, 2), f"status {status}"
        lines = err.getvalue()
        if status == 2:
            assert lines.count("\n") == 1, f"{lines.count(chr(10))} lines on stderr: {lines!r}"
            assert lines.startswith("pianalysis"), lines
            assert "error: " in lines.split("\n")[0], lines
            assert lines.split("error: ", 1)[1].strip(), "an empty refusal"
            assert not out.getvalue(), "both an answer and a refusal"
            assert not left, f"left behind {left}"
            raise ValueError(lines)
        assert out.getvalue().strip(), "no answer"
        # A table writes a number that is not finite in words of its own (none, overflow).
        assert "nan" not in out.getvalue().replace("finance", ""), "nan in the answer"
        return

    note = f" with {words(data)}" if "CONFIG" in given else ""
    return f"pianalysis {words(given)}{note}", answer


def _config_bytes(rng):
    if rng.random() < 0.5:
        return fuzz_checkpoints.mutate_json(json.dumps(rng.choice(PUBLISHED)).encode(), rng)
    try:
        return json.dumps(mutated_config(rng)).encode()
    except (TypeError, ValueError):
        return json.dumps(rng.choice(PUBLISHED)).encode()


LEDGER = (ROOT / "figures" / "claims.json").read_bytes()
STEMS = ["fig1", "table1", "table4", "ratio", "schemes", "finetune_x4_loss"]
CSV = {stem: (ROOT / "figures" / f"{stem}.csv").read_bytes()[:4000] for stem in STEMS}
JSON = {stem: (ROOT / "figures" / f"{stem}.json").read_bytes() for stem in STEMS}
CELLS = ["nan", "", "inf", "x", '"', '""', "\n", "\r", "\x00", "1e999", ">", "> 10^3", "9" * 200]
CELLS += [",", ",,,", '"a\nb"', "\ufeff", "é", "--5", "٣", "-"]


def mutate_csv(data, rng):
    """Change bytes, cut, or change, drop, double cells, rows or the header."""
    choice = rng.random()
    if choice < 0.2 and data:
        return fuzz_checkpoints.flip(data, rng)
    if choice < 0.3:
        return fuzz_checkpoints.cut(data, rng)
    rows = [line.split(",") for line in data.decode().split("\n")]
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(rows)
        at = rng.randrange(len(row) + 1)
        action = rng.randrange(5)
        if action == 0:
            row.insert(at, rng.choice(CELLS))
        elif action == 1:
            row[at : at + 1] = [rng.choice(CELLS)]
        elif action == 2:
            del row[at:]
        elif action == 3:
            rows.remove(row)
            rows = rows or [[]]
        else:
            rows.insert(rng.randrange(len(rows)), list(row))
    return "\n".join(",".join(row) for row in rows).encode()


def records(rng):
    """claims.json, a record's CSV or JSON, a cell of the paper's tables."""
    kind = rng.choice(["ledger", "columns", "summary", "cell", "number"])
    if kind == "ledger":
        data = fuzz_checkpoints.mutate_json(LEDGER, rng)
        return f"ledger {words(_difference(LEDGER, data))}", lambda: _ledger(data)
    if kind == "number":
        text, make = call(tables.as_number, pick(rng, CELLS))
        return text, lambda: None if (found := make()) == math.inf and ">" in text else found
    if kind == "cell":
        name = pick(rng, list(tables.NAMES))
        heads = list(tables.rows("table1")[0]) + list(tables.rows("table3")[0])
        where = {rng.choice(heads): pick(rng, ["7B", "13B", "8192", "2048", "None"], 0.1)}
        return call(rng.choice([tables.cell, tables.need]), name, pick(rng, heads), **where)
    stem = rng.choice(STEMS)
    if kind == "summary":
        data = fuzz_checkpoints.mutate_json(JSON[stem], rng)
        return f"summary {words(_difference(JSON[stem], data))}", lambda: _committed(
            stem, b"", data
        )
    data = mutate_csv(CSV[stem], rng)
    return f"columns {stem} {words(data)}", lambda: _committed(stem, data, b"")


def _difference(old, new):
    """Return the part of a file from a little before its first change on."""
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    return new[max(0, at - 60) : at + 100]


def _ledger(data):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "claims.json").write_bytes(data)
        claims = ledger.order(ledger.read(folder))
        # What was read can be written, printed and compared.
        assert ledger.markdown(claims)
        assert isinstance(ledger.differences(claims, claims), list)
        ledger.write(claims, folder)
        assert ledger.read(folder) == claims


def _committed(stem, table, body):
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(committed, "FOLDER", pathlib.Path(name)),
    ):
        if body:
            pathlib.Path(name, f"{stem}.json").write_bytes(body)
            found = committed.summary(stem)
            assert isinstance(found, dict), f"a {type(found).__name__}"
            return found
        pathlib.Path(name, f"{stem}.csv").write_bytes(table)
        columns = committed.columns(stem)
        assert len({len(column) for column in columns.values()}) <= 1, "columns differ in length"
    return None  # a cell may hold nan or inf as the file does
