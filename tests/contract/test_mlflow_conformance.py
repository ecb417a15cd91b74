"""The same requests to our predictor and to MLflow's own scoring server: each difference is in the list, or a fault.

Three things hold for each request. We take exactly what fits its declared type. What we take reaches the model as it
was sent. And where MLflow does otherwise, `mlflow_differences.yaml` says so, and why.
"""

from __future__ import annotations

import base64
import functools
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.conformance_models import DEFAULTS, DTYPES, MODELS, SCALARS, Unfit, arrives
from tests.contract.scoring_servers import Reply, Servers, brief, lists, told

HERE = Path(__file__).parent
LISTED: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "mlflow_differences.yaml").read_text(encoding="utf-8"))
REQUESTS: dict[str, dict[str, list[str]]] = yaml.safe_load((HERE / "mlflow_requests.yaml").read_text(encoding="utf-8"))
WAYS = {
    "records": '{{"dataframe_records": [{{{}}}]}}',
    "inputs": '{{"inputs": [{{{}}}]}}',
    "instances": '{{"instances": [{{{}}}]}}',
    "columns": '{{"inputs": {{{}}}}}',
    "split": '{{"dataframe_split": {{"columns": [{}], "data": [[{}]]}}}}',
}
BESIDE = {"optional": {"n": "7"}, "beside": {"w": "[0.5]"}}
LITERALS = (
    "0", "1", "-1", "127", "128", "-129", "255", "256", "65504", "65520", "3.0", "3.5", "300.0", "-0.0", "1E2",
    "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967296", "9007199254740991.0", "9007199254740992",
    "9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "9223372036854776000", "18446744073709551615", "18446744073709551616",
    "36893488147419103232", "1e300", "3.5e38", "3.4028234663852886e38", "1e-400", "5e-324", "1e400", "-1e400",
    "Infinity", "-Infinity", "NaN", "null", "true", "false", '"x"', '"1"', '""', '"true"', '"None"', '"NaN"',
    '"AAE="', '"AAE"', '"A A E ="', '"_-8="', '"\\u0000"', '"\\ud83d\\ude00"', '"é"', '"2026-01-31"',
    '"2026-01-31T12:00:00"', '"2026-01-31 12:00:00"', '"2026-01-31T12:00:00Z"', '"2026-01-31T12:00:00+01:00"',
    '"2026-01-31T12:00:00.123456789"', '"0001-01-01"', '"9999-12-31T23:59:59"', '"1677-09-21T00:12:43.145225"',
    '"1677-09-21T00:12:43"', '"2262-04-11T23:47:16.854775"', '"2262-04-12"', '"2026-02-30"', '"now"', '"31/01/2026"',
    '"20260131"', "[1]", "[]", "[null]", '{"a": 1}', "{}",
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(LITERALS),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**64), 2**64).map(lambda whole: repr(float(whole))),
    st.binary(max_size=6).map(lambda some: json.dumps(base64.b64encode(some).decode())),
    st.datetimes().map(lambda time: json.dumps(time.isoformat())),
    st.text(st.characters(codec="utf-8"), max_size=4).map(json.dumps),
)


ANSWERS: dict[str, Any] = {
    "raises": ValueError("no such thing"),
    "answers NaN": np.array([0.5, np.nan]),
    "answers a decimal": [Decimal("0.1")],
}


@functools.cache
def servers(model: str) -> Servers:
    """Both servers before a model of this type, or before one that answers so."""
    if model in ANSWERS:
        return Servers.of_signature(MODELS["long"], ANSWERS[model])
    return Servers.of_signature(MODELS[model])


def body(model: str, way: str, literal: str) -> bytes:
    """A request with this value, in one of the ways to write a request for this kind of model."""
    kind = model.split()[0]
    if kind == "param":
        return f'{{"inputs": [{{"n": 7}}], "params": {{"v": {literal}}}}}'.encode()
    if kind == "tensor":
        form = {"records": '[{{"v": {}}}]', "split": '{{"data": [[{}]]}}'}.get(way, "[{}]")
        key = {"records": "dataframe_records", "split": "dataframe_split", "columns": "inputs"}.get(way, way)
        return f'{{"{key}": {form.format(literal)}}}'.encode()
    cells = {**BESIDE.get(kind, {}), "v": f"[{literal}]" if kind == "array" else literal}
    if way == "split":
        return WAYS[way].format(", ".join(map(json.dumps, cells)), ", ".join(cells.values())).encode()
    if way == "columns" and kind not in ("array", "beside"):  # where arrays are, an object is one row
        cells = {name: f"[{cell}]" for name, cell in cells.items()}
    return WAYS[way].format(", ".join(f'"{name}": {cell}' for name, cell in cells.items())).encode()


def value_given(model: str, reply: Reply) -> Any:
    """The one value in what a model was given."""
    data, params = reply.given
    match model.split()[0]:
        case "param":
            return params["v"]
        case "tensor":
            return lists(data)[0]
        case "array":
            return lists(data["frame"]["v"]["cells"])[0][0]
        case _:
            return data["frame"]["v"]["cells"][0]


def difference(model: str, way: str, literal: str, ours: Reply, theirs: Reply) -> str | None:
    """Which listed difference that is; None where both do the same. Raises AssertionError at a fault of ours."""
    shown = f"{model}, {way}, {literal}: ours {ours}, MLflow's {theirs}"
    try:
        expected = expected_value(model, way, literal)
    except Unfit as unfit:
        assert ours.status == 400, shown
        assert all(problem.keys() == {"where", "what", "fix"} for problem in ours.answer["problems"]), shown
        return unfit.key if theirs.status == 200 else None
    assert ours.status == 200, shown
    assert value_given(model, ours) == expected, f"{shown}, expected {expected}"
    if theirs.status == 200 and ours.given == theirs.given:
        return None
    key = given_otherwise(model, literal, ours, theirs) if theirs.status == 200 else refused_there(model, way, literal)
    assert key is not None, shown
    return key


def given_otherwise(model: str, literal: str, ours: Reply, theirs: Reply) -> str | None:
    """Which difference it is that both models were asked, about different values."""
    if lists(ours.given) == lists(theirs.given):
        return "lists"
    if literal in ("null", "[null]"):
        return "missing"
    match model.split()[-1]:
        case "string" if literal.endswith('\\u0000"'):
            return "nul"
        case "binary":
            return "base64"
        case "datetime" if model.startswith("param "):
            return "params"
    return None


def refused_there(model: str, way: str, literal: str) -> str | None:
    """Which difference it is that MLflow refuses what fits."""
    match model.split():
        case ["array" | "beside", _] if way == "instances":
            return "instances"
        case ["array", "integer" | "long" | "float" | "double" | "datetime"]:
            return "inside"
        case ["param", "integer" | "long" | "datetime"]:
            return "params"
        case ["tensor", _] if way in ("records", "split") and literal == "[null]":
            return "missing"
        case ["tensor", "datetime64[ns]"] if way in ("records", "split"):
            return "tables"
        case [*_, "binary"] if literal == "null":
            return "missing"
    return None


def expected_value(model: str, way: str, literal: str) -> Any:
    """What our rules make of the value, written down once more and apart from the predictor. Raises Unfit."""
    kind, scalar, value = model.split()[0], model.split()[-1], json.loads(literal)
    if kind == "tensor" and way in ("records", "split") and isinstance(value, list) and len(value) == 1:
        (value,) = value  # the one list in a row of a table is the row
    if kind != "param":
        return arrives(scalar, literal, value)
    if value is None:
        return told(None)
    try:
        expected = arrives(scalar, literal, value)
    except Unfit as unfit:
        if scalar != "datetime" or unfit.key != "narrowed":
            raise
    if scalar == "float":
        return told(float(value))
    if scalar == "datetime" and len(value) <= len("2026-01-31T12:00:00.123456"):
        try:  # Python's own, from year 1 to 9999
            return told(datetime.fromisoformat(value))
        except ValueError:
            raise Unfit("narrowed") from None
    return expected


TYPED = [
    *SCALARS, *(f"{kind} {name}" for kind in ("optional", "beside", "array") for name in SCALARS),
    *(f"tensor {name}" for name in DTYPES), *(f"param {name}" for name in DEFAULTS),
]  # fmt: skip


def check(model: str, way: str, literal: str) -> None:
    ours, theirs = servers(model).ask(body(model, way, literal))
    key = difference(model, way, literal, ours, theirs)
    assert key is None or key in LISTED


@pytest.mark.parametrize("model", TYPED)
def test_each_type_takes_what_fits_it_as_it_was_sent(model: str) -> None:
    """Every literal, each in another payload than the one before."""
    ways = list(WAYS)
    for number, literal in enumerate(LITERALS):
        check(model, ways[(number + len(model)) % len(ways)], literal)


@settings(max_examples=150)
@given(model=st.sampled_from(TYPED), way=st.sampled_from(list(WAYS)), literal=VALUES)
def test_whatever_is_sent_is_taken_as_it_is_or_refused(model: str, way: str, literal: str) -> None:
    check(model, way, literal)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_every_literal_in_every_payload(way: str) -> None:
    for model in TYPED:
        for literal in LITERALS:
            check(model, way, literal)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=30_000)
@given(model=st.sampled_from(TYPED), way=st.sampled_from(list(WAYS)), literal=VALUES)
def test_whatever_is_sent_for_long(model: str, way: str, literal: str) -> None:
    check(model, way, literal)


def differ(ours: Reply, theirs: Reply) -> bool:
    """Whether one refuses what the other takes, or the model was given another thing."""
    is_taken = ours.status < 400, theirs.status < 400
    return is_taken[0] != is_taken[1] or (is_taken[0] and ours.given != theirs.given)


@pytest.mark.parametrize("key", REQUESTS)
def test_each_request_shows_the_difference_it_is_listed_for(key: str) -> None:
    assert key == "alike" or key in LISTED
    for model, requests in REQUESTS[key].items():
        for request in requests:
            ours, theirs = servers(model).ask(request.encode())
            assert ours.status in (200, 400), (model, request, ours)
            assert differ(ours, theirs) == (key != "alike"), (model, request, ours, theirs)


def shown(model: str, reply: Reply) -> str:
    if reply.status != 200:
        return str(reply.status)
    if model in ANSWERS:
        return json.dumps(reply.answer["predictions"])
    data, params = reply.given
    return brief(params) if params != "NoneType None" else brief(data)


@pytest.mark.parametrize("key", LISTED)
def test_each_difference_in_the_list_is_real(key: str) -> None:
    assert LISTED[key].keys() == {"situation", "mlflow", "ours", "because", "examples"}
    for example in LISTED[key]["examples"]:
        model, request = example["model"], example["request"]
        ours, theirs = servers(model).ask(request.encode(), example.get("type", "application/json"))
        assert (shown(model, ours), shown(model, theirs)) == (example["here"], example["there"]), (model, request)
        assert example["here"] != example["there"] or ours.given != theirs.given, "both do the same"


@pytest.mark.parametrize(
    "answer",
    [
        {"label": np.array(["a", "b"]), "score": np.array([0.5, 1.0])},
        {"label": np.array(["a"]), "score": np.array([0.5])},
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pd.Series([1.5, 2.5], name="v"),
        pd.Series([1.5]),
        np.array([[0.25, 0.75]]),
        np.float32(0.1),
        [np.int64(1), np.float32(0.5), np.bool_(True)],
        pd.DataFrame({"a": [[1, 2], [3]]}),
        pd.DataFrame({"a": [pd.Timestamp("2026-01-31T12:00:00")]}),
        pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
        pd.DataFrame({"a": pd.array([1, pd.NA], "Int64")}),
        [{"a": {"b": np.array([1, 2])}}],
        "text out",
        ["a", "b"],
        None,
        {1: [1], 2: [2]},
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_mlflow_answers_we_answer(answer: Any) -> None:
    ours, theirs = Servers.of_signature(MODELS["long"], answer).ask(b'{"inputs": [{"v": 1}]}')
    assert (ours.status, ours.answer) == (theirs.status, theirs.answer)


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        ({"v": np.array(["a", "b"])}, "string"),
        (pd.DataFrame({"v": [pd.Timestamp("2026-01-31T12:00:00.123456789"), pd.NaT]}), "datetime"),
        (pd.DataFrame({"v": [b"\xfb\xff", None]}), "binary"),
        (pd.DataFrame({"v": [0.5, np.nan]}), "double"),
        (pd.DataFrame({"v": [np.array([0.5, np.nan]), [1]]}), "array double"),
        (pd.DataFrame({"v": [{"a": np.int64(1), "b": None}]}), "object"),
        (np.array([1, 255], "uint8"), "tensor uint8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_answer_of_one_model_is_the_question_of_another(answer: Any, model: str) -> None:
    answered = Servers.of_signature(MODELS["long"], answer).ask(b'{"inputs": [{"v": 1}]}')[0].answer["predictions"]
    reply, _ = servers(model).ask(json.dumps({"inputs": answered}).encode())
    assert reply.status == 200, reply
