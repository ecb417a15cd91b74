"""Wrong tokens wait, are written down, and never keep a right one out; who signs out is out everywhere."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from sluicegate.services.console import strangers
from sluicegate.services.console.app import create
from sluicegate.services.console.sessions import LIFE, Sessions
from sluicegate.services.console.wrong_tries import FORGOTTEN, FREE, LONGEST, WAITING, WrongTries
from tests.doubles.ledger import MemoryLedger
from tests.unit.console_office import BEARER, NOW, TOKEN, Office


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each answer waited; nobody really waits."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(strangers.asyncio, "sleep", sleep)
    return waited


def test_each_further_wrong_try_waits_longer_by_address_and_by_name() -> None:
    now = 0.0
    tries = WrongTries(lambda: now)
    waits = [tries.count("address a", "name ada")[1] for _ in range(12)]
    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE:] == sorted(waits[FREE:])
    assert waits[-1] == LONGEST
    assert tries.count("address b", "name ada")[1] == LONGEST, "another address, the same name"
    assert tries.count("address c", "name bob")[1] == 0.0
    now = FORGOTTEN + 1
    assert tries.count("address a", "name ada") == (1, 0.0)


def test_only_so_many_wait_at_once() -> None:
    tries = WrongTries(lambda: 0.0)
    rooms = [tries.room_to_wait() for _ in range(WAITING + 1)]
    assert [room.__enter__() for room in rooms] == [True] * WAITING + [False]
    for room in rooms:
        room.__exit__(None, None, None)
    with tries.room_to_wait() as has_room:
        assert has_room


def test_wrong_logins_and_tokens_wait_and_are_in_the_audit_and_the_right_one_does_not_wait(
    office: Office, waits: list[float]
) -> None:
    for _ in range(6):
        assert office.client.post("/login", data={"token": "wrong", "name": "eve"}).status_code == 401
    assert office.client.get("/api/v1/rollouts", headers={"authorization": "Bearer guess"}).status_code == 401
    assert waits == [0.0] * FREE + [0.5, 1.0, 2.0, 4.0]
    latest = office.desk.calls.latest(limit=20)
    assert [(call.actor, call.path, call.status) for call in latest][-1] == ("eve", "/login", 401)
    assert len(latest) == 7
    assert office.client.get("/api/v1/rollouts", headers=BEARER).status_code == 200
    assert office.client.post("/login", data={"token": TOKEN, "name": "ada"}).status_code == 200
    assert len(waits) == 7


def test_where_too_many_wait_already_the_next_is_turned_away(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.services.console.wrong_tries.WAITING", 0)
    refused = office.client.post("/login", data={"token": "wrong"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert office.client.post("/login", data={"token": TOKEN}).status_code == 200


def test_a_copy_of_the_cookie_is_worth_nothing_after_signing_out(office: Office) -> None:
    client = office.client
    client.post("/login", data={"token": TOKEN, "name": "ada"})
    stolen = dict(client.cookies)
    form = client.get("/").text.split("/logout?form=")[1].split('"')[0]
    client.post(f"/logout?form={form}")
    for app in (client.app, create(office.desk, hosts=["127.0.0.1"])):  # the same console, and one restarted
        thief = TestClient(app, base_url="http://127.0.0.1", cookies=stolen)
        assert thief.get("/api/v1/rollouts").status_code == 401


def test_a_session_ends_by_itself_however_often_it_is_used() -> None:
    now = NOW
    sessions = Sessions(MemoryLedger(), lambda: now)
    cookie: dict[str, object] = {}
    sessions.open(cookie, TOKEN, "ada")
    assert sessions.is_open(cookie)
    now = NOW + LIFE - timedelta(seconds=1)
    assert sessions.is_open(cookie)
    now = NOW + LIFE
    assert not sessions.is_open(cookie)


def test_what_has_ended_by_itself_is_not_kept_for_ever() -> None:
    now, ledger = NOW, MemoryLedger()
    sessions = Sessions(ledger, lambda: now)
    for _ in range(3):
        cookie: dict[str, object] = {}
        sessions.open(cookie, TOKEN, "ada")
        sessions.end(cookie)
        now += LIFE
    assert len(ledger.recall("ended sessions of the console") or {}) == 1
