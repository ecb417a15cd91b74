"""The promises of Calls, on every adapter: memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from sluicegate.registry.ledger.calls import KEY_LIFE, Call, Calls
from sluicegate.registry.ledger.sql_calls import SqlCalls
from tests.contract.ledgers import START
from tests.doubles.calls import MemoryCalls


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def calls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Calls]:
    if request.param == "memory":
        yield MemoryCalls()
        return
    is_file = request.param == "sqlite"
    opened = SqlCalls(f"sqlite:///{tmp_path / 'ledger.db'}" if is_file else str(request.getfixturevalue("database")))
    try:
        yield opened
    finally:
        opened.close()


def call(key: str | None = None, *, actor: str = "ada", digest: str = "d", later: timedelta = timedelta(0)) -> Call:
    return Call(
        at=START + later, actor=actor, role="operator", method="POST", path="/p", digest=digest, key=key
    )  # fmt: skip


def test_a_key_stands_for_its_first_call_and_that_calls_answer(calls: Calls) -> None:
    first, is_first = calls.begin(call("k"))
    assert is_first
    assert (first.status, first.answer) == (None, None)
    calls.finish(first.number, 201, '{"id":"r"}')
    again, is_first = calls.begin(call("k", digest="other", later=timedelta(hours=1)))
    assert not is_first
    assert (again.number, again.digest, again.status, again.answer) == (first.number, "d", 201, '{"id":"r"}')


def test_a_key_is_its_actors_own_and_stands_for_a_day(calls: Calls) -> None:
    first, _ = calls.begin(call("k"))
    assert calls.begin(call("k", actor="bob"))[0].number != first.number
    assert calls.begin(call("k", later=KEY_LIFE - timedelta(seconds=1)))[0].number == first.number
    assert calls.begin(call("k", later=KEY_LIFE + timedelta(seconds=1)))[0].number != first.number


def test_without_a_key_each_call_is_its_own_and_its_answers_body_is_not_kept(calls: Calls) -> None:
    (first, _), (second, _) = calls.begin(call()), calls.begin(call())
    assert first.number != second.number
    calls.finish(first.number, 409, '{"title":"Refused"}')
    assert [(each.number, each.status, each.answer) for each in calls.latest(limit=10)] == [
        (second.number, None, None),
        (first.number, 409, None),
    ]


def test_the_latest_come_page_by_page(calls: Calls) -> None:
    numbers = [calls.begin(call())[0].number for _ in range(5)]
    page = calls.latest(limit=2)
    assert [each.number for each in page] == numbers[:2:-1]
    assert [each.number for each in calls.latest(limit=9, before=page[-1].number)] == numbers[2::-1]


def test_of_many_at_once_with_one_key_there_is_one(calls: Calls) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = set(pool.map(lambda _: calls.begin(call("k"))[0].number, range(24)))
    assert len(numbers) == 1
