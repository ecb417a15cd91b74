"""An answer against the signature of its model: what is held against a build, and what is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluicegate.services.bento.predictor.answer import plain, summary
from sluicegate.services.bento.predictor.contract import NOT_A_NUMBER, SHAPE, TYPE, Contract

DOUBLE = [{"type": "double"}]
NAMED = [{"type": "double", "name": "probability"}]
LABEL = [{"type": "long", "name": "late"}]
TABLE = [{"type": "double", "name": "p"}, {"type": "string", "name": "label", "required": False}]
MATRIX = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
VECTOR = [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
HEADS = [
    {"type": "tensor", "name": "a", "tensor-spec": {"dtype": "float32", "shape": [-1]}},
    {"type": "tensor", "name": "b", "tensor-spec": {"dtype": "str", "shape": [-1]}},
]

KEPT: dict[str, tuple[Any, Any]] = {
    "a vector": (DOUBLE, np.array([0.5, 1.0])),
    "whole numbers where real ones are promised": (DOUBLE, np.array([0, 1])),
    "a named column without its name": (NAMED, np.array([0.5, 0.25])),
    "a named column with its name": (NAMED, pd.DataFrame({"probability": [0.5, 0.1]})),
    "a column under another name": (NAMED, pd.DataFrame({"0": [0.5, 0.1]})),
    "labels": (LABEL, np.array([0, 1])),
    "labels as real numbers": (LABEL, np.array([0.0, 1.0])),
    "a frame": (TABLE, pd.DataFrame({"p": [0.5, 0.5], "label": ["x", "y"]})),
    "columns in another order": (TABLE, pd.DataFrame({"label": ["x", "y"], "p": [0.5, 0.5]})),
    "an optional value that is missing": (TABLE, [{"p": 0.5, "label": None}, {"p": 0.5, "label": "x"}]),
    "rows in the order of the columns": (TABLE, [[0.5, "x"], [0.1, "y"]]),
    "a matrix": (MATRIX, np.array([[0.25, 0.75], [0.5, 0.5]])),
    "whole positions": (VECTOR, np.array([3, 4])),
    "two heads": (HEADS, {"a": [0.5, 0.5], "b": ["x", "y"]}),
    "no signature": (None, np.array([0.5, 0.5])),
    "no signature, other rows": (None, ["anything"]),
}
BROKEN: dict[str, tuple[Any, Any, str]] = {
    "NaN": (DOUBLE, np.array([0.5, np.nan]), NOT_A_NUMBER),
    "infinite": (DOUBLE, np.array([0.5, np.inf]), NOT_A_NUMBER),
    "missing": (DOUBLE, [0.5, None], NOT_A_NUMBER),
    "NaN without a signature": (None, np.array([[0.5], [np.nan]]), NOT_A_NUMBER),
    "NaN in a label": (LABEL, [0, float("nan")], NOT_A_NUMBER),
    "NaN in a matrix": (MATRIX, np.array([[0.25, np.nan], [0.5, 0.5]]), NOT_A_NUMBER),
    "text for a number": (DOUBLE, ["a", "b"], TYPE),
    "a truth value for a number": (DOUBLE, [True, False], TYPE),
    "a real number for a label": (LABEL, np.array([0.25, 0.75]), TYPE),
    "a number for a text": (TABLE, [{"p": 0.5, "label": 3}, {"p": 0.5, "label": "x"}], TYPE),
    "text in a matrix": (MATRIX, [["a", "b"], ["a", "b"]], TYPE),
    "too few rows": (DOUBLE, np.array([0.5]), SHAPE),
    "too many rows": (DOUBLE, np.array([0.5] * 3), SHAPE),
    "no rows": (DOUBLE, [], SHAPE),
    "an error for an answer": (TABLE, {"error": "no model"}, SHAPE),
    "a column too few": (TABLE, [{"p": 0.5}, {"p": 0.5}], SHAPE),
    "a column too many": (TABLE, [{"p": 0.5, "label": "x", "q": 1}] * 2, SHAPE),
    "a matrix for a vector": (DOUBLE, np.array([[0.5, 0.5], [0.5, 0.5]]), SHAPE),
    "a vector for a matrix": (MATRIX, np.array([0.5, 0.5]), SHAPE),
    "too wide a matrix": (MATRIX, np.zeros((2, 3)), SHAPE),
    "a head too few": (HEADS, {"a": [0.5, 0.5]}, SHAPE),
    "NaN in a head": (HEADS, {"a": [0.5, float("nan")], "b": ["x", "y"]}, NOT_A_NUMBER),
}


@pytest.mark.parametrize(("outputs", "answer"), KEPT.values(), ids=KEPT)
def test_a_kept_promise(outputs: Any, answer: Any) -> None:
    assert Contract(outputs).broken(plain(answer), 2) is None


@pytest.mark.parametrize(("outputs", "answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise(outputs: Any, answer: Any, reason: str) -> None:
    assert Contract(outputs).broken(plain(answer), 2) == reason


def test_the_first_rows_are_looked_at() -> None:
    late, early = [0.5] * 32 + [None], [0.5] * 31 + [None]
    assert Contract(DOUBLE).broken(late, 33) is None
    assert Contract(DOUBLE).broken(early, 32) == NOT_A_NUMBER


def test_a_request_of_unknown_size_has_no_wrong_number_of_rows() -> None:
    assert Contract(DOUBLE).broken([0.5], None) is None


@pytest.mark.parametrize("answer", [[0.5], ["x" * 3000], [0.5] * 40])
def test_the_summary_tells_of_a_broken_promise_however_long_it_is(answer: list[Any]) -> None:
    assert "x" not in json.loads(summary(answer))
    assert json.loads(summary(answer, SHAPE))["x"] == SHAPE


@pytest.mark.parametrize("rows", [1, 2])
def test_columns_of_values_are_rows(rows: int) -> None:
    promise = Contract([{"name": "label", "type": "string"}, {"name": "score", "type": "double"}])
    assert promise.broken({"label": ["a"] * rows, "score": [0.5] * rows}, rows) is None
    assert promise.broken({"label": ["a"] * rows, "score": [0.5] * rows}, rows + 1) == "shape"
    assert promise.broken({"label": ["a"] * rows, "score": [None] * rows}, rows) == "nan"
