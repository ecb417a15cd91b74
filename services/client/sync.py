"""Client: predictions, outcomes and rollouts for synchronous programs. Thread-safe."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from sluicegate.services.client import asking, rollouts
from sluicegate.services.client.connecting import Connecting, Options
from sluicegate.services.client.metadata import MetadataValue
from sluicegate.services.client.outcomes import Receipt, Value
from sluicegate.services.client.payload import Rows
from sluicegate.services.client.postman import Postman
from sluicegate.services.client.predictions import Predictions
from sluicegate.services.client.rollouts import Verb
from sluicegate.services.client.showing import Report, View
from sluicegate.services.client.steps import Reply, Send, Session, Steps, T, Wait


class Client:
    """Gets predictions from the gateway, and reports their outcomes to the console. Use it in `with`, or `close` it."""

    def __init__(self, url: str | None = None, token: str | None = None, **options: Unpack[Options]) -> None:
        """`url` is the gateway's. What is left out is read from the environment. For options see `Connecting`."""
        connecting = Connecting.from_arguments(url, token, options, os.environ)
        self._session = Session(connecting)
        self._http = {server: httpx.Client(**connecting.http(server)) for server in connecting.servers}
        self._delivering = threading.Lock()
        self._postman: Postman | None = None

    def predict(
        self,
        model: str,
        data: Rows,
        *,
        metadata: Mapping[str, MetadataValue] | None = None,
        unit: str | int | None = None,
        variation: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Predictions:
        """Predictions for rows of data.

        Audiences match on `metadata`. `unit` identifies the user or object; the same unit stays with the same build.
        `variation` addresses a variation by its name, if the model's connections allow that. `params` are the model's
        own; `timeout` is in seconds. The request is retried only if it cannot have been served.

        Raises CannotBeSent, Refused, NoSuchModel, NotAllowed, Failed, Unreachable, TimedOut.
        """
        return self._run(self._session.predict(model, data, metadata, unit, variation, params, timeout))

    def feedback(
        self,
        prediction_id: str | None,
        outcome: str,
        value: Value,
        *,
        model: str | None = None,
        unit: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Report an outcome of a prediction; or, with `model` and `unit` instead of an id, of the unit's latest one.

        Returns at once. Outcomes are sent soon, in batches, and again after temporary failures; each counts once.
        `flush` sends them now and returns the results. Raises CannotBeSent, FeedbackFull.
        """
        is_batch = self._session.feedback(prediction_id, outcome, value, model, unit, at)
        if self._postman is None:
            self._postman = Postman(self._deliver, self._session.connecting.flush_every)
        if is_batch:
            self._postman.wake()

    def flush(self) -> Receipt:
        """Send all pending outcomes; returns the results since the last flush.

        Raises Unreachable, NotAllowed, Failed. Then nothing is lost: undelivered outcomes stay pending.
        """
        self._deliver()
        return self._session.outbox.report()

    def rollouts(self, model: str | None = None) -> list[View]:
        """All rollouts, or those of one model, newest first."""
        return self._run(self._session.rollouts(model))

    def rollout(self, rollout: str) -> View:
        """A rollout, by its id, or the latest one of a model by its name."""
        return self._run(self._session.view(rollouts.one(rollout)))

    def report(self, rollout: str) -> Report:
        """The report of a rollout: what it did, when, why and on what evidence. Notebooks show it as an HTML page."""
        return self._run(self._session.report(rollout))

    def watch(self, rollout: str, every: float = 1.0) -> Iterator[View]:
        """Yields the rollout now and after each change, until it has ended. Polls every `every` seconds."""
        view = self.rollout(rollout)
        yield view
        while view["phase"] != rollouts.ENDED:
            time.sleep(every)
            before, view = view, self.rollout(view["id"])
            if rollouts.has_changed(before, view):
                yield view

    def captures(
        self, model: str, *, build: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Captured requests with their answers and outcomes, oldest first, read page by page. Needs an analyst's token.

        Raises NotAllowed, Unreachable, Failed.
        """
        after: str | None = None
        while True:
            page = self._run(self._session.order(rollouts.captures(model, build, since, until, after)))
            yield from page["captures"]
            after = page["next_after"]
            if after is None:
                return

    def start(self, model: str, build: str = "latest", variation: str = "default") -> View:
        """Start a rollout of a build by the applied plan. If the same rollout already exists, returns that one."""
        return self._run(self._session.view(rollouts.start(model, build, variation)))

    def order(self, rollout: str, verb: Verb, reason: str, **more: Any) -> View:
        """Pause, resume, approve, jump, promote or abort a rollout; returns the rollout afterwards. Raises Refused."""
        return self._run(self._session.view(rollouts.order(rollout, verb, reason, more)))

    def close(self) -> None:
        """Send pending outcomes, and close the connections. Raises the same errors as `flush`."""
        try:
            if self._postman is not None:
                self._postman.end()
                self._deliver()
        finally:
            for http in self._http.values():
                http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _deliver(self) -> None:
        with self._delivering:
            self._run(self._session.deliver())

    def _run(self, steps: Steps[T]) -> T:
        reply: Reply | None = None
        with contextlib.closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    result: T = end.value
                    return result
                reply = self._do(step)

    def _do(self, step: Send | Wait) -> Reply | None:
        if not isinstance(step, Send):
            time.sleep(step)
            return None
        http = self._http[step.ask.server]
        try:
            return http.send(asking.request(http, step.ask, step.patience))
        except httpx.RequestError as error:
            return error
