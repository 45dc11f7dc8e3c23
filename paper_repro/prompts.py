"""Prompt builders of Fig. 3 (passkey) and Fig. 4 (summarisation), text for text."""

from __future__ import annotations

from pianalysis.finetune.summaries import summary_prompt as summarization_prompt
from pianalysis.heads.passkey import passkey_lines, passkey_prompt

__all__ = ["passkey_lines", "passkey_prompt", "summarization_prompt"]
