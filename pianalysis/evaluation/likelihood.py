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

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import forward, units
from pianalysis.evaluation.forward import LARGEST_POSITION
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class GapLikelihood(Measured):
    """Negative log-likelihood (nats a token) behind a gap, a row for each scheme and gap.

    Of the ``tail`` tokens behind the gap the first is predicted from before it, so ``count`` is one
    less. ``bos`` tells whether the text begins with the model's BOS token. ``standard_error``
    treats tokens as independent, which a text's are not.
    """

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
    tokens = units.vocabulary_ids(checkpoint, tokens)
    if len(tokens) < 4:
        raise ValueError(f"tokens must hold at least 4, got {len(tokens)}")
    prefix = checks.whole("prefix", prefix, at_most=len(tokens) - 3)
    most = LARGEST_POSITION - len(tokens)
    gaps = units.listed("gaps", gaps, at_least=0, at_most=most)
    schemes = units.schemes(checkpoint, extensions)
    sha256 = units.sha256(tokens)
    beginning = forward.Beginning(tokens[:prefix])

    def measure(gap: int) -> dict[str, Any]:
        positions = forward.positions(len(tokens), prefix, gap)
        logits = beginning.logits(checkpoint, [tokens], positions, len(tokens) - prefix)[0, :-1]
        following = torch.tensor(tokens[prefix + 1 :], device=logits.device)
        losses = torch.nn.functional.cross_entropy(logits, following, reduction="none")
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
    results = list(units.run(checkpoint, schemes, cases, measure, store))
    columns: dict[str, Any] = {
        name: np.array([unit[name] for unit in results]) for name in results[0]
    }
    return GapLikelihood(
        **units.about(checkpoint, schemes),
        tokens_sha256=sha256,
        bos=tokens[0] == checkpoint.model.config.get_text_config().bos_token_id,
        prefix=prefix,
        tail=len(tokens) - prefix,
        scheme=tuple(label for label in schemes for _ in gaps),
        gap=np.array(gaps * len(schemes)),
        **columns,
    )
