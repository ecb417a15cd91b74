"""Watch: compares the requests that a gateway has served with those that were counted, to detect blindness. Pure.

Uncounted requests are late or lost. *Late* are lines that are unread or unwritten, beyond those of the last few
seconds. *Lost* are ended requests that have no line anywhere, or an unreadable one. They are counted over the last half
minute to minute, and so no longer matter once that time has passed and all requests are counted again, or none came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluicegate.registry.words.sight import Blindness, Sight
from sluicegate.registry.words.units import format_share

TOO_MUCH = 0.05
"""The largest share of uncounted requests that is not blindness."""
FEW = 10
"""Fewer uncounted requests than this are always tolerated, since killed programs lose that many."""
LATE_SECONDS = 5.0
"""The lines of requests from at least this last stretch of time may be unread."""
WINDOW_SECONDS, WINDOW_REQUESTS = 30.0, 20
"""The shortest duration of a window, and the fewest requests in it. The present and the previous window count."""
SETTLES_SECONDS = 3.0
"""Blindness must last this long before it is reported, since not all counters are read at the same moment."""
SILENT_SECONDS = 10.0
"""The time for which counters may be unknown, and for which a new watch looks before it reports anything new."""
_LINE_BYTES = 500


@dataclass(frozen=True, kw_only=True)
class Counters:
    """The counters of a listener at one look. They increase, and restart when their program or database does.

    Lines may have been read later than the gateway counted requests; `unread` then says how far beyond.
    """

    ended: int
    """Ended requests, as the gateway counts them."""
    lines: int
    """Lines that were read, including unreadable ones."""
    unreadable: int = 0
    size: int = 0
    """Bytes of the lines that were read."""
    unread: int = 0
    """Bytes of the log that had been written when `ended` was counted and have not been read; below 0 if later ones
    have."""
    buffered: int = 0
    """Bytes that the gateway has not written yet."""
    failed_writes: int = 0
    """Failed writes of the gateway to its logs."""

    @property
    def behind(self) -> float:
        """The number of lines not read yet, estimated from the mean length of those read; below 0 if lines of requests
        that ended later have been read."""
        length = self.size / self.lines if self.size and self.lines else _LINE_BYTES
        return (self.unread + self.buffered) / length

    @property
    def waiting(self) -> float:
        """The number of lines not read yet."""
        return max(self.behind, 0.0)

    @property
    def ahead(self) -> float:
        """The number of lines that were read of requests that ended later."""
        return max(-self.behind, 0.0)


@dataclass(frozen=True, kw_only=True)
class _Totals:
    """Counts since the watch began, continued across restarts of the counters."""

    at: float
    ended: int = 0
    understood: float = 0.0
    unreadable: int = 0
    failed_writes: int = 0

    @property
    def gap(self) -> float:
        return self.ended - self.understood


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The state of one listener after some looks."""

    began: float
    sight: Sight = field(default_factory=Sight)
    counters: Counters | None = None
    """The counters of the last look that could read them."""
    now: _Totals
    mark: _Totals
    """The start of the present window."""
    before: _Totals
    """The start of the previous window."""
    recent: tuple[_Totals, _Totals]
    """The starts of the last whole stretch of `LATE_SECONDS` and of the present one."""
    known_at: float
    """When counters could last be read."""
    suspected_at: float | None = None
    """Since when too many requests have not been counted."""

    @classmethod
    def begin(cls, at: float, sight: Sight | None = None) -> Watch:
        """A new watch that continues from the last sight of another. `at`, like all times here, is in seconds from an
        arbitrary start."""
        totals = _Totals(at=at)
        return cls(
            began=at, sight=sight or Sight(), now=totals, mark=totals, before=totals, recent=(totals, totals),
            known_at=at,
        )  # fmt: skip

    def look(self, at: float, now: datetime, counters: Counters | None, why: str = "") -> Watch:
        """The watch after one more look. If the counters cannot be read they are None, and `why` is the reason."""
        if counters is None:
            if at - self.known_at < SILENT_SECONDS:
                return self
            reason = f"it is not known how many requests are counted: {why}"
            return replace(self, sight=replace(self.sight, blind=_lasting(self.sight.blind, now, reason)))
        totals = self.now if self.counters is None else _grown(self.now, self.counters, counters)
        return _judged(_rolled(replace(self, counters=counters, now=replace(totals, at=at), known_at=at)), now)

    @property
    def lost(self) -> float:
        """Requests of both windows that have no line anywhere, or an unreadable one."""
        waiting = self.counters.waiting if self.counters is not None else 0.0
        return max(self.now.gap - self.before.gap - waiting, 0.0)

    @property
    def late(self) -> float:
        """Unread lines beyond those of the requests that have just ended."""
        if self.counters is None or self.now.at - self.began < SILENT_SECONDS:
            return 0.0
        return max(self.counters.waiting - (self.now.ended - self.recent[0].ended), 0.0)

    @property
    def causes(self) -> Iterator[str]:
        """Why requests are not counted, as far as the counters show that."""
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
    requests = now.ended - mark.ended
    if now.at - mark.at >= WINDOW_SECONDS and (requests >= WINDOW_REQUESTS or not requests):
        watch = replace(watch, before=mark, mark=now)
    return watch


def _judged(watch: Watch, now: datetime) -> Watch:
    at, former = watch.now.at, watch.sight.blind
    served = watch.now.ended - watch.before.ended
    sight = Sight(served=served, uncounted=round(watch.lost + watch.late))
    if sight.uncounted < FEW or sight.share <= TOO_MUCH:
        has_settled = at - watch.began >= SILENT_SECONDS
        return replace(watch, sight=replace(sight, blind=None if has_settled else former), suspected_at=None)
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
    understood = _more(last.lines, new.lines) - _more(last.unreadable, new.unreadable) - (new.ahead - last.ahead)
    return replace(
        totals,
        ended=totals.ended + _more(last.ended, new.ended),
        understood=totals.understood + understood,
        unreadable=totals.unreadable + _more(last.unreadable, new.unreadable),
        failed_writes=totals.failed_writes + _more(last.failed_writes, new.failed_writes),
    )


def _more(last: int, new: int) -> int:
    """The increase of a counter; one that is smaller than before has restarted at 0."""
    return new - last if new >= last else new
