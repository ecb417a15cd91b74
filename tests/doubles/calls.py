"""Calls of the API in memory."""

from __future__ import annotations

from dataclasses import replace
from threading import RLock

from sluicegate.registry.ledger.calls import KEY_LIFE, Call


class MemoryCalls:
    """Calls of one process, for tests."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._calls: list[Call] = []

    def begin(self, call: Call) -> tuple[Call, bool]:
        with self._lock:
            for known in self._calls:
                if call.key is not None and (known.actor, known.key) == (call.actor, call.key) and _lives(known, call):
                    return known, False
            kept = replace(call, number=len(self._calls) + 1)
            self._calls.append(kept)
            return kept, True

    def finish(self, number: int, status: int, answer: str) -> None:
        with self._lock:
            call = self._calls[number - 1]
            self._calls[number - 1] = replace(call, status=status, answer=answer if call.key else None)

    def latest(self, *, limit: int, before: int | None = None) -> tuple[Call, ...]:
        with self._lock:
            found = [call for call in reversed(self._calls) if before is None or call.number < before]
            return tuple(found[:limit])


def _lives(known: Call, now: Call) -> bool:
    return known.at > now.at - KEY_LIFE
