"""Captured requests come back: who may read them, as which files, and what a replay makes of them."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from sluicegate.flows.rehearsal.captures_file import read_captures, write_captures
from sluicegate.flows.rehearsal.shadow_replay import ReplayRequest, compare_captured
from sluicegate.registry.words.errors import InvalidDocument, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.bento.predictor.answer import summary
from sluicegate.services.client.rollouts import captures
from sluicegate.services.console.tokens import Tokens
from tests.doubles.ledger import MemoryLedger
from tests.plans import read_plan
from tests.unit.console_office import BEARER, MemoryDesk, Office

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
PATH = "/api/v1/models/m/captures"


def capture(rid: str, **changes: object) -> dict[str, object]:
    return {
        "rid": rid, "at": 1_764_417_600_123_456, "model": "m", "build": "1", "copy": False, "variation": "default",
        "audience": "new-york", "rollout": None, "arm": "stable", "unit": "u1", "headers": {"x-state": "NY"},
        "request": {"inputs": [{"x": 1.0, "carrier": "UA"}]}, "answer": [{"late": 0.25}],
        "outcomes": [{"name": "late", "row": 0, "value": True, "at": 1_764_417_700_000_000}],
    } | changes  # fmt: skip


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.REPORTER, False), (Role.VIEWER, False), (Role.ANALYST, True), (Role.OPERATOR, False),
        (Role.APPROVER, False), (Role.ADMIN, True),
    ],
)  # fmt: skip
def test_captured_requests_are_for_analysts_and_admins(role: Role, may: bool) -> None:
    office = Office(MemoryDesk(ledger=MemoryLedger()))
    token = Tokens(office.ledger, "x", lambda: NOW).give("somebody", role, actor="a")
    answer = office.client.get(PATH, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code == 200) is may


def test_an_analyst_reads_and_orders_nothing() -> None:
    assert [role for role in Role if Role.ANALYST.may(role)] == [Role.VIEWER, Role.ANALYST]


def test_the_api_hands_on_which_are_wanted_and_refuses_what_it_does_not_know() -> None:
    desk = MemoryDesk(ledger=MemoryLedger())
    client = Office(desk).client
    query = {"build": "2", "since": "5", "until": "9", "after": "7:2:a", "limit": "3"}
    assert client.get(PATH, headers=BEARER, params=query).json() == {"captures": [{"rid": "a"}], "next_after": None}
    assert desk.wanted == {"model": "m", "build": "2", "since": 5, "until": 9, "after": "7:2:a", "limit": 3}
    assert client.get(PATH, headers=BEARER, params={"limit": "1001"}).status_code == 422
    assert client.get(PATH, headers=BEARER, params={"bulid": "1"}).status_code == 422


def test_the_client_asks_for_a_stretch() -> None:
    ask = captures("a/b", "2", datetime(2026, 1, 1, tzinfo=UTC), None, "7:2:a")
    url = httpx.URL(ask.path)
    assert url.raw_path.startswith(b"/api/v1/models/a%2Fb/captures?")
    assert dict(url.params) == {"since": "1767225600000000", "build": "2", "after": "7:2:a"}


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["captures.parquet", "captures.jsonl"])
def test_what_was_exported_is_replayed_and_copies_are_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    pages = [[capture("a"), capture("b", copy=True, build="2")], [], [capture("c", headers={}, outcomes=[])]]
    assert write_captures(pages, path) == 3
    first, last = read_captures(path)
    assert (first.rid, first.at, dict(first.headers)) == ("a", 1_764_417_600_123_456, {"x-state": "NY"})
    assert json.loads(first.body) == capture("a")["request"]
    assert first.answer == [{"late": 0.25}]
    assert (last.rid, dict(last.headers)) == ("c", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parquet_holds_the_same_with_a_column_for_each_part(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_captures([[capture("a")]], tmp_path / "c.parquet")
    (row,) = parquet.read_table(tmp_path / "c.parquet").to_pylist()
    told = capture("a")
    assert {name: row[name] for name in ("rid", "build", "audience", "unit", "arm")} == {
        name: told[name] for name in ("rid", "build", "audience", "unit", "arm")
    }
    assert dict(row["headers"]) == {"x-state": "NY"}
    assert json.loads(row["request"]) == told["request"]
    (outcome,) = row["outcomes"]
    assert (outcome["name"], outcome["row"], json.loads(outcome["value"])) == ("late", 0, True)


def test_lines_hold_everything_in_json(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write_captures([[capture("a")]], path)
    assert json.loads(path.read_text()) == capture("a")


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    def broken() -> object:
        yield [capture("a")]
        raise RuntimeError("the console went away")

    (tmp_path / name).write_text("of yesterday")
    with pytest.raises(RuntimeError):
        write_captures(broken(), tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "of yesterday"


def test_a_file_that_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(UsageError, match=r"bad\.parquet cannot be read as captures.*sluice captures export"):
        list(read_captures(tmp_path / "bad.parquet"))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        list(read_captures(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_captures([[capture("a")]], tmp_path / "none" / "c.jsonl")


# --- replayed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "its"),
    [
        ([{"late": 0.1}] * 40, [{"late": 0.1}] * 39 + [{"late": 0.9}]),
        ([{"text": "word " * 1000}], [{"text": "word " * 999 + "other "}]),
    ],
    ids=["more than 32 rows", "more than 2 KiB"],
)
def test_long_answers_are_compared_to_their_end_and_by_slices(
    tmp_path: Path, mine: list[dict[str, object]], its: list[dict[str, object]]
) -> None:
    path = tmp_path / "c.parquet"
    asked = [capture(str(n), answer=mine, headers={"x-state": "NY" if n % 2 else "TX"}) for n in range(8)]
    write_captures([asked], path)
    assert "truncated" in summary(its)

    def candidate(body: bytes) -> tuple[int, str | None]:
        return 200, summary(its, whole=True)

    request = ReplayRequest(model="m", requests_file=path, slices=("x-state",))
    view = compare_captured(
        read_captures(path), candidate=candidate, stable=None, kinds={}, request=request, versions=("captured", "2"),
        timer=lambda: 0.0,
    )  # fmt: skip
    assert view.coverage.pairs == {"differ": 8}
    assert sorted(each.slice for each in view.slices) == ["x-state=NY", "x-state=TX"]


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capture", "says"),
    [
        ("{features: full, headers: [Authorization]}", "authorization holds credentials"),
        ("{headers: [x-state]}", "x-state would be written beside bodies, but none are written"),
        ("{features: full, headers: ['x state']}", "is not a valid name"),
    ],
)
def test_headers_that_must_not_or_cannot_be_written_are_refused(capture: str, says: str) -> None:
    text = f"kind: plan\nmodel: m\nserve: {{capture: {capture}}}\nsteps: [{{weight: 10}}]\n"
    with pytest.raises(InvalidDocument) as refused:
        read_plan(text, "plan.yaml")
    assert says in str(refused.value)
