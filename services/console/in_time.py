"""In time: runs queries that may hang in threads of their own, so that no caller waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sluicegate.registry.words.errors import Unreachable

PATIENCE = 3.0
"""Seconds that a page waits for the telemetry."""
T = TypeVar("T")


class InTime:
    """Runs a query with a time limit. While one is overdue, new callers get an error at once, and no query starts."""

    def __init__(self, seconds: float = PATIENCE, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._elapsed = elapsed
        self._since: dict[Future[object], float] = {}

    def __call__(self, query: Callable[[], T]) -> T:
        """The query's result. Raises what the query raises, and Unreachable if it takes too long."""
        longest = max((self._elapsed() - since for since in list(self._since.values())), default=0.0)
        if longest > self._seconds:
            raise _silent(longest)
        result: Future[T] = Future()
        self._since[result] = self._elapsed()  # type: ignore[index]
        threading.Thread(target=self._run, args=(query, result), name="in time", daemon=True).start()
        try:
            return result.result(self._seconds)
        except TimeoutError:
            if result.done():  # the query itself raised TimeoutError
                raise
            raise _silent(self._seconds) from None

    def _run(self, query: Callable[[], T], result: Future[T]) -> None:
        try:
            result.set_result(query())
        except Exception as error:  # noqa: BLE001 (raised where the result is awaited)
            result.set_exception(error)
        finally:
            del self._since[result]  # type: ignore[arg-type]


def _silent(seconds: float) -> Unreachable:
    return Unreachable(
        f"the telemetry has not answered for {seconds:.0f} s.",
        fix="check whether its database can be reached: `sluice doctor`; this page tries again by itself.",
    )
