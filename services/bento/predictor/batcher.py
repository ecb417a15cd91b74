"""Batcher: sends requests that wait for a busy model together, and returns to each the answer to its own rows.

No request waits for others: a free model is called at once. So batches grow only with the load, and the only setting is
how many rows one call may take.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .merging import form, merged, parts, rows

log = logging.getLogger("bentoml.predictor")

Timed = tuple[Any, float]
"""An answer in plain lists and dicts, and the seconds that the model took."""
Ask = Callable[[Any, dict[str, Any] | None], Awaitable[Timed]]
"""Calls the model. Everything it raises is an Exception."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """One request that waits for its answer."""

    data: Any
    params: dict[str, Any] | None
    form: object
    """Requests with equal forms may be sent together; None if this one must be sent alone."""
    rows: int
    answer: asyncio.Future[Timed]


class Batcher:
    """Calls a model with one batch at a time. `most`: the most rows of a batch."""

    def __init__(self, most: int, ask: Ask) -> None:
        self._most = most
        self._ask = ask
        self._is_by_row = True
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, data: Any, params: dict[str, Any] | None) -> Timed:
        """The answer to these rows. Raises what the model raises for them."""
        loop = asyncio.get_running_loop()
        kind = form(data)
        size = 0 if kind is None else rows(data)
        key = None if kind is None else (kind, repr(params))
        waiting = _Waiting(data=data, params=params, form=key, rows=size, answer=loop.create_future())
        self._waiting.append(waiting)
        if self._work is None:
            self._work = loop.create_task(self._ask_all())
        return await waiting.answer

    async def _ask_all(self) -> None:
        """Answer batches until no request waits. A separate task: a cancelled request does not cancel others."""
        try:
            while batch := self._next():
                await self._answer(batch)
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        """The next batch: the request that has waited longest, and those that may be sent with it."""
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        size = 0
        for each in self._waiting:
            is_alike = self._is_by_row and each.form is not None and (not batch or each.form == batch[0].form)
            if not batch or (is_alike and size + each.rows <= self._most):
                batch.append(each)
                size += each.rows if is_alike else self._most
            else:
                others.append(each)
        self._waiting = others
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Answer the requests that still wait. A failed batch is tried again in halves, until only the cause fails."""
        batch = [each for each in batch if not each.answer.done()]
        if not batch:
            return
        try:
            answer, seconds = await self._ask(merged([each.data for each in batch]), batch[0].params)
            answers = self._parts(answer, batch)
        except Exception as error:  # noqa: BLE001 - passed on to the request
            if len(batch) == 1:
                _give(batch[0], error)
                return
            answers = None
        if answers is None:
            await asyncio.sleep(0)  # let the event loop handle others first
            middle = len(batch) // 2
            await self._answer(batch[:middle])
            await self._answer(batch[middle:])
            return
        for each, part in zip(batch, answers, strict=True):
            _give(each, (part, seconds))

    def _parts(self, answer: Any, batch: list[_Waiting]) -> list[Any] | None:
        """The answer for each request; None if the batch's answer cannot be split."""
        cut = parts(answer, [each.rows for each in batch])
        if len(batch) > 1:
            return cut
        if cut is None and batch[0].form is not None and self._is_by_row:
            self._is_by_row = False
            log.warning(
                "the model does not give one answer for each row, so requests cannot be batched: serve.batch has "
                "no effect"
            )
        return [answer]


def _give(waiting: _Waiting, answer: Timed | Exception) -> None:
    """Deliver an answer, unless the request was cancelled meanwhile."""
    if waiting.answer.done():
        return
    if isinstance(answer, Exception):
        waiting.answer.set_exception(answer)
    else:
        waiting.answer.set_result(answer)
