"""Outcomes: checked when they are given, kept until the server has them, sent in batches. Pure but for a lock.

Sending a batch again is harmless: the server counts one outcome for each prediction and name, or for each unit, name
and time. The time is set when the outcome is given, not when it is sent.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sluicegate.services.client.asking import JSON, Ask, Server
from sluicegate.services.client.problems import CannotBeSent, Failed, FeedbackFull, NotAllowed, Refused

log = logging.getLogger(__name__)

Value = str | bool | int | float | None
BATCH = 500
"""The most outcomes in one request."""
_BATCH_BYTES = 900_000
"""The most bytes in one request; the server accepts 1 MiB."""
_LONGEST = 500
_PASSING = frozenset({404, 408, 425, 429})
"""Statuses after which a batch waits for another attempt; 404 because a proxy may not know the console yet."""


@dataclass(frozen=True, kw_only=True)
class Turned:
    """An outcome that the server refused, and why."""

    outcome: dict[str, Any]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The results of sending outcomes. Accepted ones are durable."""

    accepted: int = 0
    duplicate: int = 0
    """Reported before with the same value."""
    contradictory: int = 0
    """Reported before with another value; the first one stands."""
    refused: tuple[Turned, ...] = ()

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            accepted=self.accepted + other.accepted,
            duplicate=self.duplicate + other.duplicate,
            contradictory=self.contradictory + other.contradictory,
            refused=self.refused + other.refused,
        )


def outcome(
    name: str, value: Value, at: datetime, *, prediction_id: str | None = None, model: str | None = None,
    unit: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An outcome in the server's format. Raises CannotBeSent."""
    about = {"prediction_id": prediction_id, "model": model, "unit": unit}
    for what, text in {"outcome": name, **{key: text for key, text in about.items() if text is not None}}.items():
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
            raise CannotBeSent(f"{what} is {text!r}.", fix=f"Give a text of 1 to {_LONGEST} characters.")
    if (prediction_id is None) == (unit is None) or (unit is None) != (model is None):
        raise CannotBeSent(
            "an outcome needs either a prediction_id, or a model and a unit.", fix="Pass one of the two."
        )
    if not isinstance(value, str | bool | int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise CannotBeSent(f"value is {value!r}.", fix="Give a finite number, True, False, a text or None.")
    if at.tzinfo is None:
        raise CannotBeSent(f"at is {at}, without a time zone.", fix="Give an aware datetime.")
    return {"name": name, "value": value, "at": at.isoformat(), **{k: v for k, v in about.items() if v is not None}}


def sending(batch: Sequence[dict[str, Any]]) -> Ask:
    """The request that delivers a batch."""
    content = json.dumps(list(batch)).encode()
    return Ask(server=Server.CONSOLE, method="POST", path="/outcomes", headers=(JSON,), content=content)


@dataclass
class Outbox:
    """Pending outcomes, and the results of those sent since the last report."""

    most: int = 100_000
    _waiting: deque[dict[str, Any]] = field(default_factory=deque)
    _so_far: Receipt = field(default_factory=Receipt)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: dict[str, Any]) -> int:
        """Add an outcome; returns how many are pending. Raises FeedbackFull."""
        with self._lock:
            if len(self._waiting) >= self.most:
                fix = "Check that the console can be reached; flush() reports why not."
                raise FeedbackFull(f"{self.most} outcomes wait to be sent already.", fix=fix)
            self._waiting.append(item)
            return len(self._waiting)

    def take(self) -> list[dict[str, Any]]:
        """Remove the next batch, oldest first. The caller must pass it to `back` or report it with `done`."""
        with self._lock:
            size, batch = 0, list[dict[str, Any]]()
            while self._waiting and len(batch) < BATCH:
                size += len(json.dumps(self._waiting[0])) + 2
                if size > _BATCH_BYTES and batch:
                    break
                batch.append(self._waiting.popleft())
            return batch

    def back(self, batch: Sequence[dict[str, Any]]) -> None:
        """Put an undelivered batch back to the front."""
        with self._lock:
            self._waiting.extendleft(reversed(batch))

    def done(self, receipt: Receipt) -> None:
        """Add the result of a delivered batch."""
        with self._lock:
            self._so_far += receipt

    def report(self) -> Receipt:
        """The results of everything delivered since the last report."""
        with self._lock:
            report, self._so_far = self._so_far, Receipt()
            return report


@contextmanager
def delivery(outbox: Outbox, batch: Sequence[dict[str, Any]]) -> Iterator[Callable[[Any], None]]:
    """Wraps the delivery of a batch; yields a function that takes the server's answer.

    After a temporary failure the batch becomes pending again. A batch that the server rejects for good counts as
    refused.
    """
    try:
        yield lambda body: outbox.done(_receipt(batch, body))
    except Refused as error:
        if isinstance(error, NotAllowed) or error.status in _PASSING:
            outbox.back(batch)
            raise
        log.warning("%s outcomes were refused: %s", len(batch), error)
        outbox.done(Receipt(refused=tuple(Turned(outcome=item, reason=error.message) for item in batch)))
    except BaseException:
        outbox.back(batch)
        raise


def _receipt(batch: Sequence[dict[str, Any]], body: Any) -> Receipt:
    """The receipt in the server's answer. Raises Failed if the answer is not one."""
    try:
        refused = tuple(Turned(outcome=batch[one["index"]], reason=one["reason"]) for one in body["refused"])
        counts = {name: int(body[name]) for name in ("accepted", "duplicate", "contradictory")}
    except (KeyError, TypeError, IndexError) as error:
        raise Failed(f"the server at this URL is not a console: it answered {body!r}.", status=200) from error
    for turned in refused:
        log.warning("an outcome was refused: %s", turned.reason)
    return Receipt(**counts, refused=refused)
