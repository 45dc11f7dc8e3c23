r"""Summaries of long reports (section 3.5, arXiv:2306.15595): prompt and ROUGE.

The prompt is Fig. 4's: an instruction, the document, the request for a summary. The model writes
it, and ROUGE-1, -2 and -L compare it with the reference, as in Table 6.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import units
from pianalysis.evaluation.forward import device_of
from pianalysis.evaluation.text import opening, read_text
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

SUMMARY_BEFORE = "Read the following article and then summarize it."
SUMMARY_AFTER = "Now summarize the above article.\nSummary:"
DOCUMENT_TOKENS = 15_000
SUMMARY_TOKENS = 1_000
ROUGE = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True, slots=True)
class Report:
    """A document and the reference summary of it."""

    document: str
    summary: str


@dataclass(frozen=True, slots=True)
class SummaryScores(Measured):
    """ROUGE of written summaries, a row for each scheme.

    The scores are F-measures in percent, means over ``count`` reports, of which ``cut`` had their
    document cut. ``written`` is the mean number of tokens written and ``unfinished`` how many
    summaries reached the limit.
    """

    reports_sha256: str
    document_tokens: int
    summary_tokens: int
    decoding: str
    rouge_score: str
    stemmer: bool
    scheme: tuple[str, ...]
    rouge_1: FloatArray
    rouge_2: FloatArray
    rouge_l: FloatArray
    count: IntArray
    cut: IntArray
    written: FloatArray
    unfinished: IntArray


def summary_prompt(document: str) -> str:
    """Return the GovReport prompt (Fig. 4) around a document.

    Examples
    --------
    >>> print(summary_prompt("# .... Document goes here"))
    Read the following article and then summarize it.
    # .... Document goes here
    Now summarize the above article.
    Summary:
    """
    if not isinstance(document, str):
        raise TypeError(f"document must be a string, got {document!r}")
    return f"{SUMMARY_BEFORE}\n{document}\n{SUMMARY_AFTER}"


def read_reports(path: str | os.PathLike[str]) -> list[Report]:
    """Return the reports of a JSON Lines file in GovReport's form: ``report`` and ``summary``.

    Raises
    ------
    ValueError
        As ``evaluation.text.read_text``, and naming the line that is no such object.
    """
    reports = []
    # Other line ends than this one may stand inside a JSON string.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            parsed = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"path must hold JSON, got {error} in line {number}") from None
        fields: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
        report, summary = fields.get("report", ""), fields.get("summary", "")
        if not (_is_text(report) and _is_text(summary)):
            raise ValueError(
                "path must hold objects with texts named report and summary, "
                f"got another in line {number}"
            )
        reports.append(Report(report, summary))
    return reports


def rouge(summary: str, reference: str) -> dict[str, float]:
    """Return the F-measures of ROUGE-1, -2 and -L in percent, words stemmed.

    Raises
    ------
    ModuleNotFoundError
        The package rouge-score is not installed; it is in the extra ``eval``.
    """
    if find_spec("rouge_score") is None:
        raise ModuleNotFoundError("ROUGE needs rouge-score: pip install 'pianalysis[eval]'")
    from rouge_score.rouge_scorer import RougeScorer

    scores = RougeScorer(list(ROUGE), use_stemmer=True).score(reference, summary)
    return {name: 100.0 * scores[name].fmeasure for name in ROUGE}


def summary_scores(
    checkpoint: Checkpoint,
    reports: Sequence[Report],
    *,
    document_tokens: int = DOCUMENT_TOKENS,
    summary_tokens: int = SUMMARY_TOKENS,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> SummaryScores:
    """Return ROUGE-1, -2 and -L of the summaries that a model writes, by scheme.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    reports : sequence of Report
        At least one.
    document_tokens, summary_tokens : int
        The document keeps its first so many tokens, and a summary ends at the end-of-sequence token
        or at the limit.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme and report, the summary among them, by a key that
        names all that enters; a unit found there is not computed again.

    Raises
    ------
    ValueError, TypeError, ModuleNotFoundError
        Naming the argument, or the missing package.

    Notes
    -----
    Each next token is the most likely one, so a run repeats; the paper draws it at temperature 0.5
    from the 0.95 nucleus. Table 6 prints the three scores and no mean of them, so none is here.
    """
    if not reports:
        raise ValueError("reports must hold at least one, got none")
    most = checks.whole("summary_tokens", summary_tokens)
    document_tokens = checks.whole("document_tokens", document_tokens)
    schemes = units.schemes(checkpoint, extensions)
    rouge("", "")  # refuse before any work

    def measure(index: int) -> dict[str, Any]:
        report = reports[index]
        text, cut = _prompt(checkpoint.tokenizer, report.document, document_tokens)
        tokens, finished = _write(checkpoint, text, most)
        tokenizer: Any = checkpoint.tokenizer
        summary = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return {
            "summary": summary,
            "written": len(tokens),
            "cut": cut,
            "unfinished": not finished,
            **rouge(summary, report.summary),
        }

    cases = {
        index: {
            "kind": "summary",
            "report": _sha256([report]),
            "rouge": version("rouge_score"),
            "document_tokens": document_tokens,
            "summary_tokens": most,
        }
        for index, report in enumerate(reports)
    }
    results = list(units.run(checkpoint, schemes, cases, measure, store))
    by_report = {
        name: np.array([unit[name] for unit in results]).reshape(len(schemes), len(reports))
        for name in (*ROUGE, "written", "cut", "unfinished")
    }
    return SummaryScores(
        **units.about(checkpoint, schemes),
        reports_sha256=_sha256(reports),
        document_tokens=document_tokens,
        summary_tokens=most,
        decoding="greedy",
        rouge_score=version("rouge_score"),
        stemmer=True,
        scheme=tuple(schemes),
        rouge_1=by_report["rouge1"].mean(-1),
        rouge_2=by_report["rouge2"].mean(-1),
        rouge_l=by_report["rougeL"].mean(-1),
        count=np.full(len(schemes), len(reports)),
        cut=by_report["cut"].sum(-1),
        written=by_report["written"].mean(-1),
        unfinished=by_report["unfinished"].sum(-1),
    )


def _prompt(tokenizer: Any, document: str, document_tokens: int) -> tuple[str, bool]:
    """Return the prompt around the document's first tokens, and whether any were left out."""
    most = checks.whole("document_tokens", document_tokens)
    ends = [end for _, end in _located(tokenizer, document)["offset_mapping"]]
    cut = len(ends) > most
    return summary_prompt(document[: ends[most - 1]] if cut else document), cut


def _located(tokenizer: Any, text: str) -> Any:
    """Return tokens and where they stand in the text."""
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            "tokenizer must tell where its tokens stand (a fast one), "
            f"got {type(tokenizer).__name__}"
        )
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)


def _write(checkpoint: Checkpoint, text: str, most: int) -> tuple[list[int], bool]:
    """Return the most likely next tokens, one by one, and whether the model ended them itself.

    transformers' ``generate`` would follow the checkpoint's own settings, penalties among them.
    """
    tokenizer: Any = checkpoint.tokenizer
    model: Any = checkpoint.model
    device = device_of(model)
    given = opening(tokenizer) + _located(tokenizer, text)["input_ids"]
    written: list[int] = []
    cache = None
    with torch.inference_mode(), tqdm(total=most, unit="token", disable=None, leave=False) as bar:
        while len(written) < most:
            ids = torch.tensor([given if cache is None else written[-1:]], device=device)
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, token = out.past_key_values, int(out.logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                return written, True
            written.append(token)
            bar.update()
    return written, False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _sha256(reports: Sequence[Report]) -> str:
    texts = [[report.document, report.summary] for report in reports]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
