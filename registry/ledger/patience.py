"""Limits for a PostgreSQL that hangs: connecting and every statement end in time, whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

CONNECT_SECONDS = 3
SILENCE = 5.0
"""Seconds that a server may be silent while a statement waits for it, or for another writer's lock."""
LONG = 600.0
"""The same where nobody waits, such as for a migration that builds an index over everything."""
_TOTAL = 12
"""A statement that is answered bit by bit may take this many times the silence."""
_AGAIN_SECONDS = 2.0
"""Seconds after a failed connection during which no new attempt is made: callers get an error at once."""
T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is given up and closed when its server falls silent."""

    silence = SILENCE

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        """Wait within the limits above. Raises OperationalError."""
        try:
            return super().wait(_impatient(gen, self.silence), *args, **more)
        except _Silent as silent:
            self.pgconn.finish()
            raise psycopg.OperationalError(str(silent)) from None


@dataclass(eq=False)
class Connecting:
    """Makes connections, with fewer attempts while a server does not answer."""

    elapsed: Callable[[], float] = time.monotonic
    _given_up: float | None = None

    def __call__(self, dialect: Any, record: Any, arguments: Any, named: Any) -> PatientConnection:
        """Called by SQLAlchemy's event `do_connect`."""
        del dialect, record
        if self._given_up is not None and self.elapsed() - self._given_up < _AGAIN_SECONDS:
            raise psycopg.OperationalError("the server did not answer a moment ago")
        try:
            return PatientConnection.connect(*arguments, **{"connect_timeout": CONNECT_SECONDS, **named})
        except psycopg.errors.ConnectionTimeout:
            self._given_up = self.elapsed()
            raise


class _Silent(Exception):
    """The server is silent, or its answer never ends."""


def _impatient(gen: Generator[Any, Any, T], silence: float) -> Generator[Any, Any, T]:
    """The same conversation with the server, which ends when the server has been silent for too many seconds."""
    began = heard = time.monotonic()
    try:
        state = next(gen)
        while True:
            ready = yield state
            now = time.monotonic()
            heard = now if ready else heard
            if now - heard > silence or now - began > _TOTAL * silence:
                raise _Silent(f"the server has not answered for {now - heard:.0f} s")
            state = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
