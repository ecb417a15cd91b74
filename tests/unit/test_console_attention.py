"""What needs a person, on the overview and the pages it leads to: held up, silent, a goal reached; and its orders."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from starlette.testclient import TestClient

from sluicegate.registry.ledger.keeper_notes import note_delay, note_stage, note_undriven
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.orders.order import NO_REASON
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.pulse import MINUTES, QUIET, Pulse, pulse, silence
from sluicegate.registry.report.readout import WAITS
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Judged, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.launching import HELD_UP, HELD_UP_BUILD, Reached, Stage, launch_held_up
from sluicegate.registry.words.obstacle import Hindrance, Obstacle, undriven
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.effects import offers, possible
from tests import giving as orders
from tests.acceptance.given import Given
from tests.experiment_lab import EQUAL, Lab, plan
from tests.giving import Giver
from tests.unit.console_office import BEARER, NOW, MemoryDesk, Office
from tests.unit.test_console_experiments import name, signed_in
from tests.unit.test_console_pages import signed_in as office_of
from tests.unit.test_console_pages import text

NEW = Plan.model_validate({"model": "new", "steps": [{"weight": 10}]})
MOMENT = timedelta(seconds=1)


class Clocked(MemoryDesk):
    """A desk whose time the test sets, and whose models had these requests by minute."""

    now = NOW
    requests_by_minute: tuple[int, ...] = ()

    def clock(self) -> datetime:
        return self.now

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        minutes = self.requests_by_minute
        return dict.fromkeys(models, Pulse(requests=minutes, failed=(0,) * len(minutes)))


@pytest.fixture
def launching() -> tuple[Office, Clocked, Rollout]:
    """A first build that is being launched since NOW."""
    desk = Clocked()
    office = office_of(desk)
    started = orders.deploy(desk.ledger, plan=NEW, version="1", request=Giver(actor="ada", cause="cli"), now=NOW)
    return office, desk, started.rollout


def needs_you(client: TestClient) -> str:
    """What a reader sees on the overview under this heading."""
    found = re.search(r'<h2 id="waiting">Needs you.*?</section>', client.get("/").text, re.DOTALL)
    return text(found[0]) if found else ""


def test_a_launch_that_prefect_has_held_up_for_long_needs_you_with_its_reason_and_fix(
    launching: tuple[Office, Clocked, Rollout],
) -> None:
    office, desk, rollout = launching
    desk.now = NOW + HELD_UP - MOMENT
    assert needs_you(office.client) == ""
    desk.now = NOW + HELD_UP
    said = "Held up: waiting for Prefect to start the driver, 5m so far. To find out why: sluice doctor"
    assert said in needs_you(office.client)
    assert said in text(office.client.get(f"/rollouts/{rollout.id}").text)
    refused = Hindrance(obstacle=Obstacle.DENIED, detail="Prefect refuses the credentials (401)")
    note = undriven(None, refused, NOW)
    assert note is not None
    note_undriven(desk.ledger, {rollout.id: note})
    assert "Held up: no driver is at work since 2026-01-01 00:00:00 UTC: Prefect refuses" in needs_you(office.client)
    assert "Fix: set PREFECT_API_AUTH_STRING" in needs_you(office.client)
    assert "Abort…" in needs_you(office.client)


def test_of_many_that_are_held_up_the_newest_are_listed(
    launching: tuple[Office, Clocked, Rollout], monkeypatch: pytest.MonkeyPatch
) -> None:
    office, desk, _ = launching
    other, who = NEW.model_copy(update={"model": "newer"}), Giver(actor="ada", cause="cli")
    orders.deploy(desk.ledger, plan=other, version="1", request=who, now=NOW)
    desk.now = NOW + HELD_UP
    monkeypatch.setattr("sluicegate.services.console.pages.overview.ROLLOUTS", 1)
    shown = needs_you(office.client)
    assert shown.startswith("Needs you 2 ")
    assert shown.count("Held up:") == 1
    assert "The newest 1 of 2 rollouts that need somebody." in shown
    assert "new v1" not in text(office.client.get("/").text), "nor under what is in progress"


def test_a_service_that_does_not_become_ready_and_a_slow_packing_need_you(
    launching: tuple[Office, Clocked, Rollout],
) -> None:
    office, desk, rollout = launching
    note_stage(desk.ledger, rollout.id, Stage.PACKING, NOW)
    desk.now = NOW + HELD_UP_BUILD - MOMENT
    assert needs_you(office.client) == ""
    desk.now = NOW + HELD_UP_BUILD
    assert f"Held up: packing for 20m. To find out why: sluice logs {rollout.id}" in needs_you(office.client)
    note_stage(desk.ledger, rollout.id, Stage.PROBING, desk.now)
    assert needs_you(office.client) == ""
    note_delay(desk.ledger, rollout.id, "it answers 503")
    desk.now += HELD_UP
    assert "Held up: probing for 5m: it answers 503 (before that: packing 20m)." in needs_you(office.client)


@pytest.mark.parametrize("stage", list(Stage))
def test_each_stage_of_a_launch_has_its_patience(stage: Stage) -> None:
    is_short = stage in (Stage.STARTING, Stage.PROBING)
    most = HELD_UP if is_short else HELD_UP_BUILD
    reached = (Reached(stage=stage, at=NOW),)
    assert launch_held_up("r", reached, NOW, NOW + most - MOMENT) is None
    assert launch_held_up("r", reached, NOW, NOW + most) is not None


def test_a_rollout_that_has_a_driver_again_needs_nobody(launching: tuple[Office, Clocked, Rollout]) -> None:
    _, desk, rollout = launching
    note = undriven(None, Hindrance(obstacle=Obstacle.UNREACHABLE, detail="Prefect does not answer"), NOW)
    assert note is not None
    note_undriven(desk.ledger, {rollout.id: note})
    [record] = read_for_views(desk.ledger, [rollout])
    later = NOW + HELD_UP
    assert rollout_view(record, later).held_up
    assert rollout_view(record, later - MOMENT).held_up is None
    paused = replace(record, rollout=replace(rollout, phase=Phase.PAUSED))
    assert rollout_view(paused, later).held_up is None, "who pauses it needs no driver"


def test_requests_that_have_stopped_are_said_on_the_overview_and_on_the_rollouts_page() -> None:
    given = Given().runs(20_000, until=5000)
    desk = Clocked(ledger=given.ledger)
    desk.now = given.now
    office = office_of(desk)
    pages = ("/", f"/rollouts/{given.name}")
    desk.requests_by_minute = (9,) * (MINUTES - QUIET + 1) + (0,) * (QUIET - 1)
    assert not any("No request has come" in office.client.get(page).text for page in pages)
    desk.requests_by_minute = (9, 9, 9, *[0] * 12)
    said = "No request has come to delays for 12 minutes, so there is nothing new to judge."
    assert all(said in text(office.client.get(page).text) for page in pages)
    assert office.client.get("/api/v1/overview", headers=BEARER).json()["silences"] == {given.name: said}
    desk.requests_by_minute = (0,) * MINUTES
    assert "for 15 minutes or longer, so" in office.client.get("/").text
    orders.abort(given.ledger, given.name, actor="ada", reason="enough", now=given.now)
    assert not any("No request has come" in office.client.get(page).text for page in pages)


def test_silence_is_not_said_of_requests_that_nobody_counts() -> None:
    given = Given().runs(20_000, until=5000)
    [record] = read_for_views(given.ledger, [given.rollout])
    view = rollout_view(record, given.now)
    quiet = pulse({}, 103)
    assert silence(view, quiet) is not None
    assert silence(replace(view, blind="the collector is away"), quiet) is None
    assert silence(replace(view, weight=0.0), quiet) is None, "it does not wait for requests"
    assert silence(view, None) is None


@pytest.fixture
def won() -> Lab:
    """An experiment that goes on, of which b has reached the goal."""
    return Lab(loss=EQUAL | {"b": 0.6}).begins().runs(6_000)


def form(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action, and its whole action."""
    found = re.search(rf'<form method="post" action="({action}\?form=[^"]+)">(.*?)</form>', page, re.DOTALL)
    assert found is not None
    return {"action": found[1]} | dict(re.findall(r'name="(\w+)" value="([^"]*)"', found[2]))


def test_an_experiment_whose_goal_is_reached_needs_you(won: Lab) -> None:
    client = signed_in(won)
    shown = needs_you(client)
    assert "m: b, c" not in shown
    assert "b (v2) reached the goal: loss is" in shown
    assert "release b, end the experiment without a change, or let it run on" in shown
    page = client.get("/").text
    places = re.findall(rf'href="/experiments/{name(won)}#([^"]+)"', page)
    assert places == ["release-b-effect", "end-effect"]
    experiment = client.get(f"/experiments/{name(won)}").text
    assert all(f'id="{place}"' in experiment for place in places), "the links lead somewhere"
    [decision] = client.get("/api/v1/overview", headers=BEARER).json()["decisions"]
    assert decision["rollout"] == won.comparison("b").id
    assert [decision[key] for key in ("experiment", "variation", "build", "is_over")] == [name(won), "b", "2", False]
    assert client.get("/api/v1/overview?model=other", headers=BEARER).json()["decisions"] == []
    undecided = signed_in(Lab().begins().runs(1_000))
    assert needs_you(undecided) == ""
    assert undecided.get("/api/v1/overview", headers=BEARER).json()["decisions"] == []


def test_a_variation_is_released_from_the_experiments_page(won: Lab) -> None:
    client = signed_in(won)
    page = client.get(f"/experiments/{name(won)}").text
    assert text(page).index("Release b…") < text(page).index("Release c…") < text(page).index("End without a change…")
    assert "Release b: v2 takes the place of v1 in default</button>" in page
    assert "To keep it running, do nothing" in page
    fields = form(page, f"/rollouts/{won.comparison('b').id}/promote")
    done = client.post(fields.pop("action"), data=fields | {"reason": "it won"})
    assert "replacement" in done.text
    placed = won.ledger.rollouts()[-1]
    assert (placed.requested.version, placed.requested.variation) == ("2", "default")
    assert {each.ending for each in won.group} == {Ending.CONCLUDED}
    won.readies(placed.id, "2")
    assert needs_you(client) == "", "the control has another build"
    assert "Release" not in client.get(f"/experiments/{name(won)}").text


def test_an_operator_may_end_an_experiment_and_not_release_a_variation(won: Lab) -> None:
    page = signed_in(won, Role.OPERATOR).get(f"/experiments/{name(won)}").text
    assert "End without a change…" in page
    assert "Release b…" not in page


def test_an_experiment_that_ended_by_itself_waits_a_week_for_a_decision_and_one_that_a_person_ended_does_not() -> None:
    lab = Lab(loss=EQUAL | {"b": 0.6}, plan=plan(variations={"default": 1, "b": 1})).begins().runs(20_000)
    assert all(each.ending is Ending.CONCLUDED for each in lab.group)
    client = signed_in(lab)
    assert "the experiment is over and default still has v1. Release b, or leave it" in needs_you(client)
    assert needs_you(client).count("End without") == 0
    lab.now += WAITS
    assert needs_you(client) == ""
    lab.now -= WAITS
    assert "Release b" in needs_you(client)
    lab.readies(orders.promote(lab.ledger, lab.comparison("b").id, actor="ada", reason="it won", now=lab.now).id, "2")
    assert needs_you(client) == "", "the control has another build"
    ended = Lab(loss=EQUAL | {"b": 0.6}).begins().runs(6_000)
    orders.conclude(ended.ledger, name(ended), actor="ada", reason="enough", now=ended.now)
    assert needs_you(signed_in(ended)) == "", "who ended it has decided"


def test_what_the_plan_promotes_by_itself_needs_nobody() -> None:
    lab = Lab(loss=EQUAL | {"b": 0.6}, plan=plan(then="promote")).begins().runs(6_000)
    assert lab.comparison("b").has_passed
    assert needs_you(signed_in(lab)) == ""


def test_each_button_says_what_it_does_before_and_after_it_is_opened() -> None:
    office = office_of()
    rollout = office.running()
    page = office.client.get(f"/rollouts/{rollout.id}").text
    shown = text(page)
    for offer in offers(rollout, possible(rollout), needs_person=True):
        assert f"{offer.name}… {offer.hint}" in shown
        assert f">{offer.name}: {offer.hint}</button>" in page
    assert "Approve step 1… then 50 % of requests go to v2" in shown
    assert "Abort… every request goes back to v1" in shown
    assert "Promote… every request goes to v2 now" in shown


@pytest.mark.parametrize("reason", ["", "   ", None])
def test_a_reason_that_is_not_given_is_said_to_be_missing(reason: str | None) -> None:
    office = office_of()
    rollout = office.running()
    page = office.client.get(f"/rollouts/{rollout.id}").text
    fields = form(page, f"/rollouts/{rollout.id}/pause")
    office.client.post(fields.pop("action"), data=fields | ({"reason": reason} if reason is not None else {}))
    assert office.ledger.rollout(rollout.id).reason == NO_REASON
    body = {"reason": reason} if reason is not None else {}
    office.client.post(f"/api/v1/rollouts/{rollout.id}/resume", json=body, headers=BEARER)
    assert office.ledger.rollout(rollout.id).reason == NO_REASON
    assert "Paused by" not in needs_you(office.client)


def test_a_gate_that_passed_at_an_earlier_step_is_marked_on_every_page_by_one_property() -> None:
    steps = [{"weight": 10}, {"weight": 50}]
    judged = {"metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "10%"}]}
    office = office_of(Clocked())
    rollout = office.running(Plan.model_validate({"model": "m", "steps": steps} | judged))
    passed = Judged(metric="errors", answer="pass", k=1, step=0, reason="errors are about equal")
    entered = StepEntered(step=1, weight=5000, actor="policy", reason="every gate passed")
    pages = ("/", "/rollouts", f"/rollouts/{rollout.id}", f"/rollouts/{rollout.id}/report")
    said = ("PASS at step 1", "not judged at this step yet", "at step 1; step 2 not judged yet", "at step 1; step 2")
    for fact, is_earlier in ((passed, False), (entered, True), (replace(passed, step=1), False)):
        office.ledger.append(rollout.id, office.ledger.rollout(rollout.id).seq + 1, fact, NOW)
        for page, words in zip(pages, said, strict=True):
            assert (words in text(office.client.get(page).text)) is is_earlier, (page, fact)
    view = office.client.get(f"/api/v1/rollouts/{rollout.id}", headers=BEARER).json()
    assert view["gates"][0]["must_pass_again"] is False
