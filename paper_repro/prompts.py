"""Prompt builders of Fig. 3 (passkey) and Fig. 4 (summarisation), text for text."""

from __future__ import annotations

from pianalysis import _validate

PASSKEY_TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there."
)
PASSKEY_FILLER = (
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
)
PASSKEY_QUESTION = "What is the pass key? The pass key is"

SUMMARY_BEFORE = "Read the following article and then summarize it."
SUMMARY_AFTER = "Now summarize the above article.\nSummary:"


def passkey_lines(before: int, after: int, key: int) -> list[str]:
    """Return the five parts of the passkey prompt, in order; see :func:`passkey_prompt`."""
    before = _validate.whole("before", before, at_least=0)
    after = _validate.whole("after", after, at_least=0)
    key = _validate.whole("key", key, at_least=0, at_most=99999)
    return [
        PASSKEY_TASK,
        " ".join([PASSKEY_FILLER] * before),
        f"The pass key is {key:05d}. Remember it. {key:05d} is the pass key.",
        " ".join([PASSKEY_FILLER] * after),
        PASSKEY_QUESTION,
    ]


def passkey_prompt(before: int, after: int, key: int) -> str:
    r"""Return the passkey prompt (Fig. 3; Mohtashami and Jaggi 2023).

    Parameters
    ----------
    before, after : int
        How often the filler stands before and after the key (X and Y of Fig. 3), at least 0.
    key : int
        0 to 99999; written with five digits.

    Notes
    -----
    Parts are separated by line breaks and repeated fillers by spaces, as in the public script of
    Mohtashami and Jaggi; an empty filler leaves no line.

    Examples
    --------
    >>> passkey_prompt(1, 0, 12345).splitlines()[2]
    'The pass key is 12345. Remember it. 12345 is the pass key.'
    """
    return "\n".join(line for line in passkey_lines(before, after, key) if line)


def summarization_prompt(document: str) -> str:
    """Return the GovReport prompt (Fig. 4) around a document.

    Examples
    --------
    >>> print(summarization_prompt("# .... Document goes here"))
    Read the following article and then summarize it.
    # .... Document goes here
    Now summarize the above article.
    Summary:
    """
    if not isinstance(document, str):
        raise TypeError(f"document must be a string, got {document!r}")
    return f"{SUMMARY_BEFORE}\n{document}\n{SUMMARY_AFTER}"
