"""Mutate the files of a tiny checkpoint and open what comes out; prints a summary as JSON.

A process of its own, so that its peak memory is that of the mutations and a crash is seen.
"""

import collections
import json
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import tiny_models

from pianalysis.heads import open_checkpoint, visit_layers

IDS = tiny_models.text(tokens=6)
SIZES = [0, 1, 2, 3, 7, 31, 33, 255, 2**16, 2**31 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
WHOLE = [-1, 0, 1, 2, 3, 5, 8, 16, 33, 64, 2**20, 2**31, 2**40, 10**9, 10**12, 10**30]
VALUES = [*WHOLE, 0.5, -2.5, 1e300, 1e-300, None, True, False, "", "x", "../x", "/etc/passwd"]
VALUES += ["default", "yarn", "gelu", [], [1], {}, {"a": 1}, {"rope_type": "linear", "factor": 2.0}]
RAW = ["NaN", "Infinity", "1e999", "[" * 2000, "{" * 40 + "}" * 40, "9" * 5000, '"\\ud800"']


def flip(data, rng, first=0, last=None):
    """Change one to four bytes between two places."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        out[rng.randrange(first, min(last or len(out), len(out)))] = rng.randrange(256)
    return bytes(out)


def cut(data, rng):
    """Cut off the end, or add to it."""
    if rng.random() < 0.3:
        return data + bytes(rng.randrange(1, 40))
    return data[: rng.randrange(len(data))]


def edit_json(data, rng):
    """Give one value, anywhere, another; or drop, double, rename or misspell it."""
    tree = json.loads(data)
    places = []

    def walk(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(tree)
    node, key = rng.choice(places)
    choice = rng.random()
    if choice < 0.6:
        node[key] = rng.choice(VALUES)
    elif choice < 0.7:
        del node[key]
    elif choice < 0.8:
        other, place = rng.choice(places)
        node[key], other[place] = json.loads(json.dumps([other[place], node[key]]))
    elif choice < 0.9:
        node[key] = "@@raw@@"
        return json.dumps(tree).replace('"@@raw@@"', rng.choice(RAW)).encode()
    elif isinstance(node, dict):
        node[str(key) + rng.choice(["", " ", ".weight", "_"])] = node.pop(key)
    return json.dumps(tree).encode()


def mutate_safetensors(data, rng):
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    choice = rng.randrange(6)
    if choice == 0:
        return flip(data, rng, 0, 8 + length)
    if choice == 1:
        return flip(data, rng, 8 + length)
    if choice == 2:
        return cut(data, rng)
    if choice == 3:
        return rng.choice(SIZES).to_bytes(8, "little") + data[8:]
    if choice == 4:  # names of two tensors swapped: shapes may or may not agree
        names = [name for name in json.loads(header) if name != "__metadata__"]
        first, second = rng.sample(names, 2)
        text = header.decode().replace(f'"{first}"', '"@@"')
        text = text.replace(f'"{second}"', f'"{first}"').replace('"@@"', f'"{second}"')
        return data[:8] + text.encode() + body
    changed = edit_json(header, rng)
    return len(changed).to_bytes(8, "little") + changed + body


def mutate_json(data, rng):
    choice = rng.random()
    if choice < 0.15:
        return flip(data, rng)
    if choice < 0.2:
        return cut(data, rng)
    return edit_json(data, rng)


def mutate_gguf(data, rng):
    """Mostly in the header, whose end is where the first tensor's name is, plus a little."""
    end = data.index(b"token_embd") + 1600
    choice = rng.random()
    if choice < 0.4:
        return flip(data, rng, 0, end)
    if choice < 0.5:
        return flip(data, rng)
    if choice < 0.6:
        return cut(data, rng)
    at = rng.randrange(4, end) if choice < 0.8 else rng.choice([4, 8, 16])
    width = rng.choice([4, 8])
    value = rng.choice(SIZES) % 2 ** (8 * width)
    return data[:at] + value.to_bytes(width, "little") + data[at + width :]


def targets(root):
    """Return what is mutated: path to open, file, function, how many times in a thousand."""
    small = {"num_hidden_layers": 2}
    single = tiny_models.save("llama", root / "single", **small)
    shards = tiny_models.save("qwen3", root / "shards", shards="12KB", **small)
    family = tiny_models.save("gemma2", root / "family", **small)
    neox = tiny_models.save("gpt_neox", root / "neox", **small)
    gguf = tiny_models.save_gguf(root / "tiny.gguf", **small)
    one = next(shards.glob("model-00002-of-*.safetensors"))
    return [
        (single, single / "model.safetensors", mutate_safetensors, 250),
        (shards, shards / "model.safetensors.index.json", mutate_json, 150),
        (shards, one, mutate_safetensors, 100),
        (single, single / "config.json", mutate_json, 125),
        (family, family / "config.json", mutate_json, 75),
        (neox, neox / "config.json", mutate_json, 75),
        (gguf, gguf, mutate_gguf, 225),
    ]


def attempt(path):
    """Open and run; return the outcome, which is a refusal or finite queries and keys."""
    checkpoint = open_checkpoint(path)
    spec, seen = checkpoint.spec, []
    visit_layers(checkpoint, IDS, seen.append)
    for layer in seen:
        assert layer.queries.shape[1:] == layer.keys.shape[1:] == (len(IDS), spec.pairs)
        assert layer.queries.shape[0] % layer.keys.shape[0] == 0
        assert np.isfinite(layer.queries).all()
        assert np.isfinite(layer.keys).all()
        assert np.isfinite(layer.scaling)


def main(count, seed):
    warnings.simplefilter("error")
    rng = random.Random(seed)
    outcomes, bad = collections.Counter(), []
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        sources = targets(root)
        for path, *_ in sources:
            attempt(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        slowest = 0.0
        for number, (path, file, mutate, share) in enumerate(sources):
            original = file.read_bytes()
            for turn in range(share * count // 1000):
                file.write_bytes(mutate(original, rng))
                begun = time.process_time()
                try:
                    attempt(path)
                    outcome = "opened"
                except (ValueError, OSError) as error:
                    # A refusal names a file, an argument or a value: it is never empty.
                    outcome = "refused" if str(error) else "empty refusal"
                except Exception as error:  # what the test is after
                    outcome = type(error).__name__
                slowest = max(slowest, time.process_time() - begun)
                outcomes[outcome] += 1
                if outcome not in ("opened", "refused"):
                    bad.append([file.name, number, turn, outcome])
                    if len(sys.argv) > 3:
                        shutil.copy(file, f"{sys.argv[3]}-{number}-{turn}")
            file.write_bytes(original)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.process_time() - started
    summary = {"outcomes": dict(outcomes), "bad": bad[:20], "seconds": seconds}
    print(json.dumps({**summary, "slowest": slowest, "grown_kib": after - before}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
