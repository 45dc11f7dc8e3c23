"""Short tasks by the harness on local data, against log-likelihoods summed by hand; summaries."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama

import pianalysis as pia
from pianalysis.evaluation import summaries
from pianalysis.evaluation import tasks as module
from pianalysis.evaluation.summaries import Report
from pianalysis.evaluation.tasks import TASKS, task_accuracy

needs_harness = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="lm_eval missing: pip install -e '.[eval]'"
)
needs_rouge = pytest.mark.skipif(
    find_spec("rouge_score") is None, reason="rouge_score missing: pip install -e '.[eval]'"
)

SPEC = pia.RopeSpec(16, 10_000.0, 512)
PI = {"PI x4": pia.PositionInterpolation(SPEC, 2048)}


@pytest.fixture(scope="module")
def tiny():
    model = llama(max_position_embeddings=512)
    with torch.no_grad():
        model.lm_head.weight *= 20.0
    return checkpoint(model, letters(), SPEC)


def word(rng):
    return "".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 9)))


def phrase(rng, count):
    return " ".join(word(rng) for _ in range(count))


def boolq(rng):
    doc = {"question": phrase(rng, 4), "passage": phrase(rng, 9), "label": int(rng.integers(2))}
    prompt = f"{doc['passage']}\nQuestion: {doc['question']}?\nAnswer:"
    return doc, [(prompt, " no"), (prompt, " yes")], ["no", "yes"], doc["label"]


def piqa(rng):
    doc = {"goal": phrase(rng, 4), "sol1": phrase(rng, 2), "sol2": phrase(rng, 5)}
    doc["label"] = int(rng.integers(2))
    prompt, choices = f"Question: {doc['goal']}\nAnswer:", [doc["sol1"], doc["sol2"]]
    return doc, [(prompt, f" {choice}") for choice in choices], choices, doc["label"]


def race(rng):
    problems = [
        {
            "question": phrase(rng, 4) + end,
            "options": [phrase(rng, 1 + i) for i in range(4)],
            "answer": "ABCD"[rng.integers(4)],
        }
        for end in ("  _  .", " ?", " ?")
    ]
    doc = {"article": phrase(rng, 12), "problems": str(problems)}
    first, second = (p["options"]["ABCD".index(p["answer"])] for p in problems[:2])
    prompt = (
        f"Article: {doc['article']}\n\n{problems[0]['question'][:-5]}{first}\n"
        f"Question: {problems[1]['question']}\nAnswer: {second}\n{problems[2]['question']}"
    )
    choices = problems[2]["options"]
    gold = "ABCD".index(problems[2]["answer"])
    return doc, [(prompt, f" {choice}") for choice in choices], choices, gold


def winogrande(rng):
    before, after = phrase(rng, 4), phrase(rng, 3)
    doc = {"sentence": f"{before} _ {after}.", "option1": word(rng), "option2": word(rng)}
    doc["answer"] = "12"[rng.integers(2)]
    options = [doc["option1"], doc["option2"]]
    pairs = [(f"{before} {option}", f" {after}.") for option in options]
    return doc, pairs, [f"{before} {option}" for option in options], int(doc["answer"]) - 1


def hellaswag(rng):
    doc = {"activity_label": phrase(rng, 2), "ctx_a": phrase(rng, 4) + ".", "ctx_b": "they"}
    doc["endings"] = [phrase(rng, 1 + i) + "." for i in range(4)]
    doc["label"] = str(rng.integers(4))
    prompt, choices = f"{doc['activity_label']}: {doc['ctx_a']} They", doc["endings"]
    return doc, [(prompt, f" {choice}") for choice in choices], choices, int(doc["label"])


MAKERS = {**dict(zip(TASKS, (boolq, piqa, race, winogrande), strict=True)), "hellaswag": hellaswag}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Task -> file of documents in the data set's form, and what is expected of each."""
    files, expected = {}, {}
    for seed, (task, maker) in enumerate(MAKERS.items()):
        rng = np.random.default_rng(seed)
        made = [maker(rng) for _ in range(8)]
        files[task] = tmp_path_factory.mktemp("data") / f"{task}.jsonl"
        files[task].write_text("".join(json.dumps(doc) + "\n" for doc, *_ in made))
        expected[task] = [rest for _, *rest in made]
    return files, expected


def by_hand(model, tokenizer, prompt, choice):
    """Sum of the choice's log-probabilities behind the prompt."""
    opened = [0] if tokenizer("a")["input_ids"][0] == 0 else []
    ids = [*opened, *(1 + sorted(alphabet()).index(c) for c in encoded(prompt + choice))]
    with torch.inference_mode():
        logs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
    start = len(ids) - len(encoded(choice))
    return sum(logs[i - 1, ids[i]].item() for i in range(start, len(ids)))


def alphabet():
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel.alphabet()


def encoded(text):
    """Byte-level letters: blank and line break have their own."""
    return text.replace(" ", "Ġ").replace("\n", "Ċ")


@needs_harness
@pytest.mark.parametrize("bos", [False, True])
def test_accuracy_is_that_of_hand_computed_likelihoods(bos, tiny, local, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    seen = []
    original = HFLM._loglikelihood_tokens

    def listen(self, requests, **more):
        out = original(self, requests, **more)
        seen.extend((*pair, value) for (pair, *_), (value, _) in zip(requests, out, strict=True))
        return out

    monkeypatch.setattr(HFLM, "_loglikelihood_tokens", listen)
    files, expected = local
    case = checkpoint(tiny.model, letters(bos=bos), SPEC)
    found = task_accuracy(case, tasks=list(files), data=files)
    values = dict(zip(zip(found.task, found.metric, strict=True), found.value, strict=True))
    scores = iter(seen)
    for task, documents in expected.items():
        right, right_by_length = [], []
        for pairs, choices, gold in documents:
            sums = [by_hand(case.model, case.tokenizer, *pair) for pair in pairs]
            for pair, total in zip(pairs, sums, strict=True):
                prompt, choice, value = next(scores)
                assert (prompt, choice) == pair
                assert value == pytest.approx(total, rel=1e-5)
            right.append(np.argmax(sums) == gold)
            by_length = [total / len(c) for total, c in zip(sums, choices, strict=True)]
            right_by_length.append(np.argmax(by_length) == gold)
        assert values[task, "acc"] == np.mean(right)
        if task in ("piqa", "hellaswag"):
            assert values[task, "acc_norm"] == np.mean(right_by_length)
        row = list(zip(found.task, found.metric, strict=True)).index((task, "acc"))
        assert found.standard_error[row] == pytest.approx(np.std(right, ddof=1) / np.sqrt(8))
    assert 0 < found.value.mean() < 1
    assert next(scores, None) is None
    assert found.bos is bos
    assert (found.count == 8).all()
    assert (found.cut == 0).all()


@needs_harness
def test_extensions_limits_and_known_units(tiny, local, monkeypatch):
    store, asked = {}, {"tasks": ["piqa", "race"], "data": {}, "extensions": PI}
    asked["data"] = {task: local[0][task] for task in asked["tasks"]}
    pad = tiny.tokenizer.pad_token
    first = task_accuracy(tiny, **asked, store=store)
    assert tiny.tokenizer.pad_token == pad
    stretched = llama(**PI["PI x4"].to_hf())
    with torch.no_grad():
        stretched.lm_head.weight *= 20.0
    oracle = task_accuracy(checkpoint(stretched, letters(), SPEC), **asked | {"extensions": None})
    piqa_race = len(oracle.value)
    assert first.value[piqa_race:].tolist() == oracle.value.tolist()
    assert first.task == ("piqa", "piqa", "race") * 2
    assert len(store) == 4
    monkeypatch.setattr(module, "_evaluate", None)
    second = task_accuracy(tiny, **asked, store=json.loads(json.dumps(store)))
    assert (first.csv(), first.json()) == (second.csv(), second.json())
    monkeypatch.undo()
    few = task_accuracy(tiny, **asked | {"extensions": None}, limit=3, store=store)
    assert few.count.tolist() == [3, 3, 3]
    assert len(store) == 6


@needs_harness
def test_prompts_beyond_the_window_are_counted(tiny, local):
    files = {"race": local[0]["race"]}
    short = checkpoint(tiny.model, tiny.tokenizer, pia.RopeSpec(16, 10_000.0, 160))
    found = task_accuracy(short, tasks=["race"], data=files)
    assert found.cut.tolist() == [8]


@needs_harness
def test_task_refusals(tiny, local, tmp_path):
    with pytest.raises(ValueError, match=r"tasks must be one of boolq, .* mean 'boolq'"):
        task_accuracy(tiny, tasks=["boolk"])
    with pytest.raises(ValueError, match="tasks must be distinct names, at least one, got"):
        task_accuracy(tiny, tasks=["boolq", "boolq"])
    with pytest.raises(ValueError, match="data must be for tasks that are asked for, got 'race'"):
        task_accuracy(tiny, tasks=["boolq"], data={"race": local[0]["race"]})
    with pytest.raises(ValueError, match="data must be a JSON Lines file, got"):
        task_accuracy(tiny, tasks=["boolq"], data={"boolq": tmp_path})
    with pytest.raises(ValueError, match="limit must be an integer of at least 2, got 1"):
        task_accuracy(tiny, tasks=["boolq"], data={"boolq": local[0]["boolq"]}, limit=1)
    one = tmp_path / "one.jsonl"
    one.write_text(Path(local[0]["boolq"]).read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="data must hold at least 2 documents, got 1 for boolq"):
        task_accuracy(tiny, tasks=["boolq"], data={"boolq": one})


def test_a_missing_harness_is_named(tiny, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pianalysis\[eval\]'"):
        task_accuracy(tiny)


REPORTS = [
    Report("The board met on Monday. " * 9, "The board met."),
    Report("Funds were spent on roads.", "Roads took the funds."),
]


def ending():
    """Letters, with an end of text."""
    tokenizer = letters()
    tokenizer.eos_token = "<s>"
    return tokenizer


def test_reports_are_read_line_by_line(tmp_path):
    path = tmp_path / "reports.jsonl"
    rows = [{"report": r.document, "summary": r.summary, "id": 7} for r in REPORTS]
    rows[0]["report"] += "\u2028more"  # a line end to Python, none to JSON Lines
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    found = summaries.read_reports(path)
    assert found == [Report(REPORTS[0].document + "\u2028more", REPORTS[0].summary), REPORTS[1]]
    for line, message in (
        ("{", "path must hold JSON, got .* in line 2"),
        ('["report"]', "got another in line 2"),
        ('{"report": "x"}', "objects with texts named report and summary, got another in line 2"),
        ('{"report": " ", "summary": "x"}', "got another in line 2"),
    ):
        path.write_text(f"{json.dumps(rows[1])}\n{line}\n")
        with pytest.raises(ValueError, match=message):
            summaries.read_reports(path)


def test_the_prompt_is_the_papers_around_a_cut_document():
    prompt, cut = summaries._prompt(letters(), REPORTS[0].document, 30)
    assert prompt == (
        "Read the following article and then summarize it.\nThe board met on Monday. The b\n"
        "Now summarize the above article.\nSummary:"
    )
    assert cut
    whole, cut = summaries._prompt(letters(), REPORTS[1].document, 26)
    assert "\nFunds were spent on roads.\n" in whole
    assert not cut


@needs_rouge
def test_rouge_by_hand():
    found = summaries.rouge("the cat sat on mats", "the cat on a mat sat")
    # Words 5 and 6, 5 in common once stemmed; pairs 4 and 5, 1 in common; "the cat on mat" is 4.
    assert found["rouge1"] == pytest.approx(100 * 2 * 5 / 11)
    assert found["rouge2"] == pytest.approx(100 * 2 * 1 / 9)
    assert found["rougeL"] == pytest.approx(100 * 2 * 4 / 11)
    assert set(summaries.rouge("a b c", "x y z").values()) == {0.0}
    one_way = summaries.rouge("cat", "the cat")
    assert one_way == pytest.approx({"rouge1": 200 / 3, "rouge2": 0.0, "rougeL": 200 / 3})


def trained(report, tokenizer):
    """A model that has learned one summary by heart, and nothing of its prompt."""
    model = llama(max_position_embeddings=512)
    prompt = tokenizer(summaries._prompt(tokenizer, report.document, 30)[0])["input_ids"]
    summary = [*tokenizer(f" {report.summary}")["input_ids"], tokenizer.eos_token_id]
    ids = torch.tensor([prompt + summary])
    labels = torch.tensor([[-100] * len(prompt) + summary])
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(60):
        loss = model(ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss.item() < 0.1
    everything = model(ids, labels=ids).loss.item()
    assert everything > 2.0  # the prompt was masked
    return model


@needs_rouge
def test_a_learned_summary_is_written_ended_and_scored(tmp_path):
    tokenizer = ending()
    case = checkpoint(trained(REPORTS[0], tokenizer), tokenizer, SPEC)
    store = {}
    found = summaries.summary_scores(
        case, REPORTS, document_tokens=30, summary_tokens=40, extensions=PI, store=store
    )
    texts = [unit["summary"] for unit in store.values()]
    assert texts[0] == "The board met."
    scores = [
        [
            summaries.rouge(text, report.summary)[name]
            for text, report in zip(texts[start : start + 2], REPORTS, strict=True)
        ]
        for name in summaries.ROUGE
        for start in (0, 2)
    ]
    table = np.array([found.rouge_1, found.rouge_2, found.rouge_l])
    assert table.ravel() == pytest.approx(np.mean(scores, axis=1))
    assert scores[0][0] == 100.0
    assert found.cut.tolist() == [1, 1]
    assert found.count.tolist() == [2, 2]
    assert found.scheme == ("as loaded", "PI x4")
    assert found.unfinished[0] < 2
    known = json.loads(json.dumps(store))
    asked = {"document_tokens": 30, "summary_tokens": 40, "extensions": PI}
    again = summaries.summary_scores(case, REPORTS, **asked, store=known)
    assert (again.csv(), again.json()) == (found.csv(), found.json())
    short = summaries.summary_scores(case, REPORTS, document_tokens=30, summary_tokens=5)
    assert short.written.tolist() == [5.0]
    assert short.unfinished.tolist() == [2]


def test_writing_is_greedy_without_a_cache(tiny):
    text = summaries.summary_prompt("A short one.")
    written, finished = summaries._write(tiny, text, 12)
    ids = tiny.tokenizer(text)["input_ids"]
    for token in written:
        with torch.inference_mode():
            assert int(tiny.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
        ids = [*ids, token]
    assert len(written) == 12
    assert not finished


@needs_rouge
def test_summary_refusals(tiny, monkeypatch):
    with pytest.raises(ValueError, match="reports must hold at least one, got none"):
        summaries.summary_scores(tiny, [])
    for name in ("document_tokens", "summary_tokens"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
            summaries.summary_scores(tiny, REPORTS, **{name: 0})
    with pytest.raises(ValueError, match="tokenizer must tell where its tokens stand"):
        summaries._prompt(None, "Long.", 1)
    monkeypatch.setattr(summaries, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"ROUGE needs rouge-score: pip install"):
        summaries.summary_scores(tiny, REPORTS)
