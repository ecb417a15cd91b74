"""The outbox: sends each sink the entries of the ledger's feed after the sink's stored place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Fed
from sluicegate.registry.report.happening import Happening, happening
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.beside import Hand, at_once

log = structlog.get_logger("outbox")

BATCH = 100
"""The most facts that are sent to a sink at once."""
BACKOFF = (2.0, 10.0, 30.0, 120.0)
"""Seconds between attempts."""


class Sink(Protocol):
    """A receiver of facts."""

    @property
    def name(self) -> str:
        """The name under which its place is stored."""
        ...

    def send(self, news: Sequence[Happening], now: datetime) -> None:
        """Send all of these. After a SluiceError all of them are sent again; NotNow postpones them."""
        ...


class NotNow(SluiceError):
    """The sink accepts nothing before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__("the limit of messages an hour has been reached.")
        self.until = until


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """The number of consecutive failures of a sink, and the time of the next attempt."""

    times: int
    until: float
    """Seconds on the clock of intervals."""


@dataclass
class Outbox:
    """Sends each sink what is new for it. A sink that fails does not delay the others."""

    ledger: Ledger
    sinks: Callable[[], Sequence[Sink]]
    """Returns the present sinks."""
    waiting: Callable[[datetime], Sequence[Happening]] = lambda _: ()
    """Returns what waits for a person now. Each is sent once for as long as it waits."""
    elapsed: Callable[[], float] = time.monotonic
    beside: Hand = at_once
    """Runs each sink's part of a look, so that a sink that hangs does not delay the others."""
    _troubles: dict[str, Trouble] = field(default_factory=dict, init=False)

    def look(self, now: datetime) -> int:
        """Send what is new; returns the number of facts that all sinks together had taken by the end of the look."""
        waiting, sent = self.waiting(now), list[int]()
        for sink in self.sinks():
            self.beside(sink.name, partial(self._look_for, sink, now, waiting, sent))
        return sum(sent)

    def _look_for(self, sink: Sink, now: datetime, waiting: Sequence[Happening], sent: list[int]) -> None:
        sent.append(self._deliver(sink, now, waiting))

    def _deliver(self, sink: Sink, now: datetime, waiting: Sequence[Happening]) -> int:
        trouble = self._troubles.get(sink.name)
        if trouble is not None and self.elapsed() < trouble.until:
            return 0
        delivered = 0
        try:
            for count in self._deliveries(sink, now, waiting):
                delivered += count
        except NotNow as later:
            seconds = (later.until - now).total_seconds()
            self._troubles[sink.name] = Trouble(times=0, until=self.elapsed() + seconds)
        except SluiceError as error:
            self._note_trouble(sink.name, error)
        else:
            self._troubles.pop(sink.name, None)
        return delivered

    def _deliveries(self, sink: Sink, now: datetime, waiting: Sequence[Happening]) -> Iterator[int]:
        """Send in batches, and store the place after each; yields the size of each batch."""
        place = self._place(sink.name)
        while fed := self.ledger.feed(after=place, limit=BATCH):
            sink.send(happenings(self.ledger, fed), now)
            place = fed[-1].place
            self.ledger.remember(_key(sink.name), {"place": place})
            yield len(fed)
        noted = (self.ledger.recall(_waits(sink.name)) or {}).get("told")
        before = list(noted) if isinstance(noted, list) else []
        new = [each for each in waiting if each.id not in before]
        if new:
            sink.send(new, now)
        if new or len(before) != len(waiting):
            self.ledger.remember(_waits(sink.name), {"told": [each.id for each in waiting]})
        yield len(new)

    def _note_trouble(self, name: str, error: SluiceError) -> None:
        times = self._troubles[name].times + 1 if name in self._troubles else 1
        self._troubles[name] = Trouble(times=times, until=self.elapsed() + BACKOFF[min(times, len(BACKOFF)) - 1])
        log.warning("notification not sent; tried again", sink=name, why=str(error))

    def _place(self, name: str) -> int:
        """The place up to which a sink has got the feed. A new sink starts at its end."""
        note = self.ledger.recall(_key(name))
        if note is not None:
            return int(str(note["place"]))
        place = self.ledger.feed_end()
        self.ledger.remember(_key(name), {"place": place})
        return place


def happenings(ledger: Ledger, fed: Sequence[Fed]) -> tuple[Happening, ...]:
    """The happenings of a part of the ledger's feed."""
    histories = ((each.place, each.entry.seq, ledger.entries(each.entry.rollout)) for each in fed)
    return tuple(happening(place, entries[: seq + 1]) for place, seq, entries in histories)


def _key(name: str) -> str:
    return f"outbox:{name}"


def _waits(name: str) -> str:
    return f"waits:{name}"
