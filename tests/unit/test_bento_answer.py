"""What callers get and what the log gets of a prediction."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

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
    "columns of values": (
        {"label": np.array(["a", "b"]), "score": [0.5, 1.0]},
        ["label", "score"],
        [["a", 0.5], ["b", 1.0]],
    ),
    "a time": ([datetime(2026, 1, 1)], ["prediction"], [["2026-01-01T00:00:00"]]),
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
        ([{"a": [1, 2]}], 1),
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
        (pd.DataFrame({"a": pd.array([1, None], "Int64")}), '[{"a":1},{"a":null}]'),
        (pd.DataFrame({"a": pd.array(["x", None], "string")}), '[{"a":"x"},{"a":null}]'),
        (pd.DataFrame({"a": [pd.NaT, pd.Timestamp("2026-01-31")]}), '[{"a":null},{"a":"2026-01-31T00:00:00"}]'),
        (pd.DataFrame({"a": pd.Categorical(["x", "y"])}), '[{"a":"x"},{"a":"y"}]'),
        (pd.Series([pd.NA, 1], dtype="Int64", name="a"), '[{"a":null},{"a":1}]'),
        (pd.DataFrame({"a": [np.array([1, 2])]}), '[{"a":[1,2]}]'),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), '[{"a":0},{"a":1}]'),
        (pd.Timestamp("2026-01-31T12:00:00.123456789"), '"2026-01-31T12:00:00.123456789"'),
        ({"label": np.array(["a"]), "score": np.array([0.5], "float32")}, '{"label":["a"],"score":[0.5]}'),
        ({2: np.int64(2), None: np.float32(0.5), True: (1, 2)}, '{"2":2,"null":0.5,"true":[1,2]}'),
        (
            [np.bool_(True), np.float16(0.5), Decimal("1.10"), date(2026, 1, 31), None],
            '[true,0.5,"1.10","2026-01-31",null]',
        ),
        (np.array(["2026-01-31T12:00:00", "NaT"], "datetime64[ns]"), '["2026-01-31T12:00:00",null]'),
        (np.array([b"\xfb\xff"], object), '["+/8="]'),
        (np.array([b"\xfb\xff"]), '["+/8="]'),
        (csr_matrix([[0, 1]]), "[[0,1]]"),
        ([{"a": {"b": (np.array([1.5]), pd.NA)}}], '[{"a":{"b":[[1.5],null]}}]'),
        ("text out", '"text out"'),
        (np.float64("nan"), "null"),
        (None, "null"),
        ([{"a": np.array([1, 2])}], '[{"a":[1,2]}]'),
        ([b"\x00\x01"], '["AAE="]'),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), '[{"a":1,"b":"x"},{"a":2,"b":null}]'),
    ],
)
def test_the_answer_is_json(prediction: Any, text: str) -> None:
    assert dump(plain(prediction)).decode() == text
    assert summary(plain(prediction)).isascii()


def test_two_columns_of_one_name_are_both_counted() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert json.loads(summary(plain(frame)))  # what is lost in the answer is lost here too; neither raises
