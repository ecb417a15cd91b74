"""The loops of one process. If one ends, the process ends; if one hangs, the process's heartbeat stops."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from sluicegate.registry.words.errors import Unreachable

if TYPE_CHECKING:
    from sluicegate.services.heartbeat import Heartbeats

PATIENCE = 60.0
"""Seconds that one turn of a loop may take before the process counts as hung."""
BEAT_SECONDS = 1.0
PASS_SECONDS = 180.0
"""Seconds that one pass over a log may take, including waits for a locked database."""
UNHURRIED = 3600.0
"""Seconds that one turn of a loop may take that nobody waits for, such as deleting old data."""
ENDED = 70
"""Exit code of a process whose loop ended without being asked to."""


class Turns(threading.Event):
    """A stop event that knows for how long its loop has not checked it."""

    def __init__(self, stop: threading.Event, elapsed: Callable[[], float]) -> None:
        super().__init__()
        self._sign, self._elapsed = stop, elapsed
        self._looked: float | None = elapsed()

    def is_set(self) -> bool:
        self._looked = self._elapsed()
        return self._sign.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._looked = None
        try:
            return self._sign.wait(timeout)
        finally:
            self._looked = self._elapsed()

    def busy(self) -> float:
        """Seconds that the current turn has taken; 0 while the loop waits."""
        looked = self._looked
        return 0.0 if looked is None else self._elapsed() - looked


class Loops:
    """The loops of this process. SIGTERM and SIGINT set their stop event."""

    def __init__(
        self, program: str, beats: Heartbeats, *, elapsed: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:  # fmt: skip
        self.stop = threading.Event()
        self._program, self._beats, self._elapsed, self._end = program, beats, elapsed, end
        self._checks: list[Callable[[], bool]] = []

    def require(self, is_well: Callable[[], bool]) -> None:
        """Send heartbeats only while `is_well` returns True."""
        self._checks.append(is_well)

    def beside(self, name: str, work: Callable[[threading.Event], object], patience: float = PATIENCE) -> None:
        """Run a loop in its own thread."""
        turns = self._turns(patience)
        threading.Thread(target=self._run, args=(name, work, turns), name=name, daemon=True).start()

    def run(self, name: str, work: Callable[[threading.Event], object], patience: float = PATIENCE) -> None:
        """Run the main loop, with heartbeats while all loops make progress."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        turns = self._turns(patience)
        self.beside("heartbeat", self._beat)
        self._run(name, work, turns)

    def is_well(self) -> bool:
        """Whether every loop makes progress."""
        return all(check() for check in self._checks)

    def end_where_one_hangs(self, stop: threading.Event) -> None:
        """End the process if a loop hangs, until stopped. For processes that no other program watches."""
        while not stop.wait(BEAT_SECONDS):
            if not self.is_well():
                _log("a loop hangs; this process ends, to be started again")
                self._end(ENDED)

    def _turns(self, patience: float) -> Turns:
        turns = Turns(self.stop, self._elapsed)
        self.require(lambda: turns.busy() <= patience)
        return turns

    def _run(self, name: str, work: Callable[[threading.Event], object], turns: Turns) -> None:
        try:
            work(turns)
        except BaseException:  # noqa: BLE001
            _log(f"the loop {name} failed; this process ends and is restarted", is_error=True)
            self._end(ENDED)
        if not self.stop.is_set():
            _log(f"the loop {name} ended; this process ends and is restarted")
            self._end(ENDED)

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_SECONDS):
            if self.is_well():
                self._beats.beat(self._program)


def run_process(work: Callable[[], None]) -> NoReturn:
    """Do a process's work, then exit at once, even if threads hang. Nothing needs an orderly exit."""
    code = ENDED
    try:
        work()
        code = 0
    except Unreachable as error:  # a server needed at the start is away; a traceback explains nothing
        _log(f"this process cannot work and is started again: {error}")
    except BaseException:  # noqa: BLE001
        _log("this process failed and is restarted", is_error=True)
    os._exit(code)


def log_plainly() -> None:
    """Log one line for each event. Tracebacks omit local values, which may be secrets."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        logger_factory=lambda *_: LineLogger(sys.stdout.fileno()),
    )


class LineLogger:
    """Writes whole lines to a descriptor. Drops them on a full disk, since no log line is worth a failed loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def msg(self, line: str) -> None:
        """Write a line; ignore failures."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{line}\n".encode(errors="replace"))

    debug = info = warning = warn = error = critical = exception = fatal = failure = log = msg


def _log(event: str, *, is_error: bool = False) -> None:
    import structlog

    with contextlib.suppress(Exception):
        structlog.get_logger("process").error(event, exc_info=is_error)
