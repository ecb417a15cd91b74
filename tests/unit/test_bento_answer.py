"""What callers get and what the log gets of a prediction."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluicegate.services.bento.predictor.answer import dump, plain, summary

TABLES: dict[str, tuple[Any, list[str], list[list[Any]]]] = {
    "a vector": (np.array([1.5, 2.0]), ["prediction"], [[1.5], [2.0]]),
    "labels": (np.array(["a", "b"]), ["prediction"], [["a"], ["b"]]),
    "a matrix": (np.array([[0.25, 0.75]]), ["0", "1"], [[0.25, 0.75]]),
    "a frame": (pd.DataFrame({"probability": [0.5], "label": ["x"]}), ["probability", "label"], [[0.5, "x"]]),
    "a series": (pd.Series([1, 2], name="delay"), ["delay"], [[1], [2]]),
    "a list": ([1, 2], ["prediction"], [[1], [2]]),
    "records": ([{"p": 0.5}], ["p"], [[0.5]]),
    "one record": ({"p": 0.5}, ["p"], [[0.5]]),
    "one number": (np.float64(0.5), ["prediction"], [[0.5]]),
    "numbers that are none": (np.array([np.nan, np.inf]), ["prediction"], [[None], [None]]),
    "beyond ASCII": (["später"], ["prediction"], [["später"]]),
    "numpy cells in a list": ([np.int64(3)], ["prediction"], [[3]]),
}


@pytest.mark.parametrize(("prediction", "columns", "rows"), TABLES.values(), ids=TABLES)
def test_the_summary_is_the_table(prediction: Any, columns: list[str], rows: list[list[Any]]) -> None:
    text = summary(plain(prediction))
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == {"c": columns, "r": rows}


@pytest.mark.parametrize(
    ("prediction", "rows"),
    [
        (np.zeros(33), 33),
        (["x" * 3000], 1),
        (np.zeros((1, 2, 2)), 1),
        ([{"p": 1}, {"q": 1}], 2),
        ([[1], [1, 2]], 2),
        ([], 0),
        ([datetime(2026, 1, 1)], 1),
    ],
)
def test_what_does_not_fit_is_counted(prediction: Any, rows: int) -> None:
    assert json.loads(summary(plain(prediction))) == {"n": rows, "truncated": True}


def test_thirty_two_rows_fit() -> None:
    assert len(json.loads(summary(plain(np.zeros(32))))["r"]) == 32


@pytest.mark.parametrize(
    ("prediction", "text"),
    [
        (np.array([[0.25, np.nan]]), "[[0.25,null]]"),
        (pd.DataFrame({"p": [0.5], "at": [pd.Timestamp("2026-01-31")]}), '[{"p":0.5,"at":"2026-01-31T00:00:00"}]'),
        (pd.DataFrame({0: [1]}), '[{"0":1}]'),
        ([{"a": np.array([1, 2])}], '[{"a":[1,2]}]'),
        ([b"\x00\x01"], '["AAE="]'),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), '[{"a":1,"b":"x"},{"a":2,"b":null}]'),
    ],
)
def test_the_answer_is_json(prediction: Any, text: str) -> None:
    assert dump(plain(prediction)).decode() == text


def test_two_columns_of_one_name_are_both_counted() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert json.loads(summary(plain(frame)))  # what is lost in the answer is lost here too; neither raises
