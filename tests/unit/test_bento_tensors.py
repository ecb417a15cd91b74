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
        ({"inputs": [1, 2]}, "expected the shape [-1, 2], got [2]"),
        ({"inputs": [[1, 2, 3]]}, "expected the shape [-1, 2], got [1, 3]"),
        ({"inputs": [[1], [1, 2]]}, "not an array"),
        ({"inputs": [["a", "b"]]}, "expected a number, got a string"),
        ({"inputs": [[True, False]]}, "expected a number, got a boolean"),
        ({"inputs": [[1.5, True]]}, "expected a number, got a boolean"),
        ({"inputs": []}, "no values"),
        ({"inputs": {}}, "got []"),
        ({"inputs": None}, "shape"),
        ({"inputs": "AA"}, "got []"),
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
        ({"inputs": {"image": [[[1, 2], [3, 4]]], "id": [7.5]}}, "inputs.id[0]"),
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
        {"inputs": {"a": [1], "b": [[1], [1, 2]]}},
        {"inputs": None},
        {"dataframe_records": "x"},
        {"dataframe_records": 3},
        {"dataframe_records": [1, {"a": 1}]},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
    ],
)
def test_without_a_signature_what_is_no_table_is_refused(document: Any) -> None:
    with pytest.raises(Unacceptable):
        read(UNTYPED, document)


def test_without_a_signature_what_is_no_table_is_arrays_by_name() -> None:
    arrays = read(UNTYPED, {"inputs": {"a": [1], "b": [[1, 2], [3, 4]], "c": "x"}})
    assert {name: array.shape for name, array in arrays.items()} == {"a": (1,), "b": (2, 2), "c": ()}


EDGES: dict[str, tuple[str, str]] = {
    "uint8": ("0", "255"),
    "int8": ("-128", "127"),
    "uint16": ("0", "65535"),
    "int32": ("-2147483648", "2147483647"),
    "uint32": ("0", "4294967295"),
    "int64": ("-9223372036854775808", "9223372036854775807"),
    "uint64": ("0", "18446744073709551615"),
}


@pytest.mark.parametrize("dtype", EDGES)
@pytest.mark.parametrize(
    "form", ['{"inputs": [%s, 1]}', '{"dataframe_split": {"columns": ["a"], "data": [[%s], [1]]}}']
)
def test_whole_numbers_go_to_the_ends_of_their_type_and_not_beyond(dtype: str, form: str) -> None:
    is_flat = form.startswith('{"inputs"')
    reader = Tensors([TensorSpec(name=None, dtype=dtype, shape=(-1,) if is_flat else (-1, 1))], Params())
    for edge, step in zip(EDGES[dtype], (-1, 1), strict=True):
        array, _ = reader.read((form % edge).encode())
        assert (str(array.dtype), int(array.ravel()[0])) == (dtype, int(edge))
        beyond = str(int(edge) + step)
        with pytest.raises(Unacceptable) as refused:
            reader.read((form % beyond).encode())
        [problem] = refused.value.problems
        assert problem.where.endswith("[0]" if is_flat else "[0][0]")
        assert beyond in problem.what
        assert f"outside {EDGES[dtype][0]} to {EDGES[dtype][1]}" in problem.what


@pytest.mark.parametrize(
    ("dtype", "text", "what"),
    [
        ("uint8", "300.0", "outside 0 to 255"),
        ("uint8", "1.5", "not whole"),
        ("uint8", "null", "expected a whole number, got null"),
        ("uint8", "true", "got a boolean"),
        ("int64", "9007199254740993.0", "without a decimal point"),
        ("float16", "65520", "beyond"),
        ("float32", "3.5e38", "beyond"),
        ("float32", "-1e39", "beyond"),
        ("float64", "1e400", "1e400 is larger"),
        ("float32", "1e400", "1e400 is larger"),
        ("float64", "9007199254740993", "the nearest double is 9007199254740992"),
        ("bool", "1", "expected true or false"),
        ("datetime64[ns]", '"9999-01-01"', "outside 1677"),
    ],
)
def test_what_an_array_cannot_hold_is_refused(dtype: str, text: str, what: str) -> None:
    reader = Tensors([TensorSpec(name=None, dtype=dtype, shape=(-1,))], Params())
    with pytest.raises(Unacceptable) as refused:
        reader.read(f'{{"inputs": [{text}]}}'.encode())
    assert what in refused.value.problems[0].what
    assert refused.value.problems[0].where == "inputs[0]"


@pytest.mark.parametrize("text", ["Infinity", "-Infinity", "NaN", "9007199254740994", "1e300"])
def test_a_double_array_holds_what_is_written(text: str) -> None:
    reader = Tensors([TensorSpec(name=None, dtype="float64", shape=(-1,))], Params())
    array, _ = reader.read(f'{{"inputs": [{text}]}}'.encode())
    assert array[0] == json.loads(text) or np.isnan(array[0])


def test_images_are_arrays_of_bytes() -> None:
    reader = Tensors([TensorSpec(name=None, dtype="uint8", shape=(-1, 2, 2, 3))], Params())
    image = np.arange(12, dtype="uint8").reshape(1, 2, 2, 3)
    assert (read(reader, {"inputs": image.tolist()}) == image).all()
    bad = image.astype(int)
    bad[0, 1, 0, 2] = 256
    with pytest.raises(Unacceptable) as refused:
        read(reader, {"inputs": bad.tolist()})
    assert refused.value.problems[0].where == "inputs[0][1][0][2]"
