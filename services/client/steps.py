"""A client's operations as generators, which yield what to send or how long to wait, and get the responses.

The sync and the async client run the same steps, and differ only in how they send and wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from sluicegate.services.client import asking, outcomes, rollouts
from sluicegate.services.client.asking import Ask, Server
from sluicegate.services.client.connecting import Connecting
from sluicegate.services.client.hashing import Hashing
from sluicegate.services.client.metadata import MetadataValue
from sluicegate.services.client.outcomes import Outbox, Value, delivery
from sluicegate.services.client.payload import Rows
from sluicegate.services.client.predictions import Predictions
from sluicegate.services.client.showing import Report, View

T = TypeVar("T")
Wait = float
"""Seconds."""
Reply = httpx.Response | httpx.RequestError


@dataclass(frozen=True, kw_only=True)
class Send:
    """A request to send once."""

    ask: Ask
    patience: httpx.Timeout


Steps = Generator[Send | Wait, Reply | None, T]
"""Yields Sends and Waits, and returns the result. The runner answers a Send with its outcome and a Wait with None."""


class Session:
    """A client's state and operations."""

    def __init__(self, connecting: Connecting) -> None:
        self.connecting = connecting
        self.outbox = Outbox()
        self._hashing = Hashing(clock=time.monotonic, always=connecting.unit_header)

    def predict(
        self,
        model: str,
        data: Rows,
        metadata: Mapping[str, MetadataValue] | None,
        unit: str | int | None,
        variation: str | None,
        params: Mapping[str, Any] | None,
        timeout: float | None,
    ) -> Steps[Predictions]:
        """Ask which header is hashed, unless that is cached; then ask for the predictions."""
        hashed = None
        if unit is not None:
            if self._hashing.must_ask(model):
                about = yield from self.order(asking.about(model))
                self._hashing.learn(model, about["unit"])
            hashed = self._hashing.header(model)
        question = asking.question(
            model, data, metadata=metadata, unit=unit, hashed=hashed, variation=variation, params=params
        )
        answer = question.read((yield from self._send(question.ask, timeout)))
        if unit is not None:
            self._hashing.check(answer)
        return answer

    def feedback(
        self,
        prediction_id: str | None,
        outcome: str,
        value: Value,
        model: str | None,
        unit: str | None,
        at: datetime | None,
    ) -> bool:
        """Add an outcome; returns whether a full batch is pending. Raises CannotBeSent, FeedbackFull."""
        self.connecting.require_console()
        when = at or datetime.now(UTC)
        item = outcomes.outcome(outcome, value, when, prediction_id=prediction_id, model=model, unit=unit)
        return self.outbox.put(item) >= outcomes.BATCH

    def deliver(self) -> Steps[None]:
        """Send all pending outcomes."""
        while batch := self.outbox.take():
            with delivery(self.outbox, batch) as arrived:
                arrived((yield from self.order(outcomes.sending(batch))))

    def rollouts(self, model: str | None) -> Steps[list[View]]:
        """All rollouts, read page by page."""
        views: list[View] = []
        before: str | None = None
        while True:
            body = yield from self.order(rollouts.page(model, before))
            views += map(View, body["rollouts"])
            before = body.get("next_before")
            if before is None:
                return views

    def view(self, ask: Ask) -> Steps[View]:
        """The rollout in the response to a request."""
        return View((yield from self.order(ask)))

    def report(self, rollout: str) -> Steps[Report]:
        """A rollout's report and its page."""
        body = yield from self.order(rollouts.report(rollout))
        return Report(body["report"], body["html"])

    def order(self, ask: Ask) -> Steps[Any]:
        """The JSON in the response to a request."""
        if ask.server is Server.CONSOLE:
            self.connecting.require_console()
        return asking.body_of((yield from self._send(ask, None)))

    def _send(self, ask: Ask, timeout: float | None) -> Steps[httpx.Response]:
        """The response, after as many attempts as are safe."""
        send = Send(ask=ask, patience=self.connecting.patience(timeout))
        attempt = 1
        while True:
            outcome = yield send
            assert outcome is not None, "a Send is answered with its outcome"
            wait = self.connecting.retries.wait(attempt, outcome, is_harmless=ask.is_harmless, draw=random.random)
            if wait is None:
                return asking.answer(outcome)
            yield wait
            attempt += 1
