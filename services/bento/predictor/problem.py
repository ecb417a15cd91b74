"""What is wrong with a request, described so that its sender can correct it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

_MOST = 20
"""Most problems to report for one request."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of a request."""

    where: str
    what: str
    fix: str

    def as_json(self) -> dict[str, str]:
        return {"where": self.where, "what": self.what, "fix": self.fix}


class Unacceptable(Exception):
    """A request that cannot be answered as sent. Always the sender's fault, never the model's."""

    def __init__(self, problems: Iterable[Problem], *, status: int = 400) -> None:
        self.problems = tuple(islice(problems, _MOST))
        self.status = status
        super().__init__("; ".join(f"{problem.where}: {problem.what}" for problem in self.problems))


def refuse(where: str, what: str, fix: str, *, status: int = 400) -> Unacceptable:
    """An exception with one problem, ready to be raised."""
    return Unacceptable([Problem(where=where, what=what, fix=fix)], status=status)


def similar(name: str, known: Iterable[str]) -> str:
    """The fix for an unknown name: the most similar known name, or all known names."""
    names = list(known)
    close = get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(map(repr, names)) or 'none'}."
