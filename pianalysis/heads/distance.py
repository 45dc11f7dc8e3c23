r"""Virtual distance: a short text read with a gap in its positions, at any distance, in seconds.

The tokens before the gap keep their positions and those after it are moved by g, so every span
between the two parts grows by g while the text stays as short as it was:

.. math:: s = m - n \;\longrightarrow\; s + g .

What a gap measures is the position embedding alone: does attention across so large a span still
find its key, and does it damage the rest. What it does not measure:

- No token stands in the gap, so no key competes there, and the entropy of the softmax does not
  grow as it does with a long text: success across a gap promises none on a long text.
- No model was trained on texts with a hole, so failure across a gap does not prove that a whole
  text of that length fails.
- Spans fall into two clusters, short ones inside each part and those of g and more; a long text
  has all spans at once.
- A layer with a sliding attention window counts tokens, not positions: it looks across the gap.
- Positions enter transformers as float32, so phases at position m are rounded by about
  m 2^-24 radians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pianalysis import _validate
from pianalysis._validate import FloatArray
from pianalysis.extension import Extension
from pianalysis.heads import _gap
from pianalysis.heads._gap import LARGEST_POSITION, IntArray, Store
from pianalysis.heads.passkey import Prompt, draw_key, k_max
from pianalysis.heads.text import opening
from pianalysis.records import Record
from pianalysis.rope import RopeSpec

if TYPE_CHECKING:
    from pianalysis.heads.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class GapLikelihood(Record):
    """Negative log-likelihood (nats a token) behind a gap, a row for each scheme and gap.

    Of the ``tail`` tokens behind the gap the first is predicted from before it, so ``count`` is one
    less. ``bos`` tells whether the text begins with the model's BOS token. ``standard_error``
    treats tokens as independent, which a text's are not.
    """

    checkpoint: str
    digest: str
    spec: RopeSpec
    extensions: dict[str, Any]
    tokens_sha256: str
    bos: bool
    prefix: int
    tail: int
    scheme: tuple[str, ...]
    gap: IntArray
    mean: FloatArray
    standard_error: FloatArray
    total: FloatArray
    count: IntArray


@dataclass(frozen=True, slots=True)
class GapPasskey(Record):
    """Passkeys read out across a gap, a row for each scheme and distance.

    ``distance`` counts from the key's first digit, where it is stated first, to the last token of
    the question; ``successes`` of ``trials``. ``k_max`` holds the 20% rule's value by scheme.
    """

    checkpoint: str
    digest: str
    spec: RopeSpec
    extensions: dict[str, Any]
    seed: int
    trials: int
    fillers: int
    bos: bool
    k_max: dict[str, int]
    scheme: tuple[str, ...]
    distance: IntArray
    successes: IntArray


def gap_likelihood(
    checkpoint: Checkpoint,
    tokens: Sequence[int],
    *,
    prefix: int,
    gaps: Sequence[int],
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> GapLikelihood:
    """Return the likelihood of a text's tail at a distance from its prefix, by scheme and gap.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    tokens : sequence of int
        The text: the prefix and then the tail. ``text.encode`` makes them.
    prefix : int
        Tokens before the gap, at least 1; at least 3 must remain behind it.
    gaps : sequence of int
        Positions left out between prefix and tail; 0 is the ordinary model.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme and gap, by a key that names all that enters; a unit
        found there is not computed again.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a token outside the vocabulary, an extension of another specification,
        positions beyond 2**24.

    Notes
    -----
    See the module for what a gap leaves out. Compare rows of one record: they share every token.
    The level itself depends on the text, and on whether the model was trained on it.
    """
    tokens = _gap.vocabulary_ids(checkpoint, tokens)
    if len(tokens) < 4:
        raise ValueError(f"tokens must hold at least 4, got {len(tokens)}")
    prefix = _validate.whole("prefix", prefix, at_most=len(tokens) - 3)
    most = LARGEST_POSITION - len(tokens)
    gaps = _gap.listed("gaps", gaps, at_least=0, at_most=most)
    schemes = _gap.schemes(checkpoint, extensions)
    sha256 = _gap.sha256(tokens)

    def measure(gap: int) -> dict[str, Any]:
        positions = _gap.positions(len(tokens), prefix, gap)
        logits = _gap.logits(checkpoint, tokens, positions, len(tokens) - prefix)[:-1]
        targets = torch.tensor(tokens[prefix + 1 :], device=logits.device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        each = losses.double().cpu().numpy()
        return {
            "mean": float(each.mean()),
            "standard_error": float(each.std(ddof=1) / np.sqrt(each.size)),
            "total": float(each.sum()),
            "count": int(each.size),
        }

    cases = {
        gap: {"kind": "likelihood", "tokens": sha256, "prefix": prefix, "gap": gap} for gap in gaps
    }
    found = list(_gap.run(checkpoint, schemes, cases, measure, store))
    columns: dict[str, Any] = {name: np.array([unit[name] for unit in found]) for name in found[0]}
    return GapLikelihood(
        **_gap.about(checkpoint, schemes),
        tokens_sha256=sha256,
        bos=tokens[0] == checkpoint.model.config.get_text_config().bos_token_id,
        prefix=prefix,
        tail=len(tokens) - prefix,
        scheme=tuple(label for label in schemes for _ in gaps),
        gap=np.array(gaps * len(schemes)),
        **columns,
    )


def gap_passkey(
    checkpoint: Checkpoint,
    *,
    distances: Sequence[int],
    trials: int = 5,
    seed: int = 0,
    fillers: int = 5,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> GapPasskey:
    """Return how often a model reads out a passkey at a distance, by scheme and distance.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    distances : sequence of int
        Tokens from the key's first digit to the last token of the question, increasing; at least
        that of the prompt without filler, which the error names.
    trials : int
        Keys a distance; the paper takes 10.
    seed : int
        Of the keys. A key depends on seed, distance and trial alone, so all schemes get the same.
    fillers : int
        How often the filler stands between the gap and the question, at least 0; less often where
        the distance is too short for that.
    extensions, store
        As for ``gap_likelihood``; a unit is one scheme, distance and trial.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a distance below the prompt's own or beyond 2**24, an extension of
        another specification, a tokenizer that does not tell where its tokens stand.

    Notes
    -----
    A trial succeeds where greedy decoding writes all five digits, in the tokens in which the prompt
    itself writes them. That is so exactly when each such token is the most likely one after the
    true ones before it, so one forward pass decides. The prompt is the paper's (Fig. 3) with X = 0;
    the gap stands right behind the sentences with the key, and most of the filler that fills the
    distance there is missing here, so it does not distract. A small model's answers depend on the
    fillers kept: with none the question stands alone behind the gap.
    """
    trials = _validate.whole("trials", trials)
    fillers = _validate.whole("fillers", fillers, at_least=0)
    seed = _validate.whole("seed", seed, at_least=0)
    distances = _gap.listed("distances", distances, at_least=1, at_most=LARGEST_POSITION)
    schemes = _gap.schemes(checkpoint, extensions)
    prompts = {
        (distance, trial): _fitting(
            checkpoint.tokenizer, draw_key(seed, distance, trial), fillers, distance
        )
        for distance in distances
        for trial in range(trials)
    }

    def measure(case: tuple[int, int]) -> dict[str, Any]:
        prompt = prompts[case]
        answer = prompt.tokens[prompt.answer_at :]
        given = prompt.tokens[:-1]
        positions = _gap.positions(len(given), prompt.rest_at, case[0] - prompt.distance)
        best = _gap.logits(checkpoint, given, positions, len(answer)).argmax(-1).tolist()
        return {"success": best == answer}

    inputs = {
        (distance, trial): {
            **{"kind": "passkey", "seed": seed, "fillers": fillers},
            **{"distance": distance, "trial": trial},
        }
        for distance, trial in prompts
    }
    found = [unit["success"] for unit in _gap.run(checkpoint, schemes, inputs, measure, store)]
    successes = np.array(found).reshape(len(schemes), len(distances), trials).sum(-1)
    rates = successes / trials
    return GapPasskey(
        **_gap.about(checkpoint, schemes),
        seed=seed,
        trials=trials,
        fillers=fillers,
        bos=bool(opening(checkpoint.tokenizer)),
        k_max={label: k_max(distances, rates[i].tolist()) for i, label in enumerate(schemes)},
        scheme=tuple(label for label in schemes for _ in distances),
        distance=np.array(distances * len(schemes)),
        successes=successes.ravel(),
    )


def shortest_distance(tokenizer: Any) -> int:
    """Return a distance at which every key's prompt fits, without filler.

    Keys differ in their number of tokens by at most the digits: five, twice between the key's first
    digit and the question.
    """
    return Prompt.build(tokenizer, 0, 0).distance + 10


def _fitting(tokenizer: Any, key: int, fillers: int, distance: int) -> Prompt:
    """Return the prompt with as many fillers as the distance has room for."""
    for count in range(fillers, -1, -1):
        prompt = Prompt.build(tokenizer, key, count)
        if prompt.distance <= distance:
            return prompt
    raise ValueError(
        f"distances must be at least {prompt.distance}, the prompt's own without filler, "
        f"got {distance}"
    )
