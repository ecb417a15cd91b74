"""The request path: `POST /predict` and `POST /invocations`, answered by an ASGI middleware of the BentoML service.

BentoML's own way from the socket to a method and back costs several times what a small model does. This one keeps
what matters, the timeout, the draining and one prediction at a time in each worker, and leaves out the rest.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread

from .answer import dump, outline, summary
from .capture import Capture
from .model import Model
from .problem import Unacceptable, refuse

log = logging.getLogger("bentoml.predictor")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Reply = tuple[int, bytes, list[tuple[bytes, bytes]]]

_WRAPPED = {"/predict": False, "/invocations": True}
_JSON = re.compile(rb"application/(?:[\w.-]+\+)?json\s*(?:;\s*charset=\"?utf-?8\"?\s*)?\Z", re.IGNORECASE)
_QUICK_SECONDS = 0.01
_QUICK_BYTES = 16 << 10
_WARY_REQUESTS = 50


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
        answer = partial(self._answer, body, headers.get(b"content-type", b"application/json"), wrapped=wrapped)
        if self._wary or len(body) > _QUICK_BYTES or self._thread.borrowed_tokens:
            status, content, summary_header = await anyio.to_thread.run_sync(answer, limiter=self._thread)
        else:
            status, content, summary_header = answer()
        own = [*self._headers, (b"content-length", str(len(content)).encode()), *summary_header]
        if request_id := headers.get(b"x-request-id"):
            own.append((b"x-request-id", request_id))
            if self._capture is not None and status == HTTPStatus.OK:
                self._capture.take(request_id.decode("latin-1"), body, content)
        return status, content, own

    def _answer(self, body: bytes, content_type: bytes, *, wrapped: bool) -> Reply:
        began = time.perf_counter()
        try:
            if not _JSON.match(content_type):
                what = f"{content_type.decode('latin-1')} is not read here"
                raise refuse("content-type", what, "Send application/json.", status=415)
            assert self.model is not None, "the server takes requests after the service has started"
            answer, broken = self.model.judged(body)
            tells = self._capture is None or self._capture.has_summary
            summary_header = [(b"x-sluice-prediction", (summary if tells else outline)(answer, broken).encode())]
            return 200, dump({"predictions": answer} if wrapped else answer), summary_header
        except Unacceptable as error:
            problems = [problem.as_json() for problem in error.problems]
            return error.status, dump({"error": str(error), "problems": problems}), []
        except Exception as error:
            log.exception("the model failed")
            return 500, dump({"error": f"the model raised {type(error).__name__}: {str(error)[:200]}"}), []
        finally:
            is_slow = time.perf_counter() - began > _QUICK_SECONDS
            self._wary = _WARY_REQUESTS if is_slow else max(0, self._wary - 1)


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
