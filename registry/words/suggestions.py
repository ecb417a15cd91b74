"""Suggestions: which known word was probably meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` if a known word is close, else the list of all."""
    words = sorted(known)
    near = nearest(word, words)
    return f"did you mean {near}?" if near else f"known are {', '.join(words) or 'none'}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is close."""
    by_lower = {each.lower(): each for each in sorted(known, reverse=True)}
    return next((by_lower[each] for each in difflib.get_close_matches(word.lower(), sorted(by_lower), n=1)), None)
