"""Prompt builders of Fig. 3 (passkey) and Fig. 4 (summarisation), text for text."""

from __future__ import annotations

from pianalysis.heads.passkey import passkey_lines, passkey_prompt

__all__ = ["passkey_lines", "passkey_prompt", "summarization_prompt"]

SUMMARY_BEFORE = "Read the following article and then summarize it."
SUMMARY_AFTER = "Now summarize the above article.\nSummary:"


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
