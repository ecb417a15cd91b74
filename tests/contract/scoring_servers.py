"""One model behind two servers in this process, ours and MLflow's own: one HTTP request, and what each made of it."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import Model as Metadata
from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel, scoring_server

from sluicegate.services.bento.predictor.contract import Contract
from sluicegate.services.bento.predictor.lane import Asgi, Lane, Message, PredictionLane
from sluicegate.services.bento.predictor.model import Model, Signature, reader

LOADER = "mlflow.pyfunc.model"


@dataclass(frozen=True)
class Reply:
    """What a server answered, and what its model was given; nothing where it was not asked."""

    status: int
    answer: Any
    given: Any = None


@dataclass
class Recorder:
    """A model that notes what it is given, and answers with one value."""

    answer: Any = 0
    given: list[Any] = field(default_factory=list)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        self.given.append([told(model_input), told(params or None)])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Servers:
    """Ours and MLflow's, before the same model."""

    def __init__(self, ours: Model, theirs: PyFuncModel, recorder: Recorder | None = None) -> None:
        self._recorder = recorder or Recorder()
        lane = Lane("conformance/1")
        lane.model = ours
        self._ours: Asgi = PredictionLane(_nothing_else, lane)
        self._theirs: Asgi = scoring_server.init(theirs)

    @classmethod
    def of_signature(cls, signature: ModelSignature | None, answer: Any = 0) -> Servers:
        recorder = Recorder(answer)
        flavors = {"python_function": {"loader_module": LOADER}}
        metadata = Metadata(signature=signature, flavors=flavors)
        description = Signature.from_mlmodel(metadata.to_dict())
        ours = Model(
            reader(description), lambda data, params: recorder.predict(data, params), Contract(description.outputs)
        )
        return cls(ours, PyFuncModel(model_meta=metadata, model_impl=recorder), recorder)

    def ask(self, body: bytes, content_type: str | None = "application/json") -> tuple[Reply, Reply]:
        """Our reply and MLflow's."""
        return self._reply(self._ours, body, content_type), self._reply(self._theirs, body, content_type)

    def _reply(self, app: Asgi, body: bytes, content_type: str | None) -> Reply:
        self._recorder.given.clear()
        status, content = _LOOP.run(_post(app, body, content_type))
        try:
            answer = json.loads(content)
        except ValueError:
            answer = content.decode(errors="replace")
        return Reply(status, answer, *self._recorder.given[:1])


_LOOP = asyncio.Runner()


async def _post(app: Asgi, body: bytes, content_type: str | None) -> tuple[int, bytes]:
    """One HTTP request without a socket. What the app does not catch is a 500, as its server has it."""
    headers = [(b"host", b"model"), (b"content-length", str(len(body)).encode())]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode()))
    scope: Message = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/invocations", "raw_path": b"/invocations", "root_path": "", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("model", 80),
    }  # fmt: skip
    inbox: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if inbox:
            return inbox.pop()
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits that long")

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception:
        return 500, b""
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def _nothing_else(*_: Any) -> None:
    raise AssertionError("the lane answers /invocations")


def told(value: Any) -> Any:
    """What a model was given, in values that compare exactly: 1 and 1.0, NaN and None, a list and an array differ."""
    match value:
        case pd.DataFrame():
            columns = {str(name): told(value.iloc[:, place]) for place, name in enumerate(value.columns)}
            return {"frame": columns, "index": [str(label) for label in value.index]}
        case pd.Series():
            return {"column": _kind(value.dtype), "cells": [told(cell) for cell in value.tolist()]}
        case np.ndarray():
            cells = list(value.ravel()) if value.dtype.kind in "mM" else value.ravel().tolist()
            return {"array": _kind(value.dtype), "shape": list(value.shape), "cells": [told(cell) for cell in cells]}
        case dict():
            return {str(name): told(each) for name, each in value.items()}
        case list() | tuple():
            return [told(each) for each in value]
        case np.datetime64():
            return told(pd.Timestamp(value))
        case np.generic():
            return told(value.item())
        case float() if math.isnan(value):
            return "NaN"
        case _:
            return (
                f"{type(value).__name__} {value!r}"
                if not isinstance(value, pd.Timestamp)
                else f"time {value.isoformat()}"
            )


def _kind(dtype: Any) -> str:
    """A dtype; text is text, whatever pandas keeps it in."""
    return "object" if str(dtype) in ("str", "string") or dtype.kind in "OU" else str(dtype)


def lists(value: Any) -> Any:
    """What was told, with arrays as lists."""
    match value:
        case {"array": _, "shape": shape, "cells": cells}:
            return _nested([lists(cell) for cell in cells], shape)
        case dict():
            return {name: lists(each) for name, each in value.items()}
        case list():
            return [lists(each) for each in value]
        case _:
            return value


def _nested(cells: list[Any], shape: list[int]) -> Any:
    if not shape:
        return cells[0]
    size = math.prod(shape[1:])
    return [_nested(cells[start : start + size], shape[1:]) for start in range(0, shape[0] * size, max(size, 1))]


def brief(value: Any) -> str:
    """What was told, as a reader of a table wants it."""
    match value:
        case {"frame": dict() as columns}:
            return "; ".join(f"{name}: {', '.join(map(brief, column['cells']))}" for name, column in columns.items())
        case {"array": _, "cells": _}:
            return f"array({brief(lists(value))})"
        case dict():
            return "{" + ", ".join(f"{name}: {brief(each)}" for name, each in value.items()) + "}"
        case list():
            return f"[{', '.join(map(brief, value))}]"
        case _:
            return value.partition(" ")[2] or value
