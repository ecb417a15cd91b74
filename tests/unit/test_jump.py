"""Jump: an approver takes a rollout to another step; what is skipped is on record; less weight is never refused."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.stages.memory import _tags, _weights
from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.certified_plans import Tried, certificate
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Jump, Order, SeenRollout
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.rollout.decision import Choice
from sluicegate.registry.rollout.facts import Checked, Jumped, Party
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import Forbidden, IllegalMove, PreconditionFailed, Refused, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.report.markdown import markdown
from tests import giving as orders
from tests.acceptance.given import PLAN, Given
from tests.doubles.ledger import MemoryLedger
from tests.unit.console_office import BEARER, MemoryDesk, Office
from tests.unit.test_console_pages import signed_in

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs/how-to/abort-pause-approve-rollback.md"


def at_the_first_step(**plan: object) -> Given:
    given = Given(PLAN | plan)
    given.ticks()
    given.serves()
    assert given.rollout.weight == 1000
    return given


def jump(given: Given, step: int, *, back: bool = False, **order: object) -> Rollout:
    """To a step, from 0, as an approver called ada."""
    words = {"actor": "ada", "cause": "cli", "role": Role.APPROVER, "reason": "the fair is on"} | order
    give(given.ledger, Order(act=Jump(rollout=given.name, step=step, back=back), **words), given.now)
    return given.rollout


# --- on --------------------------------------------------------------------------------------------------------------


def test_on_past_gates_which_the_record_says_and_gates_go_on_from_there() -> None:
    given = at_the_first_step()
    after = jump(given, 2)
    assert (after.step, after.weight, after.phase) == (2, 5000, Phase.RUNNING)
    said = timeline(given.ledger.entries(given.name))[-1]
    assert said.text == (
        "jumped from step 1 to step 3: 50 % of requests; the gates, checks and approvals of steps 1 to 2 were skipped"
    )
    assert (said.actor, said.why, said.before, said.after) == ("ada", "the fair is on", 10.0, 50.0)
    assert given.ticks().decision.choice is Choice.HOLD, "a jump promotes nobody"
    given.runs(60_000, until=10_000)
    assert given.rollout.phase in (Phase.BAKING, Phase.ENDED)
    assert given.rollout.took_over


def test_a_worse_candidate_is_stopped_after_a_jump_as_before() -> None:
    given = Given(candidate=1.6)
    given.ticks()
    given.serves()
    jump(given, 2)
    given.runs(20_000)
    assert given.rollout.ending == "aborted"


def test_report_markdown_and_mlflow_say_what_was_skipped() -> None:
    given = at_the_first_step()
    jump(given, 2)
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert [(step.state, step.by) for step in report.steps] == [
        ("ended early", "ada"), ("skipped", "ada"), ("under way", ""),
    ]  # fmt: skip
    assert "| 2 | 25 % |" in markdown(report)
    assert "**skipped**: the fair is on" in markdown(report)
    tags = _tags(given.rollout, report)
    assert "steps 1 to 2 were skipped (by ada: the fair is on)" in tags["sluice.jumps"]
    assert "**skipped**" in tags["mlflow.note.content"]
    assert [each.value for each in _weights(given.ledger.entries(given.name))] == [10.0, 50.0]


def test_without_a_jump_mlflow_is_told_of_none() -> None:
    given = at_the_first_step()
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert "sluice.jumps" not in _tags(given.rollout, report)


def test_an_approval_that_is_waited_for_is_skipped_too() -> None:
    given = at_the_first_step(gates=[], metrics={}, guardrails=[], steps=[{"weight": 10}, {"weight": 50}])
    assert given.ticks().decision.person
    assert jump(given, 1).weight == 5000
    assert given.ticks().decision.person is False, "the weight is not in force yet"
    given.serves()
    assert given.ticks().decision.person, "the last step wants its own approval"


# --- back ------------------------------------------------------------------------------------------------------------


def test_back_lowers_the_weight_and_goes_on_from_there() -> None:
    given = at_the_first_step()
    jump(given, 2)
    given.serves()
    after = jump(given, 0, back=True)
    assert (after.step, after.weight, after.step_observed_at) == (0, 1000, None)
    said = timeline(given.ledger.entries(given.name))[-1]
    assert said.text == "jumped back from step 3 to step 1: 10 % of requests"
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert [step.state for step in report.steps] == ["under way", "skipped", "ended early"]
    given.runs(60_000, until=2500)
    assert given.rollout.step == 1


def test_back_in_a_pause_lowers_the_weight_and_stays_paused() -> None:
    given = at_the_first_step()
    jump(given, 2)
    orders.pause(given.ledger, given.name, actor="ada", reason="odd", now=given.now)
    after = jump(given, 1, back=True)
    assert (after.weight, after.phase) == (2500, Phase.PAUSED)
    given.serves()
    orders.resume(given.ledger, given.name, actor="ada", reason="so", now=given.now)
    assert (given.rollout.step, given.rollout.phase) == (1, Phase.RUNNING)


def test_a_step_that_it_comes_back_to_wants_its_approval_and_its_check_anew() -> None:
    steps = [{"weight": 10, "approval": True, "check": {"deployment": "a/b"}}, {"weight": 50}]
    given = at_the_first_step(gates=[], metrics={}, guardrails=[], steps=steps)
    yes = Checked(step=0, answer="yes", actor="a/b", reason="good")
    orders.append(given.ledger, given.name, lambda _: yes, given.now)
    orders.approve(given.ledger, given.name, actor="ada", reason="good", now=given.now)
    given.ticks()
    assert given.rollout.step == 1
    jump(given, 0, back=True)
    given.serves()
    assert given.rollout.times_checked(0) == 1, "the next question has a name of its own"
    assert given.ticks().decision.asks
    orders.append(given.ledger, given.name, lambda _: yes, given.now)
    assert given.ticks().decision.person
    assert given.rollout.step == 0


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(given: Given, error: type[Exception], says: str, fix: str, step: int, **how: object) -> None:
    before = given.ledger.position()
    with pytest.raises(error) as raised:
        jump(given, step, **how)
    assert says in str(raised.value)
    assert fix in str(raised.value)
    assert given.ledger.position() == before, "a refused order leaves no trace"


@pytest.mark.parametrize("step", [-1, 3, 99])
def test_out_of_range(step: int) -> None:
    says, fix = f"has no step {step + 1}", "its steps are 1 (10 %), 2 (25 %), 3 (50 %)"
    refused(at_the_first_step(), UsageError, says, fix, step)


def test_who_wanted_more_never_gets_less_because_the_order_came_late() -> None:
    given = at_the_first_step()
    jump(given, 2)
    refused(given, IllegalMove, "is at step 3 (50 %), past step 2 (25 %)", "--to-step 2 --back", 1)


def test_who_wanted_less_never_gets_more_because_the_order_came_late() -> None:
    refused(at_the_first_step(), IllegalMove, "step 2 (25 %) is a later one", "--to-step 2", 1, back=True)


def test_twice_is_once_and_a_key_is_known_after_others_went_on() -> None:
    given = at_the_first_step()
    first = jump(given, 1, key="k")
    assert jump(given, 1).seq == first.seq
    jump(given, 2)
    assert jump(given, 1, key="k").step == 2


def test_on_what_was_seen_before_somebody_else_acted_it_is_refused() -> None:
    given = at_the_first_step()
    seen = SeenRollout(rollout=given.name, seq=given.rollout.seq)
    orders.pause(given.ledger, given.name, actor="eve", reason="odd", now=given.now)
    orders.resume(given.ledger, given.name, actor="eve", reason="no", now=given.now)
    refused(given, PreconditionFailed, "has changed since you looked", "read it again", 1, seen=seen)


def test_in_a_pause_the_weight_does_not_grow() -> None:
    given = at_the_first_step()
    orders.pause(given.ledger, given.name, actor="ada", reason="odd", now=given.now)
    refused(given, Refused, "is paused (odd)", "sluice rollout resume", 1)


def test_a_certified_plan_goes_no_way_that_was_not_certified_but_back_it_may() -> None:
    certified = Plan.model_validate(PLAN | {"certified": True})
    ledger = MemoryLedger()
    tried = [Tried(metric="errors", name="planted harm", ok=True, reason="is caught")]
    ledger.apply(certificate("delays", certified.digest, tried, actor="grace", at=NOW))
    other = Given(PLAN | {"certified": True}, ledger=ledger)
    other.ticks()
    other.serves()
    refused(other, Refused, "must be certified", "sluice rollout promote", 1)
    other.runs(60_000, until=2500)
    assert other.rollout.step == 1
    assert jump(other, 0, back=True).weight == 1000


def test_not_through_a_freeze_but_back_it_may() -> None:
    given = at_the_first_step()
    jump(given, 1)
    window = {"from": "2025-12-31", "until": "2026-02-01"}
    body = {"kind": "freeze", "name": "fair", "models": ["*"], "reason": "the fair", "windows": [window]}
    given.ledger.apply(Applied(kind="freeze", name="fair", body=body, digest="d", actor="ada", at=given.now))
    refused(given, Refused, "fair", "override-freeze", 2)
    assert jump(given, 0, back=True).weight == 1000


def test_an_operator_may_not() -> None:
    with pytest.raises(Forbidden, match="to jump to another step needs the role approver"):
        jump(at_the_first_step(), 1, role=Role.OPERATOR)


@pytest.mark.parametrize("party", [Party.PREFECT, Party.POLICY, Party.CATALOG])
def test_only_a_named_person_may(party: Party) -> None:
    refused(at_the_first_step(), Refused, "only a named person", "sluice rollout jump", 1, party=party)


@pytest.mark.parametrize(
    "jumped",
    [
        {"step": 2, "weight": 4000}, {"step": 3, "weight": 5000}, {"step": 0, "weight": 1000}, {"former": 1},
        {"actor": ""}, {"party": Party.POLICY}, {"step": -1, "weight": 0},
    ],
)  # fmt: skip
def test_the_record_takes_no_jump_that_the_plan_has_not(jumped: dict[str, object]) -> None:
    given = at_the_first_step()
    fact = Jumped(**({"step": 2, "weight": 5000, "former": 0, "actor": "ada", "reason": "r"} | jumped))
    with pytest.raises(IllegalMove):
        orders.append(given.ledger, given.name, lambda _: fact, given.now)


def test_the_keeper_never_jumps_and_ticks_on_after_one() -> None:
    given = at_the_first_step()
    jump(given, 1)
    assert given.ticks(Authority.STOP).decision.choice is Choice.HOLD


# --- the doors -------------------------------------------------------------------------------------------------------


def test_by_the_api_and_by_the_page() -> None:
    office = Office(MemoryDesk())
    name = office.running().id
    path = f"/api/v1/rollouts/{name}/jump"
    late = office.client.post(path, json={"step": 1, "back": True}, headers=BEARER)
    assert late.status_code == 200, "it is there already"
    assert office.client.post(path, json={"step": 9}, headers=BEARER).status_code == 422
    after = office.client.post(path, json={"step": 2, "reason": "the fair"}, headers=BEARER)
    assert (after.status_code, after.json()["step"], after.json()["weight"]) == (200, 2, 50.0)
    turned = office.client.post(path, json={"step": 1}, headers=BEARER)
    assert turned.status_code == 409
    assert "--back" in turned.json()["fix"]
    assert office.client.post(path, json={}, headers=BEARER).status_code == 422


def test_by_a_form_of_the_page_which_offers_the_steps_that_there_are() -> None:
    office = signed_in()
    name = office.running().id
    page = office.client.get(f"/rollouts/{name}").text
    assert '<option value="2">step 2: 50 %</option>' in page
    form = re.search(rf'action="(/rollouts/{name}/jump[^"]*)"(.*?)</form>', page, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2])) | {"step": "2", "reason": "the fair"}
    office.client.post(html.unescape(form[1]), data=fields)
    assert office.ledger.rollout(name).weight == 5000
    page = office.client.get(f"/rollouts/{name}").text
    assert '<option value="back to 1">back to step 1: 10 %</option>' in page
    stale = office.client.post(html.unescape(form[1]), data=fields | {"step": "back to 1", "key": "k2"}).text
    assert "has changed since you looked" in stale
    form = re.search(rf'action="(/rollouts/{name}/jump[^"]*)"(.*?)</form>', page, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2])) | {"step": "back to 1"}
    office.client.post(html.unescape(form[1]), data=fields)
    assert office.ledger.rollout(name).weight == 1000


def test_the_how_to_shows_what_the_report_says() -> None:
    section = PAGE.read_text("utf-8").split("## Jump to another step")[1]
    given = at_the_first_step()
    jump(given, 2)
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    said = [f"{each.number}  {each.weight:g} %  {each.state}  {each.why}".rstrip() for each in report.steps]
    said.append(f"{report.timeline[-1].text}  (by ada: the fair is on)")
    assert "\n".join(said) == section.split("```text\n")[1].split("\n```")[0]
