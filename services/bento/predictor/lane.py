"""The request path: `POST /predict` and `POST /invocations`, answered by an ASGI middleware of the BentoML service.

BentoML's own way from the socket to a method and back costs several times what a small model does. This one keeps
what matters, the timeout, the draining and one prediction at a time in each worker, and leaves out the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from .answer import dump, outline, plain, summary
from .capture import Capture
from .media import decoded, require_json
from .model import Model, rows_of
from .problem import Unacceptable

log = logging.getLogger("bentoml.predictor")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, bytes, Headers]

_WRAPPED = {"/predict": False, "/invocations": True}
_QUICK_SECONDS = 0.01
_QUICK_BYTES = 16 << 10
_WARY_REQUESTS = 50


class _Outcome(NamedTuple):
    """What one request comes to."""

    status: int
    content: bytes
    summary: Headers
    body: bytes
    """The request's, as it was read."""


class Lane:
    """What answers: the model, once it is loaded, and how quick it has been of late.

    A model that answers within milliseconds is asked in the event loop: a thread and back would cost as much again.
    One that has just been slow, or a large request, gets a thread, so that the loop can tell that it is alive.
    """

    def __init__(self, build: str, capture: Capture | None = None) -> None:
        self.model: Model | None = None
        self._capture = capture
        self._headers = [(b"content-type", b"application/json"), (b"x-sluice-build", build.encode())]
        self._wary = _WARY_REQUESTS
        self._thread = anyio.CapacityLimiter(1)

    async def reply(self, body: bytes, headers: dict[bytes, bytes], *, wrapped: bool) -> Reply:
        """Status, body and headers of the answer."""
        answer = partial(self._answer, body, headers, wrapped=wrapped)
        is_small = len(body) <= _QUICK_BYTES and b"content-encoding" not in headers
        if self._wary or not is_small or self._thread.borrowed_tokens:
            outcome = await anyio.to_thread.run_sync(answer, limiter=self._thread)
        else:
            outcome = answer()
        status, content, summary_header, read = outcome
        own = [*self._headers, (b"content-length", str(len(content)).encode()), *summary_header]
        if request_id := headers.get(b"x-request-id"):
            own.append((b"x-request-id", request_id))
            if self._capture is not None and status == HTTPStatus.OK:
                self._capture.take(request_id.decode("latin-1"), read, content, headers)
        return status, content, own

    def _answer(self, sent: bytes, headers: dict[bytes, bytes], *, wrapped: bool) -> _Outcome:
        began = time.perf_counter()
        body = sent
        try:
            require_json(headers.get(b"content-type", b"application/json").decode("latin-1"))
            body = decoded(sent, headers.get(b"content-encoding", b"").decode("latin-1"))
            assert self.model is not None, "the server takes requests after the service has started"
            data, params = self.model.read(body)
            prediction = self._predicted(self.model, data, params)
            return _Outcome(200, *self._written(self.model, prediction, rows_of(data), wrapped=wrapped), body)
        except Unacceptable as error:
            problems = [problem.as_json() for problem in error.problems]
            return _Outcome(error.status, dump({"error": str(error), "problems": problems}), [], body)
        except _Failed as error:
            log.error("%s: %s", _named(headers), error)
            return _Outcome(500, dump({"error": str(error)}), [], body)
        finally:
            is_slow = time.perf_counter() - began > _QUICK_SECONDS
            self._wary = _WARY_REQUESTS if is_slow else max(0, self._wary - 1)

    def _predicted(self, model: Model, data: Any, params: dict[str, Any] | None) -> Any:
        """What the model answers. Nothing that it raises ends the worker: `sys.exit` ends this request alone."""
        try:
            return model.predict(data, params)
        except Unacceptable:
            raise
        except BaseException as error:
            log.exception("the model failed")
            raise _Failed(f"the model raised {type(error).__name__}: {_text(error)}") from None

    def _written(self, model: Model, prediction: Any, requested: int | None, *, wrapped: bool) -> tuple[bytes, Headers]:
        """The answer as it is sent, and what the log is told of it."""
        try:
            answer = plain(prediction)
            content = dump({"predictions": answer} if wrapped else answer)
            broken = model.contract.broken(answer, requested)
            tells = self._capture is None or self._capture.has_summary
            line = (summary if tells else outline)(answer, broken, requested)
        except BaseException as error:
            log.exception("the model's answer cannot be written")
            what = f"an answer of type {type(prediction).__name__} cannot be written as JSON"
            raise _Failed(f"{what}: {type(error).__name__}: {_text(error)}") from None
        return content, [(b"x-sluice-prediction", line.encode())]


class _Failed(Exception):
    """The model did not answer, or not with what can be sent."""


def _named(headers: dict[bytes, bytes]) -> str:
    """A request as its caller and the gateway's log know it."""
    names = {"request": headers.get(b"x-request-id"), "traceparent": headers.get(b"traceparent")}
    return " ".join(f"{name}={value[:64].decode('latin-1')!r}" for name, value in names.items() if value) or "a request"


def _text(error: BaseException) -> str:
    """What an exception says; one that cannot say it says nothing."""
    try:
        return str(error)[:200]
    except Exception:  # noqa: BLE001 - it is the model's own code that runs here
        return ""


class PredictionLane:
    """The middleware: predictions go down the lane, everything else to BentoML."""

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
    """The request's body; None when the client left."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return None if message["type"] == "http.disconnect" else b"".join(parts)
