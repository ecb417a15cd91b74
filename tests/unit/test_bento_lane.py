"""The request path of a service: what the caller gets, what the log is told, and what is written down."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluicegate.registry.plan.fields import Capture as Asked
from sluicegate.services.bento.body_capture import capture_environment
from sluicegate.services.bento.predictor.capture import Capture
from sluicegate.services.bento.predictor.contract import Contract
from sluicegate.services.bento.predictor.lane import Lane
from sluicegate.services.bento.predictor.model import Model
from sluicegate.services.bento.predictor.params import Params
from sluicegate.services.bento.predictor.tensors import Untyped

BODY = b'{"inputs": [[1.0], [2.0]]}'
HEADERS = {b"content-type": b"application/json", b"x-request-id": b"r1"}


def lane(predict: Any, home: Path | None = None, **asked: Any) -> Lane:
    """The lane of a model without inputs' signature, whose outputs are numbers."""
    environment = capture_environment(Asked.model_validate({"share": "100%"} | asked), home) if home is not None else {}
    made = Lane("delays/2", Capture.from_environment(environment, "delays/2"))
    made.model = Model(Untyped(Params()), lambda data, _: predict(data), Contract([{"type": "double"}]))
    return made


def ask(of: Lane, body: bytes = BODY) -> tuple[int, Any, dict[str, Any]]:
    """Status, answer, and what the log is told."""
    status, content, headers = asyncio.run(of.reply(body, HEADERS, wrapped=False))
    told = dict(headers).get(b"x-sluice-prediction")
    return status, json.loads(content), json.loads(told) if told else {}


def written(home: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for path in home.glob("bodies/*") for text in path.read_text().splitlines()]


def test_a_good_answer_is_told_as_it_is() -> None:
    status, answer, told = ask(lane(lambda data: np.ones(len(data))))
    assert (status, answer) == (200, [1.0, 1.0])
    assert told == {"c": ["prediction"], "r": [[1.0], [1.0]]}


def test_nobody_looks_for_circles_of_objects_while_many_rows_are_read_and_written() -> None:
    rows = [[1.0]] * 50_000
    body, searches = json.dumps({"inputs": rows}).encode(), 0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal searches
        searches += phase == "start"

    def predict(data: Any) -> Any:
        assert gc.isenabled(), "the model goes on as ever"
        return data * 1.0

    made = lane(predict)
    asyncio.run(made.reply(BODY, HEADERS, wrapped=False))  # late imports
    gc.collect()
    gc.callbacks.append(note)
    try:
        status, _, _ = asyncio.run(made.reply(body, HEADERS, wrapped=False))
    finally:
        gc.callbacks.remove(note)
    assert (status, gc.isenabled()) == (200, True)
    assert searches < 10, "more than a hundred otherwise"
    assert asyncio.run(made.reply(b"nonsense", HEADERS, wrapped=False))[0] == 400
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("predict", "how"),
    [
        (lambda data: np.full(len(data), np.nan), "nan"),
        (lambda data: ["high"] * len(data), "type"),
        (lambda _: [1.0], "shape"),
    ],
)
def test_an_answer_that_breaks_the_signature_is_given_and_told(predict: Any, how: str) -> None:
    status, _, told = ask(lane(predict))
    assert status == 200
    assert told["x"] == how


def test_without_a_wish_nothing_is_written(tmp_path: Path) -> None:
    ask(lane(lambda data: np.ones(len(data)), tmp_path, predictions="summary"))
    assert written(tmp_path) == []


def test_bodies_of_answers_are_written_and_of_failures_not(tmp_path: Path) -> None:
    made = lane(lambda data: np.ones(len(data)), tmp_path, features="full", predictions="full")
    ask(made)
    ask(made, b"nonsense")
    [line] = written(tmp_path)
    assert (line["rid"], line["build"]) == ("r1", "delays/2")
    assert (line["features"], line["predictions"]) == (json.loads(BODY), [1.0, 1.0])


def test_predictions_that_shall_not_be_kept_are_not_told_but_broken_promises_are(tmp_path: Path) -> None:
    _, answer, told = ask(lane(lambda data: np.ones(len(data)), tmp_path, predictions="off"))
    assert answer == [1.0, 1.0]
    assert told == {"n": 2, "truncated": True}
    _, _, told = ask(lane(lambda data: np.full(len(data), np.nan), tmp_path, predictions="off"))
    assert told == {"n": 2, "truncated": True, "x": "nan"}
    assert written(tmp_path) == []


def raising(error: BaseException) -> Any:
    def predict(_: Any) -> Any:
        raise error

    return predict


@pytest.mark.parametrize("times", [1, 60])
@pytest.mark.parametrize(
    "error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), ValueError("x")]
)
def test_nothing_that_a_model_raises_ends_more_than_its_request(error: BaseException, times: int) -> None:
    made = lane(raising(error))
    for _ in range(times):  # in a thread at first, in the event loop when it has been quick for a while
        status, answer, _ = ask(made)
        assert status == 500
        assert answer["error"].startswith(f"the model raised {type(error).__name__}")
    made.model = lane(lambda data: np.ones(len(data))).model
    assert ask(made)[0] == 200


def test_a_failed_request_is_named_in_the_log_as_its_caller_and_the_gateway_know_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {b"x-request-id": b"r-1", b"traceparent": trace.encode()}
    asyncio.run(lane(raising(ValueError("odd"))).reply(BODY, sent, wrapped=False))
    assert f"request='r-1' traceparent='{trace}': the model raised ValueError: odd" in caplog.text


class _Broken:
    def read(self, body: bytes) -> Any:
        raise TypeError("int() argument must not be None")


def test_what_fails_before_the_model_is_called_is_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    made = lane(raising(AssertionError("never called")))
    made.model = Model(_Broken(), lambda data, _: data, Contract(None))
    status, answer, _ = ask(made)
    assert status == 400
    assert "cannot be read: TypeError" in answer["error"]
    assert "could not be read" in caplog.text


def test_an_answer_that_cannot_be_written_is_told_apart_from_a_model_that_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless: list[Any] = []
    endless.append(endless)
    status, answer, _ = ask(lane(lambda _: endless))
    assert status == 500
    assert answer["error"].startswith("an answer of type list cannot be written")
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("depth", [300, 100_000])
def test_json_that_is_nested_too_deeply_is_the_callers_mistake(depth: int) -> None:
    status, _, _ = ask(lane(lambda data: np.ones(len(data))), b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}")
    assert status == 400


def sent(made: Lane, body: bytes, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    status, content, _ = asyncio.run(made.reply(body, named, wrapped=False))
    return status, json.loads(content)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; odata.metadata=minimal", 200),
        ("application/json;charset=UTF-8; odata.metadata=none", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/vnd.acme+json", 200),
        ("application/json; charset=latin-1", 415),
        ("text/csv", 415),
        ("application/jsonp", 415),
    ],
)
def test_media_types(content_type: str, status: int) -> None:
    assert sent(lane(lambda data: np.ones(len(data))), BODY, content_type=content_type)[0] == status


def test_a_gzip_body_is_read_and_written_down_as_it_was_read(tmp_path: Path) -> None:
    made = lane(lambda data: np.ones(len(data)), tmp_path, features="full")
    halves = gzip.compress(BODY[:5]) + gzip.compress(BODY[5:])
    for packed in (gzip.compress(BODY), halves):
        assert sent(made, packed, content_encoding="gzip", x_request_id="r1") == (200, [1.0, 1.0])
    assert [line["features"] for line in written(tmp_path)] == [json.loads(BODY)] * 2


@pytest.mark.parametrize(
    ("body", "encoding", "status", "what"),
    [
        (gzip.compress(BODY, mtime=0)[:-9], "gzip", 400, "stream is incomplete"),
        (BODY, "gzip", 400, "not in the gzip format"),
        (gzip.compress(b" " * (17 << 20), mtime=0), "gzip", 413, "larger than"),
        (gzip.compress(b" " * (9 << 20), mtime=0) * 2, "x-gzip", 413, "larger than"),
        (BODY, "br", 415, "'br'"),
        (BODY, "gzip, br", 415, "'gzip, br'"),
    ],
)
def test_what_is_packed_otherwise_is_refused_with_its_reason(
    body: bytes, encoding: str, status: int, what: str
) -> None:
    answered, answer = sent(lane(lambda data: np.ones(len(data))), body, content_encoding=encoding)
    assert answered == status
    assert what in answer["error"]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_byte_order_mark_is_passed_over(encoding: str) -> None:
    body = b"\xef\xbb\xbf" + BODY
    packed = gzip.compress(body) if encoding == "gzip" else body
    assert sent(lane(lambda data: np.ones(len(data))), packed, content_encoding=encoding) == (200, [1.0, 1.0])


def test_what_no_caller_sent_is_answered_and_not_written_down(tmp_path: Path) -> None:
    answering = lane(lambda data: np.ones(len(data)), tmp_path, features="full")
    generated = HEADERS | {b"x-sluice-generated": b"1", b"x-request-id": b"r2"}
    for headers in (generated, HEADERS):
        assert asyncio.run(answering.reply(BODY, headers, wrapped=False))[0] == 200
    assert [each["rid"] for each in written(tmp_path)] == ["r1"]
