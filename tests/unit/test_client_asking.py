"""The client's pure part: what is sent, what is refused, what may be sent again, what an answer says."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.services.client import (
    CannotBeSent,
    Failed,
    NoSuchModel,
    NotAllowed,
    Refused,
    Retries,
    TimedOut,
    Unreachable,
)
from sluicegate.services.client.asking import Server, answer, body_of, is_near, question
from sluicegate.services.client.connecting import Connecting
from sluicegate.services.client.hashing import FRESH_SECONDS, Hashing, UnitIgnored
from sluicegate.services.client.metadata import metadata_headers, unit_header
from sluicegate.services.client.payload import payload
from sluicegate.services.client.predictions import predictions

REQUEST = httpx.Request("POST", "http://gateway/m/predict")


def sent(data: object, **params: object) -> dict[str, object]:
    return json.loads(payload(data, params or None).content)  # type: ignore[arg-type, no-any-return]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("New York", "New York"),
        ("", ""),
        ("Québec", "Québec"),
        ("日本", "日本"),
        ("a,b", "a,b"),
        (True, "true"),
        (7, "7"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (Decimal("18.50"), "18.50"),
        (np.int64(7), "7"),
        (np.float64(0.5), "0.5"),
        (np.bool_(False), "false"),
    ],
)
def test_a_value_goes_as_the_text_that_conditions_are_written_in(value: object, text: str) -> None:
    assert metadata_headers({"State": value}) == [(b"state", text.encode())]  # type: ignore[dict-item]


def test_a_value_that_is_not_known_is_not_sent() -> None:
    assert metadata_headers({"state": None, "plan": "pro"}) == [(b"plan", b"pro")]


@pytest.mark.parametrize(
    "value", ["a\r\nx-admin: 1", "a\nb", "a\0b", "\x7f", " a", "a ", "a\tb", "\ud800", float("nan"), b"a", ["a"]]
)
def test_what_would_arrive_otherwise_than_meant_is_refused(value: object) -> None:
    with pytest.raises(CannotBeSent, match="state"):
        metadata_headers({"state": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a:b",
        "é",
        "a\n",
        "x_sluice_build",
        "Content_Length",
        "Host",
        "content-type",
        "x-request-id",
        "X-Sluice-Build",
        "x-envoy-retry-on",
        "x-forwarded-for",
    ],
)
def test_a_name_that_is_not_ours_to_give_is_refused(name: str) -> None:
    with pytest.raises(CannotBeSent, match="metadata name"):
        metadata_headers({name: "1"})


def test_an_underscore_is_kept() -> None:
    assert metadata_headers({"user_state": "1", "user-state": "2"}) == [(b"user_state", b"1"), (b"user-state", b"2")]


def test_one_name_in_two_cases_is_refused() -> None:
    with pytest.raises(CannotBeSent, match="twice"):
        metadata_headers({"State": "a", "state": "b"})


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), st.floats(), st.integers(), st.booleans())))
def test_whatever_is_given_is_refused_or_is_a_header_that_http_carries(metadata: dict[str, object]) -> None:
    try:
        headers = metadata_headers(metadata)  # type: ignore[arg-type]
    except CannotBeSent:
        return
    import h11

    event = h11.Request(method="POST", target="/", headers=[(b"host", b"x"), *headers])
    carried = h11.Connection(h11.SERVER)
    carried.receive_data(h11.Connection(h11.CLIENT).send(event) or b"")
    arrived = carried.next_event()
    assert isinstance(arrived, h11.Request)
    assert list(arrived.headers)[1:] == headers


@pytest.mark.parametrize("unit", ["", "a,b", "a\nb", " a"])
def test_a_unit_that_would_not_be_hashed_is_refused(unit: str) -> None:
    with pytest.raises(CannotBeSent, match="unit"):
        unit_header("x-user-id", unit)


def test_the_unit_goes_into_the_header_that_the_model_hashes() -> None:
    asked = question("a/b", [1], metadata={"state": "New York"}, unit=17, hashed="X-User", params=None)
    assert asked.ask.path == "/a%2Fb/predict"
    assert dict(asked.ask.headers)[b"x-user"] == b"17"
    with pytest.raises(CannotBeSent, match="differs from the unit"):
        question("m", [1], metadata={"X-User": "18"}, unit=17, hashed="x-user", params=None)


FRAME = pd.DataFrame(
    {
        "n": [1, 2],
        "x": [0.5, np.nan],
        "t": ["a", None],
        "at": pd.to_datetime(["2026-01-31", None]),
        "b": pd.array([True, pd.NA], dtype="boolean"),
    },
    index=["r1", "r2"],
)


def test_a_frame_goes_by_column_and_keeps_its_index() -> None:
    made = payload(FRAME)
    assert json.loads(made.content) == {
        "dataframe_split": {
            "columns": ["n", "x", "t", "at", "b"],
            "data": [[1, 0.5, "a", "2026-01-31T00:00:00", True], [2, None, None, None, None]],
        }
    }
    assert list(made.index) == ["r1", "r2"]


@pytest.mark.parametrize(
    ("data", "inputs"),
    [
        ([{"a": 1}], [{"a": 1}]),
        ({"a": 1}, [{"a": 1}]),
        ({"a": [1, 2]}, {"a": [1, 2]}),
        (({"a": n} for n in (1, 2)), [{"a": 1}, {"a": 2}]),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ({"a": np.array([1])}, {"a": [1]}),
        ([{"a": np.int32(1)}], [{"a": 1}]),
        ([1, 2], [1, 2]),
        ([{"a": b"\x00\xff"}], [{"a": "AP8="}]),
        ([{"a": [1, float("nan")]}], [{"a": [1, None]}]),
    ],
)
def test_every_form_of_rows_is_what_the_service_reads(data: object, inputs: object) -> None:
    assert sent(data) == {"inputs": inputs}


def test_params_go_beside_the_rows() -> None:
    assert sent([1], scale=2.0) == {"inputs": [1], "params": {"scale": 2.0}}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("rows", "str"),
        (None, "NoneType"),
        (7, "int"),
        (np.array(1.0), "without dimensions"),
        (FRAME["n"], "Series"),
        ([{"a": float("inf")}], r"input.inputs\[0\].a is infinite"),
        ([{"a": object()}], r"inputs\[0\].a is object"),
        ([{"a": "\ud800"}], "Unicode"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_place(data: object, says: str) -> None:
    with pytest.raises(CannotBeSent, match=says):
        sent(data)


TOLD = {
    "x-request-id": "r1",
    "x-sluice-build": "3",
    "x-sluice-variation": "b",
    "x-sluice-audience": "Qu%C3%A9bec",
    "x-sluice-reason": "hash",
}


def test_an_answer_says_who_made_it_and_why() -> None:
    made = predictions("m", [0.1, 0.9], TOLD, None)
    assert (made.build, made.variation, made.audience, made.reason) == ("3", "b", "Québec", "hash")
    assert made.ids == ("r1.0", "r1.1")
    assert [(one.id, one.value) for one in made] == [("r1.0", 0.1), ("r1.1", 0.9)]
    assert made[-1].id == "r1.1"


@pytest.mark.parametrize(
    ("values", "columns"),
    [([{"p": 1}, {"p": 2}], ["p"]), ([1, 2], ["prediction"]), ([[1, 2], [3, 4]], [0, 1])],
)
def test_an_answer_becomes_a_frame_with_the_index_of_what_was_asked(values: object, columns: list[object]) -> None:
    frame = predictions("m", values, TOLD, FRAME.index).to_pandas()
    assert list(frame.columns) == [*columns, "prediction_id"]
    assert list(frame.index) == ["r1", "r2"]
    assert list(frame["prediction_id"]) == ["r1.0", "r1.1"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NoSuchModel),
        (409, Refused),
        (500, Failed),
        (503, Failed),
    ],
)
def test_an_error_says_what_the_server_says(status: int, kind: type[Exception]) -> None:
    body = {"error": "columns: unknown", "problems": [{"where": "x", "what": "unknown", "fix": "Drop it."}]}
    response = httpx.Response(status, json=body, headers={"x-request-id": "r9"}, request=REQUEST)
    with pytest.raises(kind, match="columns: unknown Drop it") as raised:
        body_of(response)
    assert type(raised.value) is kind
    assert raised.value.request_id == "r9"  # type: ignore[attr-defined]


def test_an_answer_that_is_not_json_is_a_failure() -> None:
    with pytest.raises(Failed, match="not JSON"):
        body_of(httpx.Response(200, text="<html>", request=REQUEST))


BUSY = httpx.Response(503, request=REQUEST)
LATER = httpx.Response(503, headers={"retry-after": "1"}, request=REQUEST)
MUCH_LATER = httpx.Response(503, headers={"retry-after": "3600"}, request=REQUEST)
BROKEN = httpx.Response(500, request=REQUEST)
WRONG = httpx.Response(400, request=REQUEST)
FINE = httpx.Response(200, request=REQUEST)


@pytest.mark.parametrize(
    ("outcome", "a_prediction", "harmless"),
    [
        (httpx.ConnectError("refused"), True, True),
        (httpx.ConnectTimeout("slow"), True, True),
        (httpx.PoolTimeout("full"), True, True),
        (httpx.ReadTimeout("slow"), False, True),
        (httpx.RemoteProtocolError("closed"), False, True),
        (httpx.ReadError("reset"), False, True),
        (LATER, True, True),
        (BUSY, False, True),
        (BROKEN, False, True),
        (MUCH_LATER, False, False),
        (WRONG, False, False),
        (FINE, False, False),
    ],
)
def test_a_prediction_is_sent_again_only_where_it_cannot_have_been_served(
    outcome: httpx.Response | httpx.RequestError, a_prediction: bool, harmless: bool
) -> None:
    retries = Retries()
    for is_harmless, again in ((False, a_prediction), (True, harmless)):
        assert (retries.wait(1, outcome, is_harmless=is_harmless, draw=lambda: 1.0) is not None) is again
        assert retries.wait(retries.attempts, outcome, is_harmless=is_harmless, draw=lambda: 1.0) is None


def test_waits_double_up_to_a_bound_and_heed_the_server() -> None:
    retries = Retries(attempts=9, first=0.1, longest=1.0)
    refused = httpx.ConnectError("refused")
    waits = [retries.wait(attempt, refused, is_harmless=False, draw=lambda: 1.0) for attempt in range(1, 7)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert retries.wait(1, refused, is_harmless=False, draw=lambda: 0.0) == pytest.approx(0.05)
    assert retries.wait(1, LATER, is_harmless=False, draw=lambda: 0.0) == pytest.approx(1.0)


def test_a_failure_says_whether_it_may_have_been_served() -> None:
    for error, kind, was_sent in (
        (httpx.ConnectError("refused", request=REQUEST), Unreachable, False),
        (httpx.ReadTimeout("slow", request=REQUEST), TimedOut, True),
    ):
        with pytest.raises(kind) as raised:
            answer(error)
        assert raised.value.was_sent is was_sent


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:9", True),
        ("http://[::1]:9", True),
        ("http://localhost", True),
        ("https://models.example", False),
        ("http://10.0.0.7", False),
    ],
)
def test_proxies_are_for_far_servers(url: str, near: bool) -> None:
    assert is_near(url) is near


def test_the_gateway_never_sees_the_token() -> None:
    connecting = Connecting.from_arguments("http://g", "s3cret", {"console": "http://c"}, {})
    assert connecting.http(Server.GATEWAY)["headers"] == {}
    assert connecting.http(Server.CONSOLE)["headers"] == {"authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(connecting)


def test_what_is_left_out_comes_from_the_environment() -> None:
    environment = {"SLUICE_GATEWAY": "http://g", "SLUICE_API": "http://c", "SLUICE_TOKEN": "t"}
    connecting = Connecting.from_arguments(None, None, {}, environment)
    assert (connecting.gateway, connecting.console, connecting.token) == ("http://g", "http://c", "t")
    with pytest.raises(CannotBeSent, match="no gateway"):
        Connecting.from_arguments(None, None, {}, {})


def test_the_hashed_header_is_asked_for_once_and_again_after_a_while() -> None:
    now = [0.0]
    hashing = Hashing(clock=lambda: now[0])
    assert hashing.must_ask("m")
    hashing.learn("m", "x-user-id")
    assert (hashing.must_ask("m"), hashing.header("m")) == (False, "x-user-id")
    now[0] = FRESH_SECONDS + 1
    assert hashing.must_ask("m")
    assert not Hashing(clock=lambda: 0.0, always="x-unit").must_ask("m")


def test_a_unit_that_was_not_hashed_is_told_and_the_header_asked_for_again() -> None:
    hashing = Hashing(clock=lambda: 0.0)
    hashing.learn("m", "x-old")
    hashing.check(predictions("m", [1], TOLD, None))
    assert not hashing.must_ask("m")
    with pytest.warns(UnitIgnored, match="'x-old'"):
        hashing.check(predictions("m", [1], TOLD | {"x-sluice-reason": "random"}, None))
    assert hashing.must_ask("m")


def test_the_client_needs_nothing_of_ours_and_little_besides() -> None:
    ours = "{n for n in sys.modules if n.startswith('services.') and not n.startswith('sluicegate.services.client')}"
    heavy = "{'pandas', 'numpy', 'registry', 'flows', 'pydantic', 'mlflow', 'bentoml'} & sys.modules.keys()"
    code = f"import sys, sluicegate.services.client; print(*{ours}, *{heavy})"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""
