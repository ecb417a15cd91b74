"""Patience with a PostgreSQL that hangs: connecting and each statement end in time, whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

CONNECT_SECONDS = 3
SILENCE = 5.0
"""Seconds that a server may say nothing while a statement waits for it, or for another writer's turn."""
LONG = 600.0
"""The same where nobody waits: a migration makes an index over all there is."""
_TOTAL = 12
"""So many times the silence a statement may take that is answered bit by bit."""
_AGAIN_SECONDS = 2.0
"""Time after a connection that did not come about in which none is tried: who asks meanwhile is told at once."""
T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is given up, and closed, where its server falls silent."""

    silence = SILENCE

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        """Wait as long as is said here. Raises OperationalError."""
        try:
            return super().wait(_impatient(gen, self.silence), *args, **more)
        except _Silent as silent:
            self.pgconn.finish()
            raise psycopg.OperationalError(str(silent)) from None


@dataclass(eq=False)
class Connecting:
    """Makes connections, and fewer attempts at a server that does not answer."""

    elapsed: Callable[[], float] = time.monotonic
    _given_up: float | None = None

    def __call__(self, dialect: Any, record: Any, arguments: Any, named: Any) -> PatientConnection:
        """As SQLAlchemy's event `do_connect` asks for it."""
        del dialect, record
        if self._given_up is not None and self.elapsed() - self._given_up < _AGAIN_SECONDS:
            raise psycopg.OperationalError("the server did not answer a moment ago")
        try:
            return PatientConnection.connect(*arguments, **{"connect_timeout": CONNECT_SECONDS, **named})
        except psycopg.errors.ConnectionTimeout:
            self._given_up = self.elapsed()
            raise


class _Silent(Exception):
    """A server says nothing, or goes on for ever."""


def _impatient(gen: Generator[Any, Any, T], silence: float) -> Generator[Any, Any, T]:
    """The same conversation, which ends when the server has not been heard for so many seconds."""
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
