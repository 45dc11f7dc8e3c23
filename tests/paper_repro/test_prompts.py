"""Fig. 3 and Fig. 4, text for text."""

import pytest

from pianalysis.evaluation.passkey_prompt import passkey_prompt
from pianalysis.evaluation.summaries import summary_prompt

TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
    "them. I will quiz you about the important information there."
)
FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."


def test_passkey_prompt():
    assert passkey_prompt(2, 1, 12345) == (
        f"{TASK}\n{FILLER} {FILLER}\nThe pass key is 12345. Remember it. 12345 is the pass key.\n"
        f"{FILLER}\nWhat is the pass key? The pass key is"
    )


def test_passkey_has_five_digits_and_no_empty_line():
    assert "The pass key is 00042. Remember it. 00042 is" in passkey_prompt(0, 3, 42)
    assert "\n\n" not in passkey_prompt(0, 0, 1)
    assert passkey_prompt(17, 5, 1).count(FILLER) == 22


def test_summarization_prompt():
    assert summary_prompt("# .... Document goes here") == (
        "Read the following article and then summarize it.\n# .... Document goes here\n"
        "Now summarize the above article.\nSummary:"
    )


@pytest.mark.parametrize("arguments", [(-1, 0, 1), (0, -1, 1), (0, 0, 100000), (0, 0, -1)])
def test_refusals(arguments):
    with pytest.raises(ValueError, match="must be an integer"):
        passkey_prompt(*arguments)
    with pytest.raises(TypeError, match="document must be a string"):
        summary_prompt(None)
