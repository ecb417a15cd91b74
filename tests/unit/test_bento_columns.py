"""Reading requests for a model with named columns: what is taken, and how what is not is told."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import pytest

from sluicegate.services.bento.predictor.columns import Columns, ColumnSpec
from sluicegate.services.bento.predictor.params import Params
from sluicegate.services.bento.predictor.problem import Unacceptable

ROW = {"carrier": "AA", "distance": 10.5, "hour": 3}


@pytest.fixture(scope="module")
def columns() -> Columns:
    return Columns(
        [
            ColumnSpec(name="carrier", scalar="string"),
            ColumnSpec(name="distance", scalar="double"),
            ColumnSpec(name="hour", scalar="long"),
            ColumnSpec(name="gate", scalar="double", required=False),
        ],
        Params(),
    )


def read(columns: Columns, document: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return columns.read(body)[0]


ACCEPTED = {
    "records as inputs": {"inputs": [ROW]},
    "records as instances": {"instances": [ROW]},
    "dataframe_records": {"dataframe_records": [ROW]},
    "keys in another order": {"inputs": [dict(reversed(ROW.items()))]},
    "lists of columns": {"inputs": {key: [value] for key, value in ROW.items()}},
    "one row as an object": {"inputs": ROW},
    "dataframe_split": {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}},
    "dataframe_split, other order": {
        "dataframe_split": {"columns": ["hour", "carrier", "distance"], "data": [[3, "AA", 10.5]]}
    },
    "dataframe_split with an index": {
        "dataframe_split": {"columns": list(ROW), "index": [0], "data": [list(ROW.values())]}
    },
    "a whole number written as float": {"inputs": [ROW | {"hour": 3.0}]},
    "null params": {"inputs": [ROW], "params": None},
}


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED)
def test_every_form_becomes_the_same_frame(columns: Columns, document: Any) -> None:
    frame = read(columns, document)
    assert list(frame.columns) == ["carrier", "distance", "hour"]
    assert frame.to_dict("records") == [ROW]
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "float64", "int64"]


def test_an_optional_column_is_there_when_a_row_has_it(columns: Columns) -> None:
    frame = read(columns, {"inputs": [ROW, ROW | {"gate": 2}]})
    assert list(frame.columns) == ["carrier", "distance", "hour", "gate"]
    assert math.isnan(frame["gate"][0])
    assert frame["gate"][1] == 2.0


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 7, -0.0, 2**53 + 2])
def test_a_double_takes_what_mlflow_takes(columns: Columns, value: Any) -> None:
    found = read(columns, {"inputs": [ROW | {"distance": value}]})["distance"][0]
    assert found == pytest.approx(float("nan") if value is None else float(value), nan_ok=True)


def test_a_missing_string_stays_missing(columns: Columns) -> None:
    assert read(columns, {"inputs": [ROW | {"carrier": None}]})["carrier"].isna().tolist() == [True]


REFUSED: dict[str, tuple[Any, str, str]] = {
    "not JSON": (b"{nope", "body", "not JSON"),
    "nothing": (b"", "body", "not JSON"),
    "bytes that are not text": (b'{"inputs": "\xff\xfe"}', "body", "not JSON"),
    "JSON cut short": (b'{"inputs": [{"carrier": "AA"', "body", "not JSON"),
    "a list": ([ROW], "body", "expected an object, got a list"),
    "null": (None, "body", "expected an object, got null"),
    "no format": ({}, "body", "exactly one of"),
    "two formats": ({"inputs": [ROW], "instances": [ROW]}, "body", "exactly one of"),
    "a misspelt format": ({"input": [ROW]}, "input", "unknown key"),
    "no rows": ({"inputs": []}, "inputs", "no rows"),
    "no rows in an object": ({"inputs": {}}, "inputs", "no rows"),
    "no rows in columns": ({"inputs": {"carrier": [], "distance": [], "hour": []}}, "body", "no rows"),
    "rows that are no objects": ({"inputs": [1, 2]}, "inputs", "not a list of rows"),
    "rows of two kinds": ({"inputs": [ROW, 2]}, "inputs", "not a list of rows"),
    "inputs as a string": ({"inputs": "AA"}, "inputs", "expected rows, got a string"),
    "a missing column": ({"inputs": [{"carrier": "AA", "hour": 3}]}, "inputs[0].distance", "missing column"),
    "a missing column in a later row": (
        {"inputs": [ROW, {"carrier": "AA", "hour": 3}]},
        "inputs[1].distance",
        "missing column",
    ),
    "an unknown column": ({"inputs": [ROW | {"distanze": 1}]}, "inputs[0].distanze", "unknown column"),
    "a string for a number": (
        {"inputs": [ROW | {"distance": "10"}]},
        "inputs[0].distance",
        "expected a number, got a string",
    ),
    "a truth value for a number": (
        {"inputs": [ROW | {"distance": True}]},
        "inputs[0].distance",
        "expected a number, got a boolean",
    ),
    "a number for a string": (
        {"inputs": [ROW | {"carrier": 1}]},
        "inputs[0].carrier",
        "expected a string, got a number",
    ),
    "a fraction for a whole number": (
        {"inputs": [ROW | {"hour": 3.5}]},
        "inputs[0].hour",
        "expected a whole number",
    ),
    "null for a whole number": (
        {"inputs": [ROW | {"hour": None}]},
        "inputs[0].hour",
        "expected a whole number, got null",
    ),
    "a truth value for a whole number": (
        {"inputs": [ROW | {"hour": True}]},
        "inputs[0].hour",
        "expected a whole number",
    ),
    "infinity for a whole number": (
        {"inputs": [ROW | {"hour": math.inf}]},
        "inputs[0].hour",
        "expected a whole number",
    ),
    "a whole number beyond 64 bits": (
        {"inputs": [ROW | {"hour": 2**63}]},
        "inputs[0].hour",
        "expected a whole number",
    ),
    "a number beyond 400 digits": (
        {"inputs": [ROW | {"hour": 10**400}]},
        "inputs[0].hour",
        "expected a whole number",
    ),
    "a list in a cell": (
        {"inputs": [ROW | {"distance": [1]}]},
        "inputs[0].distance",
        "expected a number, got a list",
    ),
    "an object in a cell": (
        {"inputs": [ROW | {"carrier": {}}]},
        "inputs[0].carrier",
        "expected a string, got an object",
    ),
    "columns of different lengths": (
        {"inputs": {"carrier": ["AA"], "distance": [1, 2], "hour": [3]}},
        "body",
        "different lengths",
    ),
    "columns and cells mixed": ({"inputs": {"carrier": ["AA"], "distance": 1, "hour": 3}}, "inputs", "mixed"),
    "a wrong cell in a column": (
        {"inputs": {"carrier": ["AA", "UA"], "distance": [1, "x"], "hour": [3, 4]}},
        "inputs.distance[1]",
        "expected a number",
    ),
    "split without data": ({"dataframe_split": {"columns": list(ROW)}}, "dataframe_split", "`columns` and `data`"),
    "split with an unknown key": (
        {"dataframe_split": {"columns": list(ROW), "data": [], "dtype": 1}},
        "dataframe_split.dtype",
        "unknown key",
    ),
    "split with a ragged row": (
        {"dataframe_split": {"columns": list(ROW), "data": [["AA"]]}},
        "dataframe_split.data[0]",
        "1 values for 3 columns",
    ),
    "split with a repeated column": (
        {"dataframe_split": {"columns": ["hour", "hour"], "data": [[1, 2]]}},
        "dataframe_split.columns",
        "each once",
    ),
    "split without rows": ({"dataframe_split": {"columns": list(ROW), "data": []}}, "dataframe_split.data", "no rows"),
    "split with a missing column": (
        {"dataframe_split": {"columns": ["carrier"], "data": [["AA"]]}},
        "dataframe_split.distance",
        "missing column",
    ),
    "split with a wrong cell": (
        {"dataframe_split": {"columns": list(ROW), "data": [["AA", "x", 1]]}},
        "dataframe_split.distance[0]",
        "expected a number",
    ),
    "split with a wrong index": (
        {"dataframe_split": {"columns": list(ROW), "index": [1, 2], "data": [["AA", 1, 1]]}},
        "dataframe_split.index",
        "one label",
    ),
    "params where there are none": ({"inputs": [ROW], "params": {"limit": 1}}, "params.limit", "unknown"),
    "params that are no object": ({"inputs": [ROW], "params": 3}, "params", "expected an object"),
}


@pytest.mark.parametrize(("document", "where", "what"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_told_with_its_place(columns: Columns, document: Any, where: str, what: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(columns, document)
    first = refused.value.problems[0]
    assert refused.value.status == 400
    assert first.where == where
    assert what in first.what
    assert first.fix


def test_all_mistakes_are_told_at_once(columns: Columns) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(columns, {"inputs": [ROW | {"distance": "x"}, {"carrier": 1, "distance": 1}]})
    assert {problem.where for problem in refused.value.problems} == {
        "inputs[0].distance", "inputs[1].carrier", "inputs[1].hour",
    }  # fmt: skip


def test_an_unknown_column_gets_a_suggestion(columns: Columns) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(columns, {"inputs": [ROW | {"distanze": 1}]})
    assert refused.value.problems[0].fix == "Did you mean 'distance'?"


def test_a_thousand_mistakes_are_told_in_short(columns: Columns) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(columns, {"inputs": [ROW | {"distance": "x"}] * 1000})
    assert len(refused.value.problems) <= 20


def test_odd_names_are_only_names() -> None:
    names = ["od280/od315 of wines", "class", "naïve", "a.b", "", "3"]
    reader = Columns([ColumnSpec(name=name, scalar="double") for name in names], Params())
    frame = read(reader, {"inputs": [dict.fromkeys(names, 1)]})
    assert list(frame.columns) == names


def test_columns_without_names_are_read_by_position() -> None:
    reader = Columns([ColumnSpec(name=str(at), scalar="double", position=at) for at in (0, 1)], Params())
    for document in (
        {"inputs": [[1, 2], [3, 4]]},
        {"dataframe_split": {"data": [[1, 2], [3, 4]]}},
        {"dataframe_split": {"columns": [0, 1], "data": [[1, 2], [3, 4]]}},
        {"dataframe_records": [{"0": 1, "1": 2}, {"0": 3, "1": 4}]},
    ):
        frame = read(reader, document)
        assert frame.to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert list(frame.columns) == [0, 1]


def test_a_single_column_takes_a_bare_list() -> None:
    reader = Columns([ColumnSpec(name="text", scalar="string")], Params())
    assert read(reader, {"inputs": ["a", "b"]})["text"].tolist() == ["a", "b"]


TYPES = [
    ("float", 1.5, "float32"), ("integer", 7, "int32"), ("boolean", True, "bool"), ("binary", "AAE=", "object"),
    ("datetime", "2026-01-31T12:00:00", "datetime64[ns]"), ("datetime", "2026-01-31", "datetime64[ns]"),
]  # fmt: skip


@pytest.mark.parametrize(("scalar", "value", "dtype"), TYPES)
def test_every_scalar_type_has_its_column(scalar: str, value: Any, dtype: str) -> None:
    reader = Columns([ColumnSpec(name="x", scalar=scalar)], Params())
    assert str(read(reader, {"inputs": [{"x": value}]})["x"].dtype) == dtype
    assert str(read(reader, {"inputs": {"x": [value]}})["x"].dtype) == dtype


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("integer", 2**31), ("boolean", 1), ("boolean", "true"), ("binary", "not base64!"), ("binary", 3),
        ("datetime", "soon"), ("datetime", "2026-01-31T12:00:00+01:00"), ("float", "1"),
    ],
)  # fmt: skip
def test_every_scalar_type_refuses(scalar: str, value: Any) -> None:
    reader = Columns([ColumnSpec(name="x", scalar=scalar)], Params())
    for document in ({"inputs": [{"x": value}]}, {"inputs": {"x": [value]}}):
        with pytest.raises(Unacceptable):
            read(reader, document)


def test_params_have_defaults_and_types() -> None:
    reader = Columns(
        [ColumnSpec(name="x", scalar="double")],
        Params([{"name": "limit", "type": "double", "default": 0.5, "shape": None}]),
    )
    assert reader.read(b'{"inputs": [{"x": 1}]}')[1] == {"limit": 0.5}
    assert reader.read(b'{"inputs": [{"x": 1}], "params": {"limit": 1}}')[1] == {"limit": 1.0}
    with pytest.raises(Unacceptable, match=r"params\.limit"):
        reader.read(b'{"inputs": [{"x": 1}], "params": {"limit": "high"}}')


def _one(scalar: str, required: bool = True) -> Columns:
    params = Params([{"name": "p", "type": scalar, "default": None, "shape": None}])
    return Columns(
        [ColumnSpec(name="v", scalar=scalar, required=required), ColumnSpec(name="n", scalar="long")], params
    )


WAYS = {
    "records": ('{"inputs": [{"v": %s, "n": 1}]}', "inputs[0].v"),
    "columns": ('{"inputs": {"v": [%s], "n": [1]}}', "inputs.v[0]"),
    "split": ('{"dataframe_split": {"columns": ["v", "n"], "data": [[%s, 1]]}}', "dataframe_split.v[0]"),
    "params": ('{"inputs": [{"v": null, "n": 1}], "params": {"p": %s}}', "params.p"),
}
BEYOND = {
    "2^31": ("integer", "2147483648", "outside -2147483648 to 2147483647"),
    "below -2^31": ("integer", "-2147483649.0", "outside -2147483648 to 2147483647"),
    "2^63": ("long", "9223372036854775808", "outside -9223372036854775808 to 9223372036854775807"),
    "below -2^63": ("long", "-9223372036854775809", "outside -9223372036854775808"),
    "-2^63 with a point": ("long", "-9223372036854775808.0", "without a decimal point"),
    "2^53+1 with a point": ("long", "9007199254740993.0", "without a decimal point"),
    "1e400 as a whole number": ("long", "1e400", "expected a whole number"),
    "a float's end": ("float", "3.5e38", "beyond"),
    "a double's end": ("double", "1e400", "1e400 is larger than a double can hold"),
    "a whole number between doubles": ("double", "9007199254740993", "the nearest double is 9007199254740992"),
    "the year 9999": ("datetime", '"9999-12-31T00:00:00"', "outside 1677"),
    "the year 1600": ("datetime", '"1600-01-01"', "outside 1677"),
    "a time zone": ("datetime", '"2026-01-31T12:00:00+01:00"', "it has a time zone"),
    "Z": ("datetime", '"2026-01-31T12:00:00Z"', "it has a time zone"),
    "ten digits of a second": ("datetime", '"2026-01-31T12:00:00.1234567891"', "a date and time"),
    "a count of seconds": ("datetime", "1700000000", "a date and time"),
    "one for true": ("boolean", "1", "true or false"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("scalar", "text", "what"), BEYOND.values(), ids=BEYOND)
@pytest.mark.parametrize("required", [True, False])
def test_what_does_not_fit_its_type_is_refused_wherever_it_stands(
    way: str, scalar: str, text: str, what: str, required: bool
) -> None:
    form, where = WAYS[way]
    if way == "params" and what == "outside 1677":
        pytest.skip("a param's time is Python's own")
    document = (form % text).replace('{"v": null, ', "{" if not required else f'{{"v": {_fitting(scalar)}, ')
    with pytest.raises(Unacceptable) as refused:
        _one(scalar, required).read(document.encode())
    [problem] = refused.value.problems
    assert what in problem.what
    assert problem.where == where or "1e400" in what  # told by its place in the body


@pytest.mark.parametrize("text", ["0001-01-01", "1600-01-01", "9999-12-31T23:59:59.999999"])
def test_a_time_in_params_is_of_any_year_of_python_s(text: str) -> None:
    params = Params([{"name": "p", "type": "datetime", "default": None}]).read({"p": text})
    assert params == {"p": datetime.fromisoformat(text)}


def _fitting(scalar: str) -> str:
    return {"datetime": '"2026-01-31"', "boolean": "true"}.get(scalar, "1")


@pytest.mark.parametrize("way", ["records", "columns", "split"])
@pytest.mark.parametrize(
    ("scalar", "text", "value"),
    [
        ("long", "-9223372036854775808", -(2**63)),
        ("long", "9223372036854775807", 2**63 - 1),
        ("long", "9007199254740991.0", 2**53 - 1),
        ("integer", "-2147483648.0", -(2**31)),
        ("double", "1.7976931348623157e308", 1.7976931348623157e308),
        ("double", "36893488147419103232", 2.0**65),
        ("double", "9223372036854776000", 2.0**63),  # as JavaScript writes it
        ("double", "-Infinity", -math.inf),
        ("datetime", '"2026-01-31T12:00:00.123456789"', "2026-01-31T12:00:00.123456789"),
        ("datetime", '"2026-01-31T12:00:00.1234567"', "2026-01-31T12:00:00.123456700"),
        ("datetime", '"2262-04-11T23:47:16.854775"', "2262-04-11T23:47:16.854775"),
    ],
)
def test_the_ends_of_each_type_arrive_as_they_were_sent(way: str, scalar: str, text: str, value: Any) -> None:
    frame, _ = _one(scalar).read((WAYS[way][0] % text).encode())
    arrived = frame["v"][0]
    assert arrived.isoformat() == value if scalar == "datetime" else arrived == value


@pytest.mark.parametrize("scalar", ["long", "integer"])
def test_an_optional_whole_number_in_some_rows_only_is_the_callers_mistake(scalar: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(_one(scalar, required=False), {"inputs": [{"v": 1, "n": 1}, {"n": 2}]})
    [problem] = refused.value.problems
    assert problem.where == "inputs[1].v"
    assert "missing in this row" in problem.what


def test_base64_comes_with_line_breaks_too() -> None:
    frame = read(_one("binary"), {"inputs": [{"v": "AA\nE=\n", "n": 1}]})
    assert frame["v"][0] == b"\x00\x01"


_OBJECT = {"a": {"type": "integer", "required": True}, "t": {"type": "datetime", "required": False}}
NESTED = {"type": "array", "items": {"type": "object", "properties": _OBJECT}}


def _nested(required: bool = True) -> Columns:
    specs = [
        ColumnSpec(name="v", scalar="array", nested=NESTED, required=required),
        ColumnSpec(name="n", scalar="long"),
    ]
    return Columns(specs, Params())


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ([{"a": 2**31}], "inputs[0].v[0].a", "outside -2147483648 to 2147483647"),
        ([{"a": 1}, {"a": 1.5}], "inputs[0].v[1].a", "it is not whole"),
        ([{"a": "1"}], "inputs[0].v[0].a", "got a string"),
        ([{"a": None}], "inputs[0].v[0].a", "got null"),
        ([{}], "inputs[0].v[0].a", "missing"),
        ([{"a": 1, "b": 1}], "inputs[0].v[0].b", "unknown"),
        ([{"a": 1, "t": "9999-01-01"}], "inputs[0].v[0].t", "outside 1677"),
        ({"a": 1}, "inputs[0].v", "expected a list, got an object"),
        ([[1]], "inputs[0].v[0]", "expected an object, got a list"),
        (None, "inputs[0].v", "expected a list, got null"),
    ],
)
def test_what_does_not_fit_inside_a_nested_column_is_told_with_its_place(value: Any, where: str, what: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(_nested(), {"inputs": [{"v": value, "n": 1}]})
    [problem] = refused.value.problems
    assert (problem.where, what in problem.what) == (where, True), problem


def test_what_stands_beside_a_nested_column_is_not_narrowed() -> None:
    with pytest.raises(Unacceptable, match=r"inputs\[0\]\.n: .*got 1\.5: it is not whole"):
        read(_nested(), {"inputs": [{"v": [], "n": 1.5}]})


def test_an_optional_nested_column_may_be_missing() -> None:
    frame = read(_nested(required=False), {"inputs": [{"v": [{"a": 3.0}], "n": 1}, {"v": None, "n": 1}, {"n": 1}]})
    assert frame["v"].tolist() == [[{"a": 3}], None, None]
