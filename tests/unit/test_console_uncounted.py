"""Pages, reports and orders while the telemetry is away, broken, or hangs: the ledger's part is shown all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Route

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.console.in_time import InTime
from tests.acceptance.given import PLAN, Given
from tests.experiment_lab import Lab
from tests.unit.console_office import BEARER, TOKEN, LabDesk, Office

SAID = "cannot be counted now"
FROM_THE_LEDGER_ALONE = {
    "/rollouts", "/rollouts/{id}/logs", "/models/{model}/builds/{version}/run", "/experiments", "/audiences",
    "/activity", "/search", "/glossary", "/access", "/parts.css", "/login",
}  # fmt: skip
"""Pages that show nothing of the telemetry, and so need not say that it is missing."""


class Away(LabDesk):
    """A desk whose telemetry cannot be read."""

    def _fails(self, *_: object, **__: object) -> Any:
        raise Unreachable("the telemetry cannot be used now: disk I/O error.", fix="find out why: sluice doctor")

    requests = generated = errors = evidence = overview = pulse = counts = captures = _fails


class Hanging(LabDesk):
    """A desk whose telemetry does not answer before the test is over."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.in_time = InTime(0.05)
        self.over_now = threading.Event()

    def _hangs(self, *_: object, **__: object) -> Any:
        assert self.over_now.wait(20), "a page waited for the telemetry"
        raise Unreachable("it was too late.")

    requests = generated = errors = evidence = overview = pulse = counts = captures = _hangs


@pytest.fixture(params=[Away, Hanging])
def office(request: pytest.FixtureRequest) -> Iterator[Office]:
    """A console over an experiment under way and a canary at its first step."""
    desk = request.param(Lab().begins().runs(500))
    office = Office(desk)
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    yield office
    if isinstance(desk, Hanging):
        desk.over_now.set()


def canary(office: Office) -> Rollout:
    """A canary of another model, at its second step."""
    return Given(PLAN, ledger=office.ledger).runs(20_000, until=5000).rollout


def test_every_page_shows_what_the_ledger_knows_and_says_what_is_missing(office: Office) -> None:
    tried = canary(office)
    experiment = next(each.requested.experiment for each in office.ledger.rollouts() if each.is_comparison)
    ids = {"/rollouts": tried.id, "/experiments": experiment}
    routes = [each for each in office.client.app.routes if isinstance(each, Route)]  # type: ignore[attr-defined]
    pages = [each.path for each in routes if "GET" in (each.methods or ()) and not each.path.startswith("/api/")]
    assert {"/", "/health", "/rollouts/compare", "/rollouts/{id}/report"} <= set(pages)
    for path in sorted({*pages} - {"/healthz", "/metrics"}):
        words = {"id": next((name for start, name in ids.items() if path.startswith(start)), ""), "model": "m"}
        query = {"id": [tried.id, office.ledger.rollouts()[0].id]} if path == "/rollouts/compare" else None
        shown = office.client.get(path.format(version="1", **words), params=query)
        assert shown.status_code < 500, f"{path}: {shown.text}"
        said = SAID in shown.text or "outcomes are missing" in shown.text or "counters cannot be read" in shown.text
        hangs_beside = path == "/health" and "no answer yet" in shown.text
        assert said or hangs_beside or path in FROM_THE_LEDGER_ALONE, path
        assert "Nothing is served yet" not in shown.text


def test_the_split_of_requests_is_the_desired_one_of_the_ledger(office: Office) -> None:
    tried = canary(office)
    shown = office.client.get(f"/models/{tried.requested.model}").text
    assert 'v2</a> <span class="quiet small">candidate</span>' in shown
    answer = office.client.get(f"/api/v1/overview?model={tried.requested.model}", headers=BEARER).json()
    assert {(row["arm"], row["desired"], row["observed"]) for row in answer["served"]} >= {("candidate", 50.0, None)}
    assert "the telemetry" in answer["unread"]


def test_a_report_is_made_and_an_abort_works(office: Office) -> None:
    path = f"/api/v1/rollouts/{canary(office).id}"
    answer = office.client.get(f"{path}/report?html=1", headers=BEARER)
    assert answer.status_code == 200
    assert "outcomes are missing" in answer.json()["html"]
    assert 'details class="act abort' in office.client.get(path.removeprefix("/api/v1")).text
    answer = office.client.post(f"{path}/abort", json={"reason": "x"}, headers=BEARER)
    assert (answer.status_code, answer.json()["ending"]) == (200, "aborted")


def test_what_hangs_is_asked_once_and_others_are_told_at_once() -> None:
    now, over, asked = [0.0], threading.Event(), list[str]()

    def hang(name: str) -> str:
        asked.append(name)
        over.wait(20)
        return name

    in_time = InTime(0.05, lambda: now[0])
    with pytest.raises(Unreachable, match="has not answered"):
        in_time(lambda: hang("first"))
    now[0] = 7.0
    with pytest.raises(Unreachable, match="for 7 s"):
        in_time(lambda: hang("second"))
    assert asked == ["first"]
    over.set()
    while in_time._since:
        threading.Event().wait(0.01)
    assert InTime(20)(lambda: hang("third")) == in_time(lambda: hang("third"))


def test_a_question_that_fails_or_times_out_by_itself_says_so() -> None:
    def fails(error: Exception) -> None:
        raise error

    for error in (TimeoutError("of its own"), Unreachable("away"), ValueError("a mistake")):
        with pytest.raises(type(error), match=str(error)):
            InTime(20)(lambda error=error: fails(error))  # type: ignore[misc]
