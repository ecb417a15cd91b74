"""Watch: from what the gateway says it served and what was counted of it, whether anybody may judge by that. Pure.

Two ways of not being counted are told apart. *Late* are lines that lie unread or unwritten, beyond what comes in a few
seconds. *Lost* are requests that ended, of which no line lies anywhere, or one that could not be read: they are
compared over the last half minute to minute, and so are done with once that has passed and all is counted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluicegate.registry.words.sight import Blindness, Sight
from sluicegate.registry.words.units import format_share

TOO_MUCH = 0.05
"""The share of requests beyond which their loss makes blind."""
FEW = 10
"""So many requests may always be uncounted: killed programs lose that many."""
LATE_SECONDS = 5.0
"""Lines of the requests of so much time, at least, may always be under way."""
WINDOW_SECONDS, WINDOW_REQUESTS = 30.0, 20
"""A window lasts at least so long, and holds at least so many requests; one and the one before it are looked at."""
SETTLES_SECONDS = 3.0
"""What makes blind must be so for so long: counters are not read all at once."""
SILENT_SECONDS = 10.0
"""Time for which the counters may be unknown; and that a new watch looks before it says anything new."""
_LINE_BYTES = 500


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What one look at a listener told. Counts grow, and start over when a program or a database does."""

    ended: int
    """Requests that ended, as the gateway counts them."""
    lines: int
    """Lines that were read, those that could not be understood included."""
    unreadable: int = 0
    size: int = 0
    """Bytes of the lines that were read."""
    unread: int = 0
    """Bytes that lie in the log's files and were not read."""
    buffered: int = 0
    """Bytes that the gateway has not written yet."""
    failed_writes: int = 0
    """Writes of the gateway to its logs that failed."""

    @property
    def waiting(self) -> float:
        """Lines under way, by the mean length of those that were read."""
        length = self.size / self.lines if self.size and self.lines else _LINE_BYTES
        return (self.unread + self.buffered) / length


@dataclass(frozen=True, kw_only=True)
class _Totals:
    """Counts since the watch began, whatever started over meanwhile."""

    at: float
    ended: int = 0
    understood: int = 0
    unreadable: int = 0
    failed_writes: int = 0

    @property
    def gap(self) -> int:
        return self.ended - self.understood


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is known of one listener after some looks."""

    began: float
    sight: Sight = field(default_factory=Sight)
    counters: Counters | None = None
    """Of the last look that told something."""
    now: _Totals
    mark: _Totals
    """Where the present window began."""
    before: _Totals
    """Where the one before it began."""
    recent: tuple[_Totals, _Totals]
    """Where the last whole stretch of `LATE_SECONDS` began, and the one under way."""
    known_at: float
    """When a look told something last."""
    suspected_at: float | None = None
    """Since when too much is not counted."""

    @classmethod
    def begin(cls, at: float, sight: Sight | None = None) -> Watch:
        """A watch that knows what another one saw last; `at` in seconds from any beginning, like every time below."""
        totals = _Totals(at=at)
        return cls(
            began=at, sight=sight or Sight(), now=totals, mark=totals, before=totals, recent=(totals, totals),
            known_at=at,
        )  # fmt: skip

    def look(self, at: float, now: datetime, counters: Counters | None, why: str = "") -> Watch:
        """The watch after one more look; no counters where they cannot be had, and `why`."""
        if counters is None:
            if at - self.known_at < SILENT_SECONDS:
                return self
            reason = f"it is not known how many requests are counted: {why}"
            return replace(self, sight=replace(self.sight, blind=_lasting(self.sight.blind, now, reason)))
        totals = self.now if self.counters is None else _grown(self.now, self.counters, counters)
        return _judged(_rolled(replace(self, counters=counters, now=replace(totals, at=at), known_at=at)), now)

    @property
    def lost(self) -> float:
        """Requests of the two windows of which no line lies anywhere, or one that could not be read."""
        waiting = self.counters.waiting if self.counters is not None else 0.0
        return max(self.now.gap - self.before.gap - waiting, 0.0)

    @property
    def late(self) -> float:
        """Lines under way beyond those of the requests that ended just now."""
        if self.counters is None or self.now.at - self.began < SILENT_SECONDS:
            return 0.0
        return max(self.counters.waiting - (self.now.ended - self.recent[0].ended), 0.0)

    @property
    def causes(self) -> Iterator[str]:
        """Why requests are not counted, as far as counters tell."""
        unreadable = self.now.unreadable - self.before.unreadable
        failed = self.now.failed_writes - self.before.failed_writes
        unread, buffered = (self.counters.unread, self.counters.buffered) if self.counters else (0, 0)
        if self.late >= 1 and unread >= buffered:
            yield f"{unread:,} bytes of the log are unread: the collector is late, stopped, or cannot write"
        elif self.late >= 1:
            yield f"the gateway cannot write {buffered:,} bytes of its log: check the log's file system"
        if unreadable:
            yield f"{unreadable:,} lines of the log cannot be read: sluice doctor shows them"
        if failed:
            yield (
                f"the gateway could not write its logs {failed:,} times: check that the disk has space and the "
                "folder is writable"
            )
        if self.lost - unreadable >= 1:
            yield f"{round(self.lost - unreadable):,} requests have no line in the log"


def _rolled(watch: Watch) -> Watch:
    now, mark, stretch = watch.now, watch.mark, watch.recent[1]
    if now.at - stretch.at >= LATE_SECONDS:
        watch = replace(watch, recent=(stretch, now))
    if now.at - mark.at >= WINDOW_SECONDS and now.ended - mark.ended >= WINDOW_REQUESTS:
        watch = replace(watch, before=mark, mark=now)
    return watch


def _judged(watch: Watch, now: datetime) -> Watch:
    at, former = watch.now.at, watch.sight.blind
    served = watch.now.ended - watch.before.ended
    sight = Sight(served=served, uncounted=round(watch.lost + watch.late))
    if sight.uncounted < FEW or sight.share <= TOO_MUCH:
        is_taken_back = at - watch.began >= SILENT_SECONDS
        return replace(watch, sight=replace(sight, blind=None if is_taken_back else former), suspected_at=None)
    suspected_at = watch.suspected_at if watch.suspected_at is not None else at
    if former is None and at - suspected_at < SETTLES_SECONDS:
        return replace(watch, sight=sight, suspected_at=suspected_at)
    reason = (
        f"{format_share(round(sight.share, 3))} of the last requests ({sight.uncounted:,} of "
        f"{max(sight.served, sight.uncounted):,}) are not counted: {'; '.join(watch.causes)}"
    )
    return replace(watch, sight=replace(sight, blind=_lasting(former, now, reason)), suspected_at=suspected_at)


def _lasting(former: Blindness | None, now: datetime, reason: str) -> Blindness:
    return Blindness(since=former.since if former is not None else now, reason=reason)


def _grown(totals: _Totals, last: Counters, new: Counters) -> _Totals:
    understood = _more(last.lines, new.lines) - _more(last.unreadable, new.unreadable)
    return replace(
        totals,
        ended=totals.ended + _more(last.ended, new.ended),
        understood=totals.understood + understood,
        unreadable=totals.unreadable + _more(last.unreadable, new.unreadable),
        failed_writes=totals.failed_writes + _more(last.failed_writes, new.failed_writes),
    )


def _more(last: int, new: int) -> int:
    """What a count grew by; one that is less than before started over."""
    return new - last if new >= last else new
