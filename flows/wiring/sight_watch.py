"""Sight watch: once a second the keeper compares what the gateway served with what was counted, and notes it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.sight import Listener, Sight, combined_sight

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.services.telemetry.reading.accounts import Accountant
    from sluicegate.services.telemetry.reading.watch import Counters, Watch
    from sluicegate.services.telemetry.tailing.backlog import Read
    from sluicegate.services.traffic.joined import Joined

PERIOD = 1.0
NOTE_SECONDS = 5.0
_UNHEARD = "it has not said lately what it served"
"""A note is written so often at least; what reads it takes an older one for blindness."""


class SightWatch:
    """Compares for as long as the process lives; goes on from what the process before it noted."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._envoys = runtime.envoys_of(runtime.site)  # connections of their own: no look waits for them
        self._pool = ThreadPoolExecutor(max(1, len(self._envoys)), thread_name_prefix="sight")
        self._watches: dict[str, dict[Listener, Watch]] = {}
        """By gateway."""
        self._joined: dict[str, Joined] = {}
        """Gateways of other hosts that serve callers, or may."""
        self._known: dict[str, Joined] = {}

        self._names: dict[tuple[str, Listener], str] = {}
        """By which name the telemetry has each log."""
        self._accountants: dict[tuple[str, str], Accountant] = {}
        self._noted_at = -NOTE_SECONDS

    def look(self) -> None:
        """Compare once. Raises what the ledger raises: then nothing is noted, and the note grows old."""
        from sluicegate.registry.ledger.keeper_notes import note_sights, sights
        from sluicegate.services.telemetry.reading.watch import Watch

        at, now = time.monotonic(), self._runtime.clock()
        if not self._watches:
            known = sights(self._runtime.ledger).noted
            for name in self._envoys:
                self._watches[name] = {listener: Watch.begin(at, known.get(listener)) for listener in Listener}
        before = self._sights()
        self._follow(at)
        for name, (counters, why) in zip(self._envoys, self._pool.map(self._counters, self._envoys), strict=True):
            if counters is not None:
                self._account(name, counters)
                self._watches[name] = {
                    listener: watch.look(at, now, counters.get(listener), why)
                    for listener, watch in self._watches[name].items()
                }
        for name, gateway in self._joined.items():
            counters = self._counters_there(name, gateway)
            if counters is not None:
                self._account(name, counters)
            self._watches[name] = {
                listener: watch.look(at, now, None if counters is None else counters[listener], _UNHEARD)
                for listener, watch in self._watches[name].items()
            }
        after = self._sights()
        has_turned = any((before[each].blind is None) != (after[each].blind is None) for each in Listener)
        if has_turned or at - self._noted_at >= NOTE_SECONDS:
            note_sights(self._runtime.ledger, after, now)
            self._noted_at = at

    def _follow(self, at: float) -> None:
        """Watch the gateways of other hosts that serve callers. One that is cut off is compared once it is back."""
        from sluicegate.services.telemetry.reading.watch import Watch

        self._known = self._runtime.planes(self._known)
        self._joined = {name: each for name, each in self._known.items() if not each.is_away()}
        for name in self._watches.keys() - self._envoys.keys() - self._joined.keys():
            del self._watches[name]
        for name in self._joined.keys() - self._watches.keys():
            self._watches[name] = {listener: Watch.begin(at) for listener in Listener}

    def _counters_there(self, name: str, gateway: Joined) -> dict[Listener, Counters] | None:
        """Of a gateway elsewhere: what it said that it served, and what was counted of its log."""
        import sqlalchemy as sa

        from sluicegate.services.telemetry.reading.watch import Counters

        served, counters = gateway.served(), {}
        if served is None:
            return None
        try:
            for listener in Listener:
                read = self._read_there(name, served, listener)
                counters[listener] = Counters(
                    ended=served["ended"][listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
                    unread=read.unread + served["unsent"].get(listener.value, 0), buffered=served["buffered"],
                    failed_writes=served["failed_writes"],
                )  # fmt: skip
        except (SluiceError, OSError, sa.exc.SQLAlchemyError, KeyError):
            return None
        return counters

    def _read_there(self, name: str, served: Mapping[str, Any], listener: Listener) -> Read:
        """What was read of a log that came here, or of one that is read where it is written, which says its name."""
        from sluicegate.services.telemetry.tailing.backlog import read_of, read_of_name
        from sluicegate.services.telemetry.tailing.offsets import name_of

        store = self._runtime.store
        if "logs" in served:
            log = str(served["logs"][listener.value])
            self._names[name, listener] = log
            return read_of_name(store, log)
        path = self._runtime.access_log_folders()[name] / f"{listener.value}.jsonl"
        self._names[name, listener] = name_of(store, path)
        return read_of(store, path)

    def _account(self, name: str, counters: dict[Listener, Counters]) -> None:
        """Keep account of requests without a line. What cannot be written down now is with the next look."""
        from sluicegate.services.telemetry.reading.accounts import Accountant

        for listener, each in counters.items():
            log = self._names[name, listener]
            if (name, log) not in self._accountants:
                self._accountants[name, log] = Accountant(self._runtime.store, name, log)
            with contextlib.suppress(SluiceError):
                self._accountants[name, log].look(each, self._runtime.wall())

    def _sights(self) -> dict[Listener, Sight]:
        """What is seen of all gateways together."""
        return {
            listener: combined_sight({name: each[listener].sight for name, each in self._watches.items()})
            for listener in Listener
        }

    def _counters(self, name: str) -> tuple[dict[Listener, Counters] | None, str]:
        """By listener; or nothing, and why. The gateway is asked first: lines may come, but none may seem to lack.

        None of one among several that does not run: what it served before was seen, and it serves nobody.
        """
        import sqlalchemy as sa

        from sluicegate.services.telemetry.reading.watch import Counters
        from sluicegate.services.telemetry.tailing.backlog import read_of
        from sluicegate.services.telemetry.tailing.offsets import name_of

        envoy = self._envoys[name]
        if len(self._envoys) > 1 and envoy.is_away():
            return None, ""
        try:
            served, counters = envoy.served(), {}
            for listener in Listener:
                path = envoy.logs / f"{listener.value}.jsonl"
                read, self._names[name, listener] = (
                    read_of(self._runtime.store, path), name_of(self._runtime.store, path)
                )  # fmt: skip
                counters[listener] = Counters(
                    ended=served.ended[listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
                    unread=read.unread, buffered=served.buffered, failed_writes=served.failed_writes,
                )  # fmt: skip
        except (SluiceError, OSError, sa.exc.SQLAlchemyError) as error:
            return {}, str(error)
        return counters, ""
