"""Reading requests for a model that takes arrays, and for one without a signature."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluicegate.services.bento.predictor.params import Params
from sluicegate.services.bento.predictor.problem import Unacceptable
from sluicegate.services.bento.predictor.tensors import Tensors, TensorSpec, Untyped

MATRIX = Tensors([TensorSpec(name=None, dtype="float64", shape=(-1, 2))], Params())
NAMED = Tensors(
    [TensorSpec(name="image", dtype="float32", shape=(-1, 2, 2)), TensorSpec(name="id", dtype="int64", shape=(-1,))],
    Params(),
)
UNTYPED = Untyped(Params())


def read(reader: Tensors | Untyped, document: Any) -> Any:
    return reader.read(json.dumps(document).encode())[0]


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [[1, 2.5], [3, 4]]},
        {"instances": [[1, 2.5], [3, 4]]},
        {"dataframe_split": {"data": [[1, 2.5], [3, 4]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [3, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 2.5}, {"a": 3, "b": 4}]},
    ],
)
def test_one_array(document: Any) -> None:
    found = read(MATRIX, document)
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0, 2.5], [3.0, 4.0]]


def test_null_is_not_a_number() -> None:
    assert np.isnan(read(MATRIX, {"inputs": [[None, 1]]})[0, 0])


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"inputs": [1, 2]}, "shape [2] where [-1, 2] belongs"),
        ({"inputs": [[1, 2, 3]]}, "shape [1, 3] where [-1, 2] belongs"),
        ({"inputs": [[1], [1, 2]]}, "not an array"),
        ({"inputs": [["a", "b"]]}, "values of type"),
        ({"inputs": [[True, False]]}, "values of type bool"),
        ({"inputs": []}, "no values"),
        ({"inputs": {}}, "values of type"),
        ({"inputs": None}, "shape"),
        ({"inputs": "AA"}, "values of type"),
    ],
)
def test_a_wrong_array_is_refused(document: Any, what: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(MATRIX, document)
    assert what in refused.value.problems[0].what


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": {"image": [[[1, 2], [3, 4]]], "id": [7]}},
        {"instances": [{"image": [[1, 2], [3, 4]], "id": 7}]},
        {"instances": [{"id": 7, "image": [[1, 2], [3, 4]]}]},
    ],
)
def test_named_arrays(document: Any) -> None:
    found = read(NAMED, document)
    assert found["image"].dtype == np.float32
    assert found["image"].tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert found["id"].tolist() == [7]


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"inputs": {"image": [[[1, 2], [3, 4]]]}}, "inputs.id"),
        ({"inputs": {"image": [[[1, 2], [3, 4]]], "id": [7], "ids": [7]}}, "inputs.ids"),
        ({"inputs": {"image": [[[1, 2], [3, 4]]], "id": [7.5]}}, "inputs.id"),
        ({"inputs": [[1, 2]]}, "inputs"),
    ],
)
def test_wrong_named_arrays_are_refused(document: Any, where: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(NAMED, document)
    assert refused.value.problems[0].where == where


def test_without_a_signature_tables_become_frames() -> None:
    for document in (
        {"inputs": [{"a": 1, "b": "x"}]},
        {"inputs": {"a": [1], "b": ["x"]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"]]}},
        {"dataframe_records": [{"a": 1, "b": "x"}]},
    ):
        found = read(UNTYPED, document)
        assert isinstance(found, pd.DataFrame)
        assert found.to_dict("records") == [{"a": 1, "b": "x"}]


def test_without_a_signature_lists_become_arrays() -> None:
    assert read(UNTYPED, {"inputs": [[1, 2]]}).tolist() == [[1, 2]]
    assert read(UNTYPED, {"instances": [1, 2]}).tolist() == [1, 2]


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [[1], [1, 2]]},
        {"inputs": {"a": [1], "b": [1, 2]}},
        {"dataframe_records": "x"},
        {"dataframe_records": 3},
        {"dataframe_records": [1, {"a": 1}]},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
    ],
)
def test_without_a_signature_what_is_no_table_is_refused(document: Any) -> None:
    with pytest.raises(Unacceptable):
        read(UNTYPED, document)
