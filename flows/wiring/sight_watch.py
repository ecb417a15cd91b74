"""Sight watch: once a second the keeper compares what the gateways served with what was counted, and notes it."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.sight import Listener, Sight, combined_sight

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.registry.words.gateway_report import Served
    from sluicegate.services.telemetry.reading.accounts import Accountant
    from sluicegate.services.telemetry.reading.watch import Counters, Watch
    from sluicegate.services.telemetry.tailing.backlog import Read
    from sluicegate.services.traffic.joined import Joined

PERIOD = 1.0
NOTE_SECONDS = 5.0
"""Longest time in seconds between two notes. Readers take an older note for blindness."""
_UNHEARD = "it has not said lately what it served"


class SightWatch:
    """Compares served and counted requests. Continues from the notes of the process before it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._envoys = runtime.envoys_of(runtime.site)  # own connections, so that no other look waits for them
        self._pool = ThreadPoolExecutor(max(1, len(self._envoys)), thread_name_prefix="sight")
        self._watches: dict[str, dict[Listener, Watch]] = {}
        """The watches of each gateway, by listener."""
        self._joined: dict[str, Joined] = {}
        """Gateways on other hosts that are not cut off."""
        self._known: dict[str, Joined] = {}

        self._names: dict[tuple[str, Listener], str] = {}
        """The name of each log in the telemetry."""
        self._accountants: dict[tuple[str, str], Accountant] = {}
        self._noted_at = -NOTE_SECONDS

    def look(self) -> None:
        """Compare once. Raises the ledger's errors; then nothing is noted, and the last note grows old."""
        from sluicegate.registry.ledger.keeper_notes import note_sights, sights
        from sluicegate.services.telemetry.reading.watch import Watch

        at, now = time.monotonic(), self._runtime.clock()
        if not self._watches:
            noted = sights(self._runtime.ledger).noted
            for name in self._envoys:
                self._watches[name] = {listener: Watch.begin(at, noted.get(listener)) for listener in Listener}
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
        """Update the list of gateways on other hosts. One that is cut off is compared again once it is back."""
        from sluicegate.services.telemetry.reading.watch import Watch

        self._known = self._runtime.planes(self._known)
        self._joined = {name: each for name, each in self._known.items() if not each.is_away()}
        for name in self._watches.keys() - self._envoys.keys() - self._joined.keys():
            del self._watches[name]
        for name in self._joined.keys() - self._watches.keys():
            self._watches[name] = {listener: Watch.begin(at) for listener in Listener}

    def _counters_there(self, name: str, gateway: Joined) -> dict[Listener, Counters] | None:
        """The counters of a gateway elsewhere: what it reported as served, and what was counted from its log."""
        import sqlalchemy as sa

        from sluicegate.services.telemetry.reading.watch import Counters

        served, counters = gateway.served(), {}
        if served is None:
            return None
        try:
            for listener in Listener:
                read = self._read_there(name, served, listener)
                counters[listener] = Counters(
                    ended=served.ended[listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
                    unread=read.unread, buffered=served.buffered, failed_writes=served.failed_writes,
                )  # fmt: skip
        except (SluiceError, OSError, sa.exc.SQLAlchemyError, KeyError):
            return None
        return counters

    def _read_there(self, name: str, served: Served, listener: Listener) -> Read:
        """How far a gateway's log was read, compared with its size at the report: the copy here, or, if the report
        names the log, where it is written."""
        from sluicegate.services.telemetry.tailing.backlog import read_of_name
        from sluicegate.services.telemetry.tailing.mirror import complete
        from sluicegate.services.telemetry.tailing.offsets import name_of

        store, written = self._runtime.store, served.written.get(listener.value, {})
        if served.logs is not None:
            log = served.logs[listener.value]
        else:
            folder = self._runtime.access_log_folders()[name]
            log = name_of(store, folder / f"{listener.value}.jsonl")
            written = {**complete(folder, listener.value), **written}
        self._names[name, listener] = log
        return read_of_name(store, log, written)

    def _account(self, name: str, counters: dict[Listener, Counters]) -> None:
        """Account for requests without a log line. If that cannot be stored now, the next look does it."""
        from sluicegate.services.telemetry.reading.accounts import Accountant

        for listener, each in counters.items():
            log = self._names[name, listener]
            if (name, log) not in self._accountants:
                self._accountants[name, log] = Accountant(self._runtime.store, name, log)
            with contextlib.suppress(SluiceError):
                self._accountants[name, log].look(each, self._runtime.wall())

    def _sights(self) -> dict[Listener, Sight]:
        """The combined sight of all gateways, by listener."""
        return {
            listener: combined_sight({name: each[listener].sight for name, each in self._watches.items()})
            for listener in Listener
        }

    def _counters(self, name: str) -> tuple[dict[Listener, Counters] | None, str]:
        """The counters by listener; or an empty dict, and why.

        Reads the gateway's own count first, so that lines that arrive meanwhile never look like missing ones. None for
        a gateway among several that does not run: it serves nobody, and what it served before was compared already.
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
