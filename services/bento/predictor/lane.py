"""The request path: an ASGI middleware of the BentoML service answers `POST /predict` and `POST /invocations`.

BentoML's own path from the socket to a method and back costs several times as much as a small model. This one keeps
what matters (timeout, draining, one prediction at a time in each worker) and leaves out the rest.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread

from .answer import dump, outline, plain, summary
from .batcher import Batcher
from .capture import GENERATED, Capture
from .media import decoded, require_json
from .model import Model, rows_of
from .problem import Unacceptable
from .times import Times

log = logging.getLogger("bentoml.predictor")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, bytes, Headers]
T = TypeVar("T")

_WRAPPED = {"/predict": False, "/invocations": True}
_QUICK_SECONDS = 0.01
_QUICK_BYTES = 16 << 10
_WARY_REQUESTS = 50


class _Answer(NamedTuple):
    """The answer to one request."""

    content: bytes
    summary: str
    """The summary for the log."""
    body: bytes
    """The request's body, decoded."""
    spans: tuple[float, float, float]
    """Seconds spent in reader, model and writer."""


class Lane:
    """Answers requests with the model, once it is loaded. Makes one call at a time.

    A model that answers within milliseconds is called in the event loop, because a thread would double the cost. A
    model that was slow lately, or a large request, gets a thread, so that the loop can still answer liveness checks.
    """

    def __init__(
        self, build: str, capture: Capture | None = None, *, batch: int = 1, times: Times | None = None
    ) -> None:  # fmt: skip
        """`batch`: rows of waiting requests that one call of the model may take; 1 sends each request alone."""
        self.model: Model | None = None
        self._batcher = Batcher(batch, self._ask) if batch > 1 else None
        self._capture = capture
        self._times = times
        self._headers = [(b"content-type", b"application/json"), (b"x-sluice-build", build.encode())]
        self._wary = _WARY_REQUESTS
        self._thread = anyio.CapacityLimiter(1)
        self._second_thread = anyio.CapacityLimiter(1)

    async def reply(self, body: bytes, headers: dict[bytes, bytes], *, wrapped: bool) -> Reply:
        """Status, body and headers of the answer."""
        is_small = len(body) <= _QUICK_BYTES and b"content-encoding" not in headers
        assert self.model is not None, "the server takes requests after the service has started"
        answered = self._batched if self._batcher and self.model.has_rows else self._unbatched
        began = time.perf_counter()
        try:
            content, line, read, spans = await answered(body, headers, wrapped=wrapped, is_small=is_small)
            status = int(HTTPStatus.OK)
            if self._times is not None:
                self._times.take(*spans, time.perf_counter() - began - sum(spans))
        except Unacceptable as error:
            problems = [problem.as_json() for problem in error.problems]
            status, content, line = error.status, dump({"error": str(error), "problems": problems}), None
        except _Failed as error:
            log.error("%s: %s", _named(headers), error, exc_info=error.__cause__)
            status, content, line = 500, dump({"error": str(error)}), None
        own = [*self._headers, (b"content-length", str(len(content)).encode())]
        if line is not None:
            own.append((b"x-sluice-prediction", line.encode()))
        if request_id := headers.get(b"x-request-id"):
            own.append((b"x-request-id", request_id))
            if self._capture is not None and line is not None and GENERATED not in headers:
                self._capture.take(request_id.decode("latin-1"), read, content, headers)
        return status, content, own

    async def _unbatched(self, sent: bytes, headers: dict[bytes, bytes], *, wrapped: bool, is_small: bool) -> _Answer:
        """Answer a request with its own call of the model."""

        def answer() -> _Answer:
            (body, data, params), reading = _timed(lambda: self._read(sent, headers))
            prediction, asking = _timed(lambda: self._predicted(data, params))
            (content, line), writing = _timed(lambda: self._written(prediction, rows_of(data), wrapped=wrapped))
            return _Answer(content, line, body, (reading, asking, writing))

        return await self._run(answer, is_small=is_small)

    async def _batched(self, sent: bytes, headers: dict[bytes, bytes], *, wrapped: bool, is_small: bool) -> _Answer:
        """Answer a request whose rows the model may get together with those of others."""
        assert self._batcher is not None
        reads = partial(_timed, lambda: self._read(sent, headers))
        (body, data, params), reading = await self._beside(reads, is_small=is_small)
        part, asking = await self._batcher.ask(data, params)
        writes = partial(_timed, lambda: self._written(part, rows_of(data), wrapped=wrapped))
        (content, line), writing = await self._beside(writes, is_small=is_small)
        return _Answer(content, line, body, (reading, asking, writing))

    async def _ask(self, data: Any, params: dict[str, Any] | None) -> tuple[Any, float]:
        """The model's answer to a batch, and the seconds it took."""
        return await self._run(partial(_timed, lambda: self._predicted(data, params)), is_small=True)

    async def _run(self, work: Callable[[], T], *, is_small: bool) -> T:
        """Do work that involves the model, and remember whether it was slow."""

        def remembered() -> T:
            began = time.perf_counter()
            try:
                return work()
            finally:
                is_slow = time.perf_counter() - began > _QUICK_SECONDS
                self._wary = _WARY_REQUESTS if is_slow else max(0, self._wary - 1)

        if is_small and not self._wary and not self._thread.borrowed_tokens:
            return remembered()
        return await anyio.to_thread.run_sync(remembered, limiter=self._thread)

    async def _beside(self, work: Callable[[], T], *, is_small: bool) -> T:
        """Read or write while the model is busy with others, so that requests can gather for a batch."""
        return work() if is_small else await anyio.to_thread.run_sync(work, limiter=self._second_thread)

    def _read(self, sent: bytes, headers: dict[bytes, bytes]) -> tuple[bytes, Any, dict[str, Any] | None]:
        """The decoded body, and the model's input and params. Raises Unacceptable."""
        require_json(headers.get(b"content-type", b"application/json").decode("latin-1"))
        body = decoded(sent, headers.get(b"content-encoding", b"").decode("latin-1"))
        assert self.model is not None
        with _Uncollected():
            return body, *self.model.read(body)

    def _predicted(self, data: Any, params: dict[str, Any] | None) -> Any:
        """The model's answer in plain values. Nothing that it raises ends the worker: even `sys.exit` only fails this
        request."""
        assert self.model is not None
        try:
            prediction = self.model.predict(data, params)
        except Unacceptable:
            raise
        except BaseException as error:
            raise _Failed(f"the model raised {type(error).__name__}: {_text(error)}") from error
        try:
            with _Uncollected():
                return plain(prediction)
        except BaseException as error:
            raise _unwritten(prediction, error) from error

    def _written(self, answer: Any, requested: int | None, *, wrapped: bool) -> tuple[bytes, str]:
        """The answer as JSON, and its summary for the log."""
        assert self.model is not None
        try:
            with _Uncollected():
                content = dump({"predictions": answer} if wrapped else answer)
                broken = self.model.contract.broken(answer, requested)
                tells = self._capture is None or self._capture.has_summary
                return content, (summary if tells else outline)(answer, broken, requested)
        except BaseException as error:
            raise _unwritten(answer, error) from error


class _Uncollected:
    """Python does not look for circles of objects meanwhile. Nothing that is read or written has any, and with a MiB of
    arrays the search takes ten times as long as the work."""

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()


class _Failed(Exception):
    """The model failed, or its answer cannot be written as JSON."""


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result of the work, and the seconds it took."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def _unwritten(answer: Any, error: BaseException) -> _Failed:
    what = f"an answer of type {type(answer).__name__} cannot be written as JSON"
    return _Failed(f"{what}: {type(error).__name__}: {_text(error)}")


def _named(headers: dict[bytes, bytes]) -> str:
    """The request's ids, which its caller and the gateway's log know."""
    names = {"request": headers.get(b"x-request-id"), "traceparent": headers.get(b"traceparent")}
    return " ".join(f"{name}={value[:64].decode('latin-1')!r}" for name, value in names.items() if value) or "a request"


def _text(error: BaseException) -> str:
    """An exception's text; empty if it fails to give one."""
    try:
        return str(error)[:200]
    except Exception:  # noqa: BLE001 - this runs the model's own code
        return ""


class PredictionLane:
    """The middleware: sends predictions to the lane, everything else to BentoML."""

    def __init__(self, app: Asgi, lane: Lane) -> None:
        self._app = app
        self._lane = lane

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        wrapped = _WRAPPED.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if wrapped is None:
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return
        status, content, headers = await self._lane.reply(body, dict(scope["headers"]), wrapped=wrapped)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _whole(receive: Receive) -> bytes | None:
    """The request's body; None if the client disconnected."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return None if message["type"] == "http.disconnect" else b"".join(parts)
