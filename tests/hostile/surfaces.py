"""What the fuzzer throws at: each surface draws one input and returns (its words, the call).

A call returns its answer, or raises; ``fuzz.py`` judges which of the two is allowed. What an answer
costs grows with a few arguments (spans searched, dimensions): those are drawn small, or so large or
so odd that they have to be refused.
"""

import contextlib
import copy
import json
import math
import pathlib
import tempfile

import fuzz_checkpoints
import numpy as np
import torch

import pianalysis as pia
from pianalysis.precision.formats import PIPELINES

ROOT = pathlib.Path(__file__).parents[2]
NAN, INF = float("nan"), float("inf")

ODD = [None, True, False, "", "x", "nan", "1e4", b"8", [], [1], [[1, 2], [3]], {}, {"a": 1}, (), 1j]
ODD += [NAN, INF, -INF, -1, 0, -0.0, -2.5, 10**30, -(10**400), 1e308, 5e-324, "\ud800", object]
ODD += [np.nan, np.float16(2), np.int8(-3), np.array([]), np.array(3.0), np.array(["a"], object)]
ODD += [np.bool_(True), np.datetime64("2020-01-01"), np.array([NAN]), 2**63, -(2**63), range(3)]
ODD += [torch.tensor(2.0), torch.ones(2, dtype=torch.float16), torch.tensor([]), torch.ones(2, 2)]
ODD += [torch.tensor([NAN]), torch.ones(1, dtype=torch.bfloat16), complex(NAN, 1), pia, lambda: 1]
ODD += [torch.ones(2, requires_grad=True), torch.ones(2, device="meta"), torch.eye(2).to_sparse()]

BASES = [1.0 + 2**-52, 1.0000001, 1.5, 2, math.e, 10.0, 1e4, 10000, 5e5, 1e6, 1e12, 1e100, 1e308]
WINDOWS = [1, 2, 3, 4, 16, 100, 512, 2048.0, 2048, 4096, 8192, 131072, 2**30, 2**40]
DIMS = [2, 4, 6, 8, 16, 20, 64, 80, 96, 128, 256]
SPANS = [0, 0.0, -0.0, 0.5, 1, 1.5, math.pi, 100, 2047.999, 2048, 1e6, -3.25, 2.0**40, 2.0**53]
SPANS += [2.0**53 + 2, 5e-324, 1e-300, -1e-9, np.float32(3.7), np.int16(300), 1e308]
FACTORS = [1, 1.0, 1.0000000000000002, 1.5, 2, 3.7, 4, 8.0, 32, 1e3, 1e6, 1e6 + 1, 0.999, 1e300]
SMALL = [1, 2, 3, 4, 5, 8, 16, 17, 64, 100, 128, 1000, 4096, 4096.0, 0, -1, 1.5, 2**70, 10**30]
LIMITS = [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 1.0000001, 10.0, 0.0, -1.0, 1e-13, 1e-320]
NAMES = ["paper", "corrected", "sharp", "triangle", "abel", "normal_float32", "interleaved", "half"]
NAMES += ["bfloat16", "float16", "float32", "exact", "ridge", "papr", "PAPER", "full_attention"]
NAMES += [*list(pia.SCHEMES), *list(pia.PRESETS)]


def words(value):
    """Return a value in one short line, whatever it holds."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: repr {type(error).__name__}>"
    text = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return text if len(text) < 200 else f"{text[:190]}... ({len(text)})"


def call(function, *given, **named):
    """Return a call's words and the call itself."""
    name = getattr(function, "__qualname__", str(function))
    listed = [*map(words, given), *(f"{key}={words(value)}" for key, value in named.items())]
    return f"{name}({', '.join(listed)})", lambda: function(*given, **named)


def pick(rng, usual, odd=0.15):
    """Draw one of the usual values, or at times something odd."""
    return rng.choice(ODD) if rng.random() < odd else rng.choice(usual)


def good_spec(rng):
    """Draw a specification that is accepted."""
    window = rng.choice(WINDOWS)
    return pia.RopeSpec(rng.choice(DIMS), rng.choice(BASES), window)


def spec(rng):
    return rng.choice(ODD) if rng.random() < 0.05 else good_spec(rng)


def numbers(rng, usual, length=None):
    """Draw a scalar, a list, an array or a tensor of numbers, of many types and shapes."""
    choice = rng.random()
    if choice < 0.1:
        return rng.choice(ODD)
    if choice < 0.35:
        return rng.choice(usual)
    size = rng.choice([0, 1, 2, 3, 7]) if length is None or rng.random() < 0.1 else length
    values = [rng.choice(usual) for _ in range(size)]
    if rng.random() < 0.06 and size:
        values[rng.randrange(size)] = rng.choice(ODD)
        return values
    if choice < 0.5:
        return values
    kind = rng.choice([np.float64] * 6 + [np.float32, np.float16, np.int64, np.complex128, object])
    with np.errstate(all="ignore"):
        try:
            out = np.array(values, dtype=kind)
        except (TypeError, ValueError, OverflowError):
            return values
    shape = rng.choice([None, None, (1, -1), (1, 1, -1), (-1, 1)])
    out = out if shape is None or not out.size else out.reshape(shape)
    if rng.random() < 0.2:
        out = out[::-1] if rng.random() < 0.5 else np.asfortranarray(out)
    if rng.random() < 0.15 and out.dtype.kind in "fi":
        return torch.from_numpy(out.copy("C")).to(
            rng.choice([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
        )
    return out


def coefficients(rng, model):
    """Draw h: a scalar limit or one value a pair, real or complex."""
    pairs = model.pairs if isinstance(model, pia.RopeSpec) else 4
    usual = [0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, 3, 1e308]
    return numbers(rng, usual if rng.random() < 0.7 else [*usual, 1j, 1 + 2j, -1e308j], pairs)


def extension(rng):
    """Draw a scheme's constructor with arguments, most of them good."""
    model = good_spec(rng)
    scheme = rng.choice(list(pia.SCHEMES.values()))
    target = model.context_window * rng.choice([1, 2, 4, 1.5, 32])
    target = min(2**40, int(target))
    return scheme, model, target


def scheme_arguments(rng, scheme, model, odd):
    """Draw keywords of a scheme: what it needs, and some of what it may be given."""
    pairs = model.pairs if isinstance(model, pia.RopeSpec) else 4
    usual = {
        "factor": FACTORS,
        "base": BASES,
        "reference_length": WINDOWS,
        "alpha": [0.5, 1.0, 1, 2.0, 32.0],
        "beta": [32.0, 32, 4.0, 1.0, 64.0],
        "low_freq_factor": [1.0, 1, 0.5, 4.0],
        "high_freq_factor": [4.0, 4, 8.0, 1.0],
        "beta_fast": [32.0, 32, 16, 1.0, 1e300],
        "beta_slow": [1.0, 1, 0.5, 2, 1e-300],
        "mscale": [1.0, 0.707, 0, None, 1e300],
        "mscale_all_dim": [1.0, 0.707, 0, None, 1e300],
        "truncate": [True, False],
        "attention_factor": [1.0, 1.19, 0.5, None, 1e300, 1e-300],
        "proportion": [1.0, 0.5, 0.25, 1e-9],
    }
    out = {}
    for field in scheme.__dataclass_fields__.values():
        name = field.name
        if name in ("spec", "target"):
            continue
        needed = name in ("base", "proportion", "short_factor", "long_factor")
        if rng.random() > (0.97 if needed else 0.4):
            continue
        if name in ("short_factor", "long_factor"):
            out[name] = numbers(rng, [1.0, 1.5, 2, 64.0], pairs)
        else:
            out[name] = pick(rng, usual[name], odd)
    if rng.random() < 0.02:
        out[rng.choice(["factr", "Base", "spec2"])] = 1.0
    return out


def everything(value):
    """Return an extension's every property: what its constructor accepted has to hold."""
    found = [value.factor, value.attention_factor, value.frequencies, value.frequencies_tail]
    return [*found, value.ratios, json.loads(json.dumps(value.to_hf(), allow_nan=False))]


def constructors(rng):
    """RopeSpec, the schemes, presets."""
    if rng.random() < 0.35:
        given = [pick(rng, DIMS, 0.3), pick(rng, BASES, 0.3), pick(rng, WINDOWS, 0.3)]
        given += [pick(rng, [1.0, 0.5, 0.25, 1, 1e-9, 0.3], 0.3)] if rng.random() < 0.6 else []

        def made(*given):
            spec = pia.RopeSpec(*given)
            return [spec.rotary_dim, spec.frequencies, spec.frequencies_tail, spec.wavelengths]

        return call(made, *given)
    scheme, model, target = extension(rng)
    model = rng.choice(ODD) if rng.random() < 0.05 else model
    target = pick(rng, [target], 0.1)
    named = scheme_arguments(rng, scheme, model, 0.15)
    text, make = call(scheme, model, target, **named)
    return text, lambda: everything(make())


def some_model(rng):
    """Draw a specification or an extension."""
    if rng.random() < 0.6:
        return spec(rng)
    for _ in range(20):
        scheme, model, target = extension(rng)
        with contextlib.suppress(ValueError, TypeError):
            return scheme(model, target, **scheme_arguments(rng, scheme, model, 0.0))
    return good_spec(rng)


def small_spec(rng):
    return pia.RopeSpec(rng.choice([2, 4, 8, 16]), rng.choice(BASES[2:10]), rng.choice([2, 16, 64]))


def functions(rng):
    """The public functions of ``pianalysis.__all__``."""
    name = rng.choice(list(FUNCTIONS))
    given, named = FUNCTIONS[name](rng)
    named = {key: value for key, value in named.items() if rng.random() < 0.8}
    text, make = call(getattr(pia, name), *given, **named)
    if name not in _OPEN:
        return text, make

    def answer():
        found = make()
        return [getattr(found, field) for field in _OPEN[name]]

    return text, answer


def _bound(rng):
    model = some_model(rng)
    own = model if isinstance(model, pia.RopeSpec) else getattr(model, "spec", None)
    return model, numbers(rng, SPANS), coefficients(rng, own)


def _deviation(rng):
    model = some_model(rng)
    window = getattr(getattr(model, "spec", None), "context_window", 0)
    usual = SPANS if window > 2**17 else SPANS[:10]
    return [model, numbers(rng, usual), coefficients(rng, getattr(model, "spec", None))], {}


def _interpolation(rng):
    model = good_spec(rng) if rng.random() < 0.7 else some_model(rng)
    own = model if isinstance(model, pia.RopeSpec) else getattr(model, "spec", None)
    named = {"form": pick(rng, NAMES[:4], 0.1)}
    if rng.random() < 0.4:
        named |= {"left": numbers(rng, [0, 1, 2.0]), "right": numbers(rng, [1, 3, 5.0])}
    return [model, numbers(rng, SPANS), coefficients(rng, own)], named


def _pair(rng):
    shape = rng.choice([(4,), (8,), (3, 8), (7,), (2, 3, 4), ()])
    kinds = [torch.float32, torch.float64, torch.float16, torch.int64, torch.bfloat16]
    out = []
    for _ in range(2):
        if rng.random() < 0.1:
            out.append(rng.choice(ODD))
            continue
        values = np.array([rng.choice([0.0, 1.0, -2.5, 1e30]) for _ in range(math.prod(shape))])
        values = values.reshape(shape)
        if rng.random() < 0.3:
            out.append(torch.from_numpy(values).to(rng.choice(kinds)))
        else:
            kind = rng.choice([np.float64, np.float32, np.float16, np.int32])
            with np.errstate(all="ignore"):
                out.append(values.astype(kind))
        if rng.random() < 0.1:
            shape = (6,)
    return out, {"layout": pick(rng, ["interleaved", "half", "split"], 0.1)}


def _worst(rng):
    model = small_spec(rng) if rng.random() < 0.5 else spec(rng)
    if isinstance(model, pia.RopeSpec) and model.context_window * model.rotary_dim <= 2**22:
        model = small_spec(rng)
    named = {"max_coefficient": pick(rng, [1.0, 2, 10.0, 1e9, 1e-9, 1e10], 0.2)}
    return [model, pick(rng, SPANS, 0.2)], named


def _ceiling(rng):
    named = {
        "max_coefficient": pick(rng, [1.0, 2, 10.0, 1e9, 1e-9, 1e10, [1.0, 2.0]], 0.2),
        "updates": pick(rng, [0, 1, 3, -1, 1.5], 0.1),
        "certified": pick(rng, [True, False], 0.1),
    }
    return [small_spec(rng), numbers(rng, SPANS)], named


def _largest(rng):
    own, target = small_spec(rng), rng.choice([64, 100, 256, 2**19])
    scheme = rng.choice([pia.PositionInterpolation, pia.NTKAware, pia.Unscaled])
    if own.rotary_dim == 2 and scheme is pia.NTKAware:  # refused, as constructors are asked
        scheme = pia.Unscaled
    model = scheme(own, target) if rng.random() < 0.8 else rng.choice([own, *ODD])
    return [model], {"max_coefficient": pick(rng, [1.0, 10.0, 1e-9, 1e7], 0.2)}


def _positions(rng):
    return [some_model(rng), numbers(rng, [0, 1, 2, 1000, 2048, 70000, -1, 2**24, 2**31, 0.5])], {
        "pipeline": pick(rng, [*_PIPELINES, "float32", "bf16"], 0.1)
    }


_PIPELINES = list(PIPELINES)
# The fields that are finite where others say "does not apply" (nan), "overflows" (inf) or, of a
# pair that stands still, how long a turn takes (inf).
_OPEN = {
    "ratio_readings": ("lower", "upper"),
    "phase_error": ("position", "pair"),
    "worst_case_score": ("value", "lower", "upper"),  # max_coefficient may be infinite
    "worst_case_contrast": ("value", "lower", "upper"),
    "base_limits": ("limit",),
    "scheme_profile": ("score_multiplier", "contrast_kept", "wavelength", "ratio", "unseen"),
}
_WORTHLESS = [0, -1, 2**60, 10**30, 1.5, "x", None, NAN]  # searches that have to be refused

FUNCTIONS = {
    "abel_sum": lambda rng: (list(_bound(rng)[:2]), {}),
    "partial_sums": lambda rng: (list(_bound(rng)[:2]), {}),
    "cosine_sum": lambda rng: (list(_bound(rng)[:2]), {}),
    "adjacent_contrast": lambda rng: (list(_bound(rng)[::2]), {}),
    "attention_score": lambda rng: (
        [*_bound(rng)[::2], numbers(rng, SPANS)],
        {"derivative": pick(rng, [0, 1, 2, 3], 0.1)},
    ),
    "extrapolation_bound": lambda rng: (list(_bound(rng)), {"form": pick(rng, NAMES[:5], 0.1)}),
    "interpolation_bound": _interpolation,
    "deviation_bound": _deviation,
    "theta_square_sum": lambda rng: ([spec(rng)], {}),
    "grid_constant": lambda rng: ([some_model(rng)], {}),
    "bound_ratio": lambda rng: ([spec(rng)], {"form": pick(rng, NAMES[:4], 0.1)}),
    "critical_base": lambda rng: ([spec(rng), pick(rng, WINDOWS)], {}),
    "critical_dimension": lambda rng: ([spec(rng)], {}),
    "cosine_length": lambda rng: ([some_model(rng)], {"stop": pick(rng, SMALL)}),
    "first_span_below": lambda rng: (
        [spec(rng), pick(rng, LIMITS)],
        {"stop": pick(rng, SMALL), "tolerance": pick(rng, LIMITS)},
    ),
    "smallest_abel_sum": lambda rng: (
        [spec(rng), pick(rng, SPANS[:9]), pick(rng, [0, 1, 2.5, 100, 2048, 3000])],
        {"tolerance": pick(rng, LIMITS)},
    ),
    "first_wrong": lambda rng: (
        [some_model(rng)],
        {
            "pipeline": pick(rng, _PIPELINES, 0.1),
            "tolerance": pick(rng, LIMITS),
            "stop": pick(rng, SMALL),
        },
    ),
    "phase_error": _positions,
    "fit_score": lambda rng: (
        [small_spec(rng), numbers(rng, [0.0, 1.0, -2.0, 1e300], rng.choice([2, 16, 64]))],
        {"method": pick(rng, NAMES, 0.1), "ridge": pick(rng, LIMITS)},
    ),
    "exact_fit_spread": lambda rng: (
        [small_spec(rng), numbers(rng, SPANS[:10])],
        {"relative_radius": pick(rng, LIMITS)},
    ),
    "local_grid_constant": lambda rng: ([rng.choice(_WORTHLESS)], {"tolerance": pick(rng, LIMITS)}),
    "minimal_base": lambda rng: (
        [pick(rng, [4, 16, 64, 100, 256, *_WORTHLESS]), pick(rng, [4, 8, 16, 64, 3, 7, 2])],
        {},
    ),
    "paper_bound_threshold": lambda rng: (
        [pick(rng, [*DIMS, 3, 10**6])],
        {"cells": pick(rng, ["unit", "all", "some"], 0.1)},
    ),
    "preset": lambda rng: ([pick(rng, NAMES)], {}),
    "ratio_readings": lambda rng: (
        [small_spec(rng)],
        {"windows": numbers(rng, [2, 16, 100, 2048, 0, -1, 1.5, 2**60])},
    ),
    "scheme_profile": lambda rng: ([_short(some_model(rng))], {}),
    "score_coefficients": _pair,
    "worst_case_contrast": _worst,
    "worst_case_score": _worst,
    "worst_case_bound": _ceiling,
    "largest_worst_case": _largest,
    "attention_shift": lambda rng: ([numbers(rng, [0, 0.1, 1.0, 5, 1e3, -1.0])], {}),
    "output_shift": lambda rng: (
        [numbers(rng, [0, 0.1, 1.0]), numbers(rng, [0.0, 2.0, 1e300, -1.0])],
        {},
    ),
    "required_margin": lambda rng: (
        [numbers(rng, [1, 2, 2048, 2**53, 2.5]), numbers(rng, [0.5, 1e-300, 0.0, 1.0])],
        {},
    ),
    "expected_deviation": lambda rng: (_interpolation(rng)[0], {}),
    "expected_square": lambda rng: (list(_bound(rng)), {}),
    "mixed_base_bound": lambda rng: ([some_model(rng), *_bound(rng)], {}),
    "base_limits": lambda rng: (
        [small_spec(rng), pick(rng, [64, 100, 300, *_WORTHLESS])],
        {"epsilon": pick(rng, LIMITS), "layers": pick(rng, SMALL)},
    ),
}


def _short(model):
    """Return a model whose target is short enough for a search to its end."""
    target = getattr(model, "target", 0)
    return model if target <= 2**18 else pia.PositionInterpolation(pia.RopeSpec(8, 1e4, 64), 256)


def _published():
    path = ROOT / "tests" / "extension" / "published_configs.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    return [entry["config"] for entry in listed.values()]


PUBLISHED = _published()
KEYS = ["rope_theta", "rope_scaling", "rope_parameters", "head_dim", "hidden_size", "rope_type"]
KEYS += ["num_attention_heads", "max_position_embeddings", "partial_rotary_factor", "rotary_pct"]
KEYS += ["rotary_dim", "original_max_position_embeddings", "model_type", "factor", "text_config"]
KEYS += ["rope_local_base_freq", "qk_rope_head_dim", "alibi", "long_factor", "short_factor", "type"]
KEYS += ["attention_factor", "beta_fast", "mscale", "low_freq_factor", "truncate", "n_positions"]


def mutated_config(rng):
    """Return a published config, some of whose values were changed, dropped or added."""
    tree = copy.deepcopy(rng.choice(PUBLISHED))
    for _ in range(rng.choice([0, 1, 1, 2, 3, 5])):
        node = tree
        while isinstance(node, dict) and node:
            inner = [value for value in node.values() if isinstance(value, dict)]
            if not inner or rng.random() < 0.6:
                break
            node = rng.choice(inner)
        key = rng.choice(list(node) or KEYS) if rng.random() < 0.7 else rng.choice(KEYS)
        choice = rng.random()
        if choice < 0.15:
            node.pop(key, None)
        elif choice < 0.5:
            node[key] = _fresh(rng.choice(ODD))
        elif choice < 0.6:
            node[rng.choice([1, None, "", ("a",), "rope_thetta", "factr"])] = _fresh(
                rng.choice(ODD)
            )
        else:
            lists = [BASES, WINDOWS, DIMS, FACTORS, NAMES, fuzz_checkpoints.VALUES]
            node[key] = _fresh(rng.choice(rng.choice(lists)))
    return tree


def _fresh(value):
    """Return a dict or list anew: later mutations must not reach the ones drawn from."""
    return copy.deepcopy(value) if type(value) in (dict, list) else value


def configs(rng):
    """Hugging Face configs, as dicts and as files."""
    function = rng.choice([pia.RopeSpec.from_hf, pia.extension_from_hf, pia.extension_from_hf])
    named = {}
    if rng.random() < 0.5:
        named["original_length"] = pick(rng, WINDOWS, 0.2)
    if rng.random() < 0.2:
        named["layer_type"] = pick(rng, ["full_attention", "sliding_attention"], 0.3)
    if function is not pia.RopeSpec.from_hf and rng.random() < 0.5:
        named["length"] = pick(rng, WINDOWS, 0.2)
    if rng.random() < 0.3:
        data = json.dumps(rng.choice(PUBLISHED)).encode()
        return _from_file(function, fuzz_checkpoints.mutate_json(data, rng), named)
    config = rng.choice(ODD) if rng.random() < 0.03 else mutated_config(rng)
    text, make = call(function, config, **named)
    return text, lambda: _read_out(make())


def _from_file(function, data, named):
    def answer():
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "config.json")
            path.write_bytes(data)
            return _read_out(function(path, **named))

    return f"{function.__qualname__}({words(data)}, {words(named)})", answer


def _read_out(found):
    return found.frequencies if isinstance(found, pia.RopeSpec) else everything(found)
