"""Account: the number of requests that a gateway has served without a line in its log, since it began. Pure.

Blindness is about the last minute, an account about all time. A part of a log that was lost, such as with a disk, stays
on the account even when all later requests are counted again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sluicegate.services.telemetry.reading.watch import FEW, Counters

SETTLED = 64 << 10
"""The most unread bytes whose number of lines can be estimated well enough."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account of one log; times in microseconds."""

    ended: int
    """The gateway's count of requests when the account began, or when its counters last restarted."""
    lines: int
    """The number of lines that had been read by then."""
    before: int = 0
    """Requests without a line until then."""
    gap: int = 0
    """All requests without a line."""
    gap_at: int | None = None
    """When that number was last seen to have grown."""

    def after(self, counters: Counters, now: int) -> Account:
        """The account after one more look; unchanged if too many lines are still unread."""
        if counters.ended < self.ended or counters.lines < self.lines:
            return replace(begun(counters), before=self.gap, gap=self.gap, gap_at=self.gap_at)
        if not is_settled(counters):
            return self
        missing = counters.ended - self.ended - (counters.lines - self.lines) - round(counters.behind)
        gap = self.before + (missing if missing >= FEW else 0)
        return replace(self, gap=gap, gap_at=now if gap > self.gap else self.gap_at)


def begun(counters: Counters) -> Account:
    """An account that begins now; lines that are still unread count as read."""
    return Account(ended=counters.ended, lines=counters.lines + round(counters.behind))


def is_settled(counters: Counters) -> bool:
    """Whether few enough bytes are unread, or were read of later requests, to estimate their number of lines."""
    return abs(counters.unread + counters.buffered) <= SETTLED
