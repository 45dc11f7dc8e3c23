"""A generated section of README, between its two markers."""

from __future__ import annotations


def replaced(readme: str, begin: str, end: str, section: str) -> str:
    """Return README's text with another section between two markers.

    Raises
    ------
    ValueError
        A marker that is missing.

    Examples
    --------
    >>> replaced("a <b>old<e> z", "<b>", "<e>", "new")
    'a <b>\\nnew\\n<e> z'
    """
    before, first, rest = readme.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"README must hold {begin} and {end}, got neither or one")
    return f"{before}{first}\n{section}\n{last}{after}"
