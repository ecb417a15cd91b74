"""Account: how many of the requests that a gateway ended have left no line in its log, ever. Pure.

Blindness is about the last minute; this is for ever. A part of a log that is gone, with a disk or a machine, stays on
the account after everything has been counted again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sluicegate.services.telemetry.reading.watch import FEW, Counters

SETTLED = 64 << 10
"""Bytes under way up to which they are counted in lines; of more of them their number is only guessed."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What is known of one log; times in microseconds."""

    ended: int
    """What the gateway had counted when the account began, or began again."""
    lines: int
    """What had been read then."""
    before: int = 0
    """Requests without a line until then."""
    gap: int = 0
    """All of them."""
    gap_at: int | None = None
    """When that number was last found to have grown."""

    def after(self, counters: Counters, now: int) -> Account:
        """The account after one more look, if what is under way can be told by now."""
        if counters.ended < self.ended or counters.lines < self.lines:
            return replace(begun(counters), before=self.gap, gap=self.gap, gap_at=self.gap_at)
        if not is_settled(counters):
            return self
        missing = counters.ended - self.ended - (counters.lines - self.lines) - round(counters.waiting)
        gap = self.before + (missing if missing >= FEW else 0)
        return replace(self, gap=gap, gap_at=now if gap > self.gap else self.gap_at)


def begun(counters: Counters) -> Account:
    """An account that begins now; what is under way is taken to have been read."""
    return Account(ended=counters.ended, lines=counters.lines + round(counters.waiting))


def is_settled(counters: Counters) -> bool:
    """Whether what is under way can be told."""
    return counters.unread + counters.buffered <= SETTLED
