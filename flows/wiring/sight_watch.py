"""Sight watch: once a second the keeper compares what the gateway served with what was counted, and notes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.sight import Listener

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.services.telemetry.reading.watch import Counters, Watch

PERIOD = 1.0
NOTE_SECONDS = 5.0
"""A note is written so often at least; what reads it takes an older one for blindness."""


class SightWatch:
    """Compares for as long as the process lives; goes on from what the process before it noted."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._envoy = runtime.envoy_at(runtime.site.ports["gateway"])  # a connection of its own: no look waits for it
        self._watches: dict[Listener, Watch] = {}
        self._noted_at = -NOTE_SECONDS

    def look(self) -> None:
        """Compare once. Raises what the ledger raises: then nothing is noted, and the note grows old."""
        from sluicegate.registry.ledger.sights import note_sights, sights
        from sluicegate.services.telemetry.reading.watch import Watch

        at, now = time.monotonic(), self._runtime.clock()
        if not self._watches:
            known = sights(self._runtime.ledger).noted
            self._watches = {listener: Watch.begin(at, known.get(listener)) for listener in Listener}
        counters, why = self._counters()
        before = {listener: watch.sight for listener, watch in self._watches.items()}
        self._watches = {
            listener: watch.look(at, now, counters.get(listener), why) for listener, watch in self._watches.items()
        }
        after = {listener: watch.sight for listener, watch in self._watches.items()}
        has_turned = any((before[each].blind is None) != (after[each].blind is None) for each in Listener)
        if has_turned or at - self._noted_at >= NOTE_SECONDS:
            note_sights(self._runtime.ledger, after, now)
            self._noted_at = at

    def _counters(self) -> tuple[dict[Listener, Counters], str]:
        """By listener; or nothing, and why. The gateway is asked first: lines may come, but none may seem to lack."""
        import sqlalchemy as sa

        from sluicegate.services.telemetry.reading.watch import Counters
        from sluicegate.services.telemetry.tailing.backlog import read_of

        try:
            served, counters = self._envoy.served(), {}
            for listener in Listener:
                read = read_of(self._runtime.store, self._envoy.logs / f"{listener.value}.jsonl")
                counters[listener] = Counters(
                    ended=served.ended[listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
                    unread=read.unread, buffered=served.buffered, failed_writes=served.failed_writes,
                )  # fmt: skip
        except (SluiceError, OSError, sa.exc.SQLAlchemyError) as error:
            return {}, str(error)
        return counters, ""
