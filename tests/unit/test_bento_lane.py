"""The request path of a service: what the caller gets, what the log is told, and what is written down."""

from __future__ import annotations

import asyncio
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
