"""LogCollector: tails the files of one log into the store, each line exactly once, whatever is killed whenever.

What was read and the offset after it are written in one transaction. What a killed collector had not committed is
still in the log; what it had committed is not read again. Two collectors at once cannot count a line twice either: the
offset is moved only from where the reader found it. A database that cannot be written (full disk, long lock) changes
nothing: lines stay in the log until it can.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import sqlalchemy as sa

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.quarantine import set_aside, shown
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.offsets import Offsets, name_of
from sluicegate.services.telemetry.tailing.tail import Chunk, Tail
from sluicegate.services.telemetry.tally.lines import Unreadable

BUCKET = 300
"""Seconds of a time bucket: inside it the base rate is taken to be constant."""
QUIET = 60.0
"""Seconds without a write after which a rotated file is taken to be complete."""
SWEEP = 1_000_000
"""Microseconds between looks at what rarely changes."""
ASTRAY = 1.0
"""Seconds that a log may be written elsewhere than at its path before its writer is told: a rotation takes less."""

_log = logging.getLogger(__name__)
RowsT = TypeVar("RowsT", bound=Sized)
RowT = TypeVar("RowT")


class LogCollector(ABC, Generic[RowsT]):
    """What every collector of a log does; subclasses say what a line means and what is written of it."""

    poll = 0.1
    """Seconds between looks at a log that has nothing new."""
    back_off = 1.0
    """Seconds to wait after the database or the ledger failed."""
    begins_in_turn = True
    """Whether all that is written of a chunk waits for the writers' turn; else `_write` takes it."""
    hidden_as: str | None = None
    """What is shown instead of a line that cannot be read; None: the line."""

    def __init__(
        self, store: Store, log_path: Path, clock: Callable[[], datetime], *,
        reopen: Callable[[], None] | None = None, elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`reopen` has the log's writer start a new one at its path; `elapsed` gives seconds from any beginning."""
        self._store = store
        self._reopen = reopen
        self._elapsed = elapsed
        self._astray_since: float | None = None
        self._path = log_path
        self._clock = clock
        self._log = name_of(store, log_path)
        self._offsets = Offsets(store, log_path)
        self._has_more = False
        """Whether the last pass left something to do."""
        self._tail = Tail(log_path)
        self._known: dict[str, int] | None = None
        """The offsets as committed; None: to be loaded."""
        self._has_forgotten = False

    @property
    def name(self) -> str:
        """Which log this is, for people."""
        return f"{self._path.parent.parent.name}/{self._path.stem}"

    @abstractmethod
    def collect(self) -> int:
        """One bounded pass over every file of the log; how many lines were read, or otherwise worked on.

        Raises SluiceError, OSError or SQLAlchemyError when it could not; nothing is lost, the next pass begins where
        the last transaction ended.
        """

    @abstractmethod
    def _read_lines(self, lines: Sequence[bytes]) -> tuple[RowsT, list[Unreadable]]:
        """What the lines of a chunk say; and those that cannot be read, each with the reason."""

    @abstractmethod
    def _write(self, connection: sa.Connection, rows: RowsT, counts: Counter[Count]) -> None:
        """Write down what the lines of a chunk say; `counts` is written after it."""

    def _prepare(self, rows: RowsT, now: int) -> None:
        """What is asked of others before a transaction keeps them waiting; `now` in microseconds."""

    def run(self, stop: threading.Event) -> None:
        """Collect until stopped; without a pause only while there is more to do than one pass takes."""
        while not stop.is_set():
            try:
                self.collect()
                self.call_back()
                pause = 0.0 if self._has_more else self.poll
            except (SluiceError, OSError, sa.exc.SQLAlchemyError):
                _log.exception("collecting %s failed; it is read again from the last committed place", self._path.name)
                pause = self.back_off
            stop.wait(pause)

    def call_back(self) -> None:
        """Where the log is written elsewhere than at its path, have its writer start a new one there.

        Raises SluiceError or OSError when the writer cannot be told; it is told again as long as it goes on.
        """
        now = self._elapsed()
        if not self._tail.is_astray or self._reopen is None:
            self._astray_since = None
        elif self._astray_since is None:
            self._astray_since = now
        elif now - self._astray_since > ASTRAY:
            self._astray_since = now
            self._tail.begin_anew()
            _log.warning("%s is not where it is written to; its writer is to start a new one", self._path.name)
            self._reopen()

    def finished(self, quiet: float = QUIET) -> tuple[Path, ...]:
        """Rotated files whose every line is safe in the database, power loss included: they may be deleted.

        A file that was written to in the last `quiet` seconds is not among them: its writer may hold it open still.
        """
        offsets = self._offsets.load()
        self._store.harden()
        return self._tail.finished(offsets, round((self._clock().timestamp() - quiet) * 1e9))

    def forget_gone(self, before: datetime) -> None:
        """Forget how far files were read that are gone, and were read last before this time."""
        self._offsets.forget(self._tail.heads(), int(before.timestamp() * 1e6))
        self._has_forgotten = True  # the pass under way, in another thread, goes on with what it knows

    def _now(self) -> int:
        """Microseconds since 1970."""
        return int(self._clock().timestamp() * 1e6)

    def _read(self, now: int) -> tuple[int, bool]:
        """Lines read, and whether the log was read to its end."""
        lines, is_level = 0, True
        try:
            if self._known is None or self._has_forgotten:
                self._has_forgotten = False
                self._known = self._offsets.load()
            for chunk in self._tail.chunks(self._known):
                with _no_search_for_circles():
                    self._take(chunk, now)
                self._known[chunk.head] = chunk.end
                lines += len(chunk.lines)
                is_level = is_level and chunk.is_last
        except BaseException:
            self._tail.forget()
            self._known = None
            raise
        return lines, is_level

    def _take(self, chunk: Chunk, now: int) -> None:
        """Count one chunk in one transaction."""
        rows, wrong = self._read_lines(chunk.lines)
        unreadable = [
            {"log": self._log, "read_at": now, "reason": shown(why), "line": self.hidden_as or shown(text)}
            for text, why in wrong
        ]
        counts = Counter({Count.QUARANTINED: len(unreadable)})
        self._prepare(rows, now)
        with self._store.write(in_turn=self.begins_in_turn) as connection:
            self._offsets.move(connection, chunk, now)
            self._write(connection, rows, counts)
            set_aside(connection, unreadable)
            self._store.count(connection, counts)
            row = (self._log, len(chunk.lines), len(unreadable), max(chunk.end - chunk.start, 0))
            self._store.add(connection, schema.logs, [row])


@contextmanager
def _no_search_for_circles() -> Iterator[None]:
    """A chunk makes tens of thousands of lists, none in a circle; looking for circles was a quarter of the work."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def one_by_one(read: Callable[[bytes], RowT], lines: Sequence[bytes]) -> tuple[list[RowT], list[Unreadable]]:
    """What each line says to `read`, which raises ValueError or RecursionError for one that cannot be read."""
    rows, unreadable = list[RowT](), list[Unreadable]()
    for text in lines:
        try:
            rows.append(read(text))
        except (ValueError, RecursionError) as error:
            unreadable.append((text, str(error)))
    return rows, unreadable
