"""Fencing: how a data plane tells an older route table from a newer one. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FencingToken:
    """Which state of the ledger a route table was made from, and by which keeper."""

    restored: int = 0
    """When somebody last declared the ledger restored, in microseconds since 1970; 0: never."""
    term: int = 0
    """The term of the keeper that made the table. Each keeper that takes over has a higher one."""
    position: int = 0
    """The ledger position that the table was made from, or an earlier one."""

    def is_older_than(self, other: FencingToken) -> bool:
        """Whether this table must not replace the other: its keeper was replaced, or it was made from an older ledger.

        Positions and terms from before and after a restoration of the ledger are not comparable.
        """
        if self.restored != other.restored:
            return self.restored < other.restored
        return self.term < other.term or self.position < other.position

    def __str__(self) -> str:
        restored = f", restored {self.restored}" if self.restored else ""
        return f"position {self.position} of the ledger, term {self.term}{restored}"


BEFORE_ALL = FencingToken()
"""The token of a data plane that never got a route table."""


def made_from(sheet: str) -> FencingToken:
    """From which state of the ledger a sheet of routes was made; before all if it does not say so."""
    try:
        told = json.loads(sheet)["table"]["made_from"]
        return FencingToken(**{name: told[name] for name in ("restored", "term", "position")})
    except (ValueError, KeyError, TypeError):
        return BEFORE_ALL
