"""Fencing: by what a data plane tells an older route table from a newer one. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FencingToken:
    """From which state of the ledger a route table was made, and by which keeper."""

    restored: int = 0
    """When somebody said last that the ledger had been restored, in microseconds since 1970; 0: never."""
    term: int = 0
    """The term of the keeper that made it: each keeper that takes over has a higher one."""
    position: int = 0
    """The position of the ledger that it was made from, or an earlier one."""

    def is_older_than(self, other: FencingToken) -> bool:
        """Whether it must not follow the other one: its keeper was replaced, or its ledger knew less.

        Positions and terms of a ledger that was restored say nothing about those before.
        """
        if self.restored != other.restored:
            return self.restored < other.restored
        return self.term < other.term or self.position < other.position

    def __str__(self) -> str:
        restored = f", restored {self.restored}" if self.restored else ""
        return f"position {self.position} of the ledger, term {self.term}{restored}"


BEFORE_ALL = FencingToken()
"""What a data plane holds that was never given a table."""
