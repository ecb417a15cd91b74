"""In time: questions that may hang are asked in threads of their own, and nobody waits for them for long."""

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
    """Asks, and gives up in time. While a question is overdue no other one is asked: its asker is told at once."""

    def __init__(self, seconds: float = PATIENCE, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._elapsed = elapsed
        self._since: dict[Future[object], float] = {}

    def __call__(self, question: Callable[[], T]) -> T:
        """The answer, or what the question raises. Raises Unreachable when it does not come in time."""
        longest = max((self._elapsed() - since for since in list(self._since.values())), default=0.0)
        if longest > self._seconds:
            raise _silent(longest)
        answer: Future[T] = Future()
        self._since[answer] = self._elapsed()  # type: ignore[index]
        threading.Thread(target=self._ask, args=(question, answer), name="in time", daemon=True).start()
        try:
            return answer.result(self._seconds)
        except TimeoutError:
            if answer.done():  # it was the question that timed out
                raise
            raise _silent(self._seconds) from None

    def _ask(self, question: Callable[[], T], answer: Future[T]) -> None:
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 (raised where the answer is awaited)
            answer.set_exception(error)
        finally:
            del self._since[answer]  # type: ignore[arg-type]


def _silent(seconds: float) -> Unreachable:
    return Unreachable(
        f"the telemetry has not answered for {seconds:.0f} s.",
        fix="check whether its database can be reached: `sluice doctor`; this page tries again by itself.",
    )
