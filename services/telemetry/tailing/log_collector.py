"""LogCollector: tails the files of one log into the store, each line exactly once, even if processes are killed.

Rows and the offset after them are written in one transaction. What a killed collector had not committed is still in the
log; what it had committed is not read again. Even two collectors at once cannot count a line twice, because an offset
is moved only from the value that its reader loaded. While the database cannot be written, such as on a full disk, lines
stay in the log.
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
"""Seconds of a time bucket, within which the base rate is assumed to be constant."""
QUIET = 60.0
"""Seconds without a write after which a rotated file counts as complete."""
SWEEP = 1_000_000
"""Microseconds between checks of what rarely changes."""
ASTRAY = 1.0
"""Seconds that a log may be written elsewhere than at its path before its writer has to reopen it; longer than a
rotation takes."""

_log = logging.getLogger(__name__)
RowsT = TypeVar("RowsT", bound=Sized)
RowT = TypeVar("RowT")


class LogCollector(ABC, Generic[RowsT]):
    """Base of all collectors of logs. Subclasses parse the lines, and write what follows from them."""

    poll = 0.1
    """Seconds between looks at a log without new lines."""
    back_off = 1.0
    """Seconds to wait after the database or the ledger failed."""
    begins_in_turn = True
    """Whether the transaction takes the write lock at its start; if not, `_write` takes it when needed."""
    hidden_as: str | None = None
    """The text shown instead of an unreadable line; None: the line itself."""

    def __init__(
        self, store: Store, log_path: Path, clock: Callable[[], datetime], *,
        reopen: Callable[[], None] | None = None, elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`reopen` makes the log's writer start a new file at its path; `elapsed` returns seconds from an arbitrary
        start."""
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
        """The committed offsets; None: they must be loaded."""
        self._has_forgotten = False

    @property
    def name(self) -> str:
        """The log's name for people."""
        return f"{self._path.parent.parent.name}/{self._path.stem}"

    @abstractmethod
    def collect(self) -> int:
        """Make one bounded pass over all files of the log; returns how many lines were read or otherwise handled.

        Raises SluiceError, OSError or SQLAlchemyError if it fails. Nothing is lost then: the next pass continues after
        the last committed transaction.
        """

    @abstractmethod
    def _read_lines(self, lines: Sequence[bytes]) -> tuple[RowsT, list[Unreadable]]:
        """Parse the lines of a chunk; returns the rows, and the unreadable lines with their reasons."""

    @abstractmethod
    def _write(self, connection: sa.Connection, rows: RowsT, counts: Counter[Count]) -> None:
        """Write the rows of a chunk. The caller writes `counts` afterwards."""

    def _prepare(self, rows: RowsT, now: int) -> None:
        """Fetch what is needed from elsewhere, before the transaction makes others wait; `now` in microseconds."""

    def run(self, stop: threading.Event) -> None:
        """Collect until stopped, and pause whenever a pass leaves nothing to do."""
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
        """If the log is being written elsewhere than at its path, make its writer start a new file there.

        Raises SluiceError or OSError if the writer cannot be reached. Repeats until the writer has done so.
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
        """Rotated files that may be deleted, because all their lines are in the database, even after a power loss.

        Excludes files written to in the last `quiet` seconds, which their writer may still have open.
        """
        offsets = self._offsets.load()
        self._store.harden()
        return self._tail.finished(offsets, round((self._clock().timestamp() - quiet) * 1e9))

    def forget_gone(self, before: datetime) -> None:
        """Delete the offsets of files that are gone and were last read before this time."""
        self._offsets.forget(self._tail.heads(), int(before.timestamp() * 1e6))
        self._has_forgotten = True  # a pass that is running in another thread keeps its loaded offsets

    def _now(self) -> int:
        """Microseconds since 1970."""
        return int(self._clock().timestamp() * 1e6)

    def _read(self, now: int) -> tuple[int, bool]:
        """Read the log; returns the number of lines, and whether its end was reached."""
        lines, is_level = 0, True
        try:
            if self._known is None or self._has_forgotten:
                self._has_forgotten = False
                self._known = self._offsets.load()
            for chunk in self._tail.chunks(self._known):
                with _without_garbage_collection():
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
def _without_garbage_collection() -> Iterator[None]:
    """A chunk makes tens of thousands of lists without reference cycles; searching for cycles took a quarter of the
    time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def one_by_one(read: Callable[[bytes], RowT], lines: Sequence[bytes]) -> tuple[list[RowT], list[Unreadable]]:
    """Parse each line by `read`, which raises ValueError or RecursionError for an unreadable one."""
    rows, unreadable = list[RowT](), list[Unreadable]()
    for text in lines:
        try:
            rows.append(read(text))
        except (ValueError, RecursionError) as error:
            unreadable.append((text, str(error)))
    return rows, unreadable
