"""The access log's reader."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.collector_lines import written
from sluicegate.registry.words.access_log import COMMON, OWN, Assigned, End, UnitSource, parse, read_assigned
from sluicegate.registry.words.metric import Arm

MARK = Assigned(variation="default", arm=Arm.CANDIDATE, build="2", rollout="r-1", epoch=3, weight=2500)
ROW = dict.fromkeys((*OWN, *COMMON)) | {
    "ts": "1795354046772074", "rid": "b50e60dc", "unit": "u0", "dur_us": 1928, "bytes_in": 2, "bytes_out": 577,
    "prediction": '{"p": [0.25]}', "listener": "live", "method": "POST", "path": "/delays/predict",
    "route": "delays;default;header", "assigned": MARK.header, "upstream": "2", "host": "127.0.0.1:58429",
    "status": 200, "flags": "-", "details": "via_upstream", "attempts": 1,
}  # fmt: skip


def read(**changes: object):
    return parse(written(ROW | changes))


@given(
    st.builds(
        Assigned,
        variation=st.text(min_size=1),
        arm=st.sampled_from(Arm),
        build=st.text(min_size=1),
        rollout=st.none() | st.text(min_size=1),
        epoch=st.integers(0, 9999),
        weight=st.integers(0, 10_000),
    )
)
def test_what_was_assigned_goes_through_a_header_and_back(mark: Assigned) -> None:
    assert mark.header.isascii()
    assert mark.header.isprintable()
    assert read_assigned(mark.header) == mark


def test_a_whole_line() -> None:
    line = read()
    assert (line.ts_us, line.request_id, line.model, line.audience) == (
        1795354046772074,
        "b50e60dc",
        "delays",
        "default",
    )
    assert (line.unit, line.unit_source, line.assigned) == ("u0", UnitSource.HEADER, MARK)
    assert (line.served, line.status, line.duration_us, line.attempts) == ("2", 200, 1928, 1)
    assert (line.prediction, line.flags, line.is_shadow) == ('{"p": [0.25]}', frozenset(), False)
    assert (line.end, line.is_fallback, line.is_shadow) == (End.ANSWERED, False, False)


def test_stable_answering_for_the_candidate_is_the_candidate_s_failure() -> None:
    line = read(upstream="1", attempts=2)
    assert (line.served, line.is_fallback, line.end) == ("1", True, End.RETRIED)


REMOTE = "downstream_remote_disconnect"
NO_HEADERS = "upstream_reset_before_response_started{remote_connection_failure}"


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, End.ANSWERED),
        ({"status": 404}, End.ANSWERED),
        ({"status": 500}, End.SERVER_ERROR),
        ({"status": 500, "flags": "URX", "attempts": 2, "upstream": "1"}, End.SERVER_ERROR),
        ({"status": 503, "details": "no_healthy_upstream", "flags": "UH", "upstream": None}, End.CONNECT),
        ({"status": 503, "details": NO_HEADERS, "flags": "URX,UF", "attempts": 2}, End.CONNECT),
        ({"status": 503, "details": "overflow", "flags": "UO", "upstream": None}, End.CONNECT),
        ({"status": 504, "details": "upstream_per_try_timeout", "flags": "UT"}, End.TIMEOUT),
        ({"status": 504, "details": "upstream_per_try_timeout", "flags": "URX,UT", "attempts": 2}, End.TIMEOUT),
        ({"status": 200, "details": "response_timeout", "flags": "UT", "dur_us": None}, End.TIMEOUT),
        (
            {"status": 200, "details": "upstream_reset_after_response_started{protocol_error}", "flags": "UPE"},
            End.RESET,
        ),
        ({"status": 503, "details": "upstream_reset_before_response_started", "flags": "UC"}, End.RESET),
        ({"status": 0, "details": REMOTE, "flags": "DC"}, End.LEFT),
        ({"status": 0, "details": REMOTE, "flags": "DR"}, End.LEFT),
        ({"status": 0, "details": REMOTE, "flags": "DC", "attempts": 2}, End.RETRIED),
        ({"status": 200, "details": REMOTE, "flags": "DC", "dur_us": None}, End.CLOSED),
        ({"status": 422, "details": REMOTE, "flags": "DC", "dur_us": None}, End.CLOSED),
        ({"status": 500, "details": REMOTE, "flags": "DC", "dur_us": None}, End.SERVER_ERROR),
        ({"status": 503, "details": REMOTE, "flags": "UF,DC"}, End.CONNECT),
        ({"status": 200, "attempts": 2}, End.RETRIED),
        ({"status": 200, "upstream": "1"}, End.RETRIED),
        ({"status": 200, "upstream": "1", "details": REMOTE, "flags": "DC", "attempts": 2}, End.RETRIED),
    ],
)  # the flags and details are those that Envoy 1.40 wrote when it was done to it
def test_how_a_request_ended(changes: dict, end: End) -> None:
    assert read(**changes).end is end


def test_an_answer_that_its_caller_closed_is_that_of_the_build_that_gave_it() -> None:
    line = read(status=200, details=REMOTE, flags="DC", dur_us=None)
    assert (line.served, line.end.is_error) == ("2", False)
    assert read(status=0, details=REMOTE, flags="DC", dur_us=None).served is None


def test_copies_and_strangers_are_no_exposures() -> None:
    assert read(listener="shadow").is_shadow
    assert read(route=None, assigned=None).assigned is None


def test_without_a_unit_the_assignment_was_random() -> None:
    line = read(route="delays;default;random", unit=None)
    assert (line.unit, line.unit_source) == (None, UnitSource.RANDOM)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "not JSON"),
        (written(ROW)[:-20], "not JSON"),
        ("[]", "format version"),
        (written(ROW).replace("2", "1", 1), "format version 2"),
        (written(ROW).replace(",577", ""), "expected a list of 12 values: ts, rid"),
        (written(ROW).replace(",200", ""), "expected a list of 13 values: listener"),
        (written(ROW).replace("]]}", "],[]]}"), "format version"),
        (written(ROW | {"status": "200"}), "status is '200'; expected int"),
        (written(ROW | {"status": True}), "status is True"),
        (written(ROW | {"assigned": "default;candidate"}), "2 parts instead of 6"),
        (written(ROW | {"assigned": "default;nobody;2;r;1;1"}), "nobody"),
        (written(ROW | {"ts": "soon"}), "soon"),
        (written(ROW | {"listener": "other"}), "other"),
        (written(ROW | {"route": {"model": "delays"}}), "route is"),
        (written(ROW | {"route": "delays;default"}), "2 parts instead of 3"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(line)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_other_json_is_a_value_error_and_nothing_else(value: object) -> None:
    with pytest.raises(ValueError, match="format version"):
        parse(json.dumps(value))


@given(st.sampled_from(sorted(ROW)), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))
def test_a_field_of_another_kind_is_a_value_error_or_read(key: str, value: object) -> None:
    with contextlib.suppress(ValueError):
        parse(written(ROW | {key: value}))


@given(st.text(), st.text(), st.text())
def test_texts_that_look_like_the_end_of_a_list_are_texts(unit: str, prediction: str, path: str) -> None:
    for end in ("", ',["', ",[", ',["live"', "]]}"):
        line = read(unit=unit + end, prediction=prediction + end, path=path + end)
        assert (line.unit, line.prediction, line.path) == (unit + end, prediction + end, path + end)


def test_a_line_that_another_program_wrote_again_is_read_all_the_same() -> None:
    assert parse(json.dumps(json.loads(written(ROW)), indent=1)) == read()
