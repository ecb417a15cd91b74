"""AsyncClient: the client for asyncio. Each client belongs to one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from sluicegate.services.client import asking, rollouts
from sluicegate.services.client.connecting import Connecting, Options
from sluicegate.services.client.metadata import MetadataValue
from sluicegate.services.client.outcomes import Receipt, Value
from sluicegate.services.client.payload import Rows
from sluicegate.services.client.predictions import Predictions
from sluicegate.services.client.problems import ClientError
from sluicegate.services.client.rollouts import Verb
from sluicegate.services.client.showing import Report, View
from sluicegate.services.client.steps import Reply, Send, Session, Steps, T, Wait

log = logging.getLogger(__name__)


class AsyncClient:
    """`Client` for asyncio, with the same methods. Use it in `async with`, or `close` it."""

    def __init__(self, url: str | None = None, token: str | None = None, **options: Unpack[Options]) -> None:
        """`url` is the gateway's. What is left out is read from the environment. For options see `Connecting`."""
        connecting = Connecting.from_arguments(url, token, options, os.environ)
        self._session = Session(connecting)
        self._http = {server: httpx.AsyncClient(**connecting.http(server)) for server in connecting.servers}
        self._delivering = asyncio.Lock()
        self._bell = asyncio.Event()
        self._postman: asyncio.Task[None] | None = None

    async def predict(
        self,
        model: str,
        data: Rows,
        *,
        metadata: Mapping[str, MetadataValue] | None = None,
        unit: str | int | None = None,
        variation: str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - for one attempt, as in Client
    ) -> Predictions:
        """Predictions for rows of data."""
        return await self._run(self._session.predict(model, data, metadata, unit, variation, params, timeout))

    async def feedback(
        self,
        prediction_id: str | None,
        outcome: str,
        value: Value,
        *,
        model: str | None = None,
        unit: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Report an outcome of a prediction. Returns at once; `flush` and `close` send pending outcomes."""
        is_batch = self._session.feedback(prediction_id, outcome, value, model, unit, at)
        if self._postman is None:
            self._postman = asyncio.create_task(self._rounds(), name="sluice-outcomes")
        if is_batch:
            self._bell.set()

    async def flush(self) -> Receipt:
        """Send all pending outcomes; returns the results since the last flush."""
        await self._deliver()
        return self._session.outbox.report()

    async def rollouts(self, model: str | None = None) -> list[View]:
        """All rollouts, or those of one model, newest first."""
        return await self._run(self._session.rollouts(model))

    async def rollout(self, rollout: str) -> View:
        """A rollout, by its id, or the latest one of a model by its name."""
        return await self._run(self._session.view(rollouts.one(rollout)))

    async def report(self, rollout: str) -> Report:
        """The report of a rollout: what it did, when, why and on what evidence. Notebooks show it as an HTML page."""
        return await self._run(self._session.report(rollout))

    async def watch(self, rollout: str, every: float = 1.0) -> AsyncIterator[View]:
        """Yields the rollout now and after each change, until it has ended. Polls every `every` seconds."""
        view = await self.rollout(rollout)
        yield view
        while view["phase"] != rollouts.ENDED:
            await asyncio.sleep(every)
            before, view = view, await self.rollout(view["id"])
            if rollouts.has_changed(before, view):
                yield view

    async def captures(
        self, model: str, *, build: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """Captured requests with their answers and outcomes, oldest first, read page by page. Needs an analyst's token.

        Raises NotAllowed, Unreachable, Failed.
        """
        after: str | None = None
        while True:
            page = await self._run(self._session.order(rollouts.captures(model, build, since, until, after)))
            for each in page["captures"]:
                yield each
            after = page["next_after"]
            if after is None:
                return

    async def start(self, model: str, build: str = "latest", variation: str = "default") -> View:
        """Start a rollout of a build by the applied plan."""
        return await self._run(self._session.view(rollouts.start(model, build, variation)))

    async def order(self, rollout: str, verb: Verb, reason: str, **more: Any) -> View:
        """Pause, resume, approve, jump, promote or abort a rollout; returns the rollout afterwards."""
        return await self._run(self._session.view(rollouts.order(rollout, verb, reason, more)))

    async def close(self) -> None:
        """Send pending outcomes, and close the connections."""
        try:
            if self._postman is not None:
                self._postman.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._postman
                await self._deliver()
        finally:
            for http in self._http.values():
                await http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _rounds(self) -> None:
        """Send outcomes every `flush_every` seconds, and at once when a batch is full."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), self._session.connecting.flush_every)
            self._bell.clear()
            try:
                await self._deliver()
            except ClientError as error:
                log.warning("outcomes could not be delivered and wait: %s", error)

    async def _deliver(self) -> None:
        async with self._delivering:
            await self._run(self._session.deliver())

    async def _run(self, steps: Steps[T]) -> T:
        reply: Reply | None = None
        with contextlib.closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    result: T = end.value
                    return result
                reply = await self._do(step)

    async def _do(self, step: Send | Wait) -> Reply | None:
        if not isinstance(step, Send):
            await asyncio.sleep(step)
            return None
        http = self._http[step.ask.server]
        try:
            return await http.send(asking.request(http, step.ask, step.patience))
        except httpx.RequestError as error:
            return error
