"""Rules that watch, and rules that pause: what follows from their verdicts, and what a named person's override does."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Resume
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Judged, Party, Resumed
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import Forbidden, IllegalMove, Refused
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.roles import Role
from tests import giving as orders
from tests.acceptance.given import PLAN, Given

BAD = 0.1
ROOT = Path(__file__).parents[2]


def resumed(given: Given, *, role: Role = Role.APPROVER, party: Party = Party.PERSON) -> None:
    """anna resumes it, through some door."""
    act = Resume(rollout=given.name)
    give(given.ledger, Order(act=act, actor="anna", cause="cli", role=role, party=party, reason="mended"), given.now)


def plan(**errors: Any) -> dict[str, Any]:
    """One step, with a guardrail on errors that has these keys besides."""
    changed = copy.deepcopy(PLAN) | {"steps": [{"weight": 50}]}
    changed["guardrails"] = [{"metric": "errors", "alpha": 0.01, **errors}]
    return changed


def paused() -> Given:
    """A rollout that its guardrail on errors has paused."""
    given = Given(plan(then="pause"), errors=BAD, labels=False)
    given.ticks()
    while given.rollout.phase is Phase.RUNNING:
        given.runs(100)
    assert given.rollout.phase is Phase.PAUSED
    return given


def test_a_rule_that_watches_fails_and_stops_nothing() -> None:
    given = Given(plan(mode="watch"), errors=BAD).runs(20_000)
    assert given.rollout.judgements["errors"].answer == "fail"
    assert given.rollout.phase is Phase.BAKING  # the gate on log loss decided alone


def test_the_same_rule_that_decides_stops_it() -> None:
    assert Given(plan(), errors=BAD).runs(20_000).rollout.ending is Ending.ABORTED


def test_where_all_gates_watch_nothing_is_promoted_without_a_person() -> None:
    watching = plan() | {"gates": [{"metric": "log_loss", "alpha": 0.03, "margin": "5%", "mode": "watch"}]}
    given = Given(watching).runs(20_000)
    assert (given.rollout.phase, given.rollout.judgements["log_loss"].answer) == (Phase.RUNNING, "pass")
    assert "waiting for approval" in given.ticks().decision.reason


def test_a_gate_that_watches_shares_no_beta_with_earlier_tries() -> None:
    watching = plan() | {"gates": [{"metric": "log_loss", "alpha": 0.03, "margin": "5%", "mode": "watch"}]}
    given = Given(watching).runs(2_000)
    orders.abort(given.ledger, given.name, actor="ada", reason="later", now=given.now)
    again = orders.retry(given.ledger, given.name, actor="ada", reason="once more", now=given.now)
    assert {gate.beta for gate, _ in gates_of_attempt(given.ledger, again)} == {0.05}


def test_a_failure_that_pauses_keeps_the_weight_and_names_what_failed() -> None:
    given = paused()
    assert given.rollout.weight == 5000
    assert given.rollout.reason.startswith("errors failed: errors are")
    assert given.rollout.party is Party.POLICY


def test_a_failure_that_aborts_comes_before_one_that_pauses() -> None:
    given = Given(plan(then="pause"), errors=BAD, candidate=0.9).runs(20_000)  # log loss is far worse too
    while given.rollout.phase is Phase.PAUSED:
        given.runs(100)
    assert given.rollout.ending is Ending.ABORTED


def test_who_resumes_overrides_and_the_same_evidence_does_not_pause_again() -> None:
    given = paused()
    looks = len(given.ledger.looks(given.name, "errors"))
    resumed(given)
    fact = given.ledger.entries(given.name)[-1].fact
    assert isinstance(fact, Resumed)
    assert (fact.overrides, fact.actor) == (("errors",), "anna")
    for _ in range(5):
        given.serves()
        given.ticks()
    assert given.rollout.phase is Phase.RUNNING
    assert given.rollout.judgements["errors"].answer == "no_data"
    given.traffic.errors[Arm.CANDIDATE] = 0.001
    given.runs(10_000)
    assert given.rollout.phase is Phase.RUNNING
    assert given.rollout.judgements["errors"].answer == "undecided"
    assert len(given.ledger.looks(given.name, "errors")) > looks


def test_new_requests_that_are_as_bad_pause_it_again() -> None:
    given = paused()
    resumed(given)
    given.runs(4_000)
    assert given.rollout.phase is Phase.PAUSED
    assert [e.fact.answer for e in given.ledger.entries(given.name) if isinstance(e.fact, Judged)].count("fail") == 2


def test_looks_after_an_override_are_judged_again_bit_for_bit() -> None:
    given = paused()
    resumed(given)
    given.traffic.errors[Arm.CANDIDATE] = 0.001
    given.runs(3_000)
    rollout = given.rollout
    gates = gates_of_attempt(given.ledger, rollout)
    again = list(rejudge(rollout.plan, lambda m: given.ledger.looks(rollout.id, m), gates, rollout.stable_name))
    assert {each.verdict.since for each in again} == {0, rollout.epoch}
    assert all(each.is_same for each in again)
    assert [each.verdict.k for each in again] == list(range(1, len(again) + 1))


def test_rows_of_before_that_come_late_do_not_count_after_an_override() -> None:
    given = paused()
    before = given.rollout
    resumed(given)
    for _ in range(20):  # requests that were sent before, and are told of now
        given.traffic.flow(before, 100, given.now)
        given.serves()
        given.ticks()
    assert given.rollout.phase is Phase.RUNNING
    assert given.rollout.judgements["errors"].answer == "no_data"


@pytest.mark.parametrize(
    ("role", "party", "error"),
    [(Role.OPERATOR, Party.PERSON, Forbidden), (Role.APPROVER, Party.PREFECT, Refused)],
)
def test_only_a_named_approver_overrides_what_failed(role: Role, party: Party, error: type[Exception]) -> None:
    given = paused()
    with pytest.raises(error, match="errors"):
        resumed(given, role=role, party=party)
    assert given.rollout.phase is Phase.PAUSED


def test_the_ledger_admits_no_resume_that_hides_what_failed() -> None:
    given = paused()
    with pytest.raises(IllegalMove, match="errors"):
        given.ledger.append(given.name, given.rollout.seq + 1, Resumed(actor="anna", reason="r"), given.now)


def test_a_pause_by_a_person_is_resumed_by_an_operator_as_before() -> None:
    given = Given(plan(then="pause")).runs(500)
    orders.pause(given.ledger, given.name, actor="ada", reason="lunch", now=given.now)
    resumed(given, role=Role.OPERATOR)
    assert (given.rollout.phase, given.rollout.overridden) == (Phase.RUNNING, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guardrails": [{"metric": "errors", "mode": "watch", "then": "pause"}]}, "nothing follows from a failure"),
        (
            {"shadow": {"sample": 20, "max_time": "1h", "guardrails": [{"metric": "errors", "then": "pause"}]}},
            "resumes",
        ),
        (
            {"shadow": {"sample": 20, "max_time": "1h", "then": "canary",
                        "gates": [{"metric": "errors", "below": "1%", "mode": "watch"}]}},
            "none can decide whether a canary follows",
        ),
    ],
)  # fmt: skip
def test_what_would_follow_from_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.model_validate(plan() | changes)


def test_a_watch_takes_no_part_of_the_alphas() -> None:
    Plan.model_validate(plan(mode="watch", alpha=0.1) | {})
    with pytest.raises(ValueError, match="could stop a candidate that is as good as stable"):
        Plan.model_validate(plan() | {"guardrails": [{"metric": "errors", "alpha": 0.1}]})


def test_the_how_to_shows_what_a_paused_rollout_says() -> None:
    given = paused()
    view = dataclasses.asdict(rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now))
    said = tree(view).splitlines()
    resumed(given)
    given.serves()
    given.ticks()
    again = [moment.text for moment in timeline(given.ledger.entries(given.name)) if "overridden" in moment.text]
    text = (ROOT / "docs/how-to/write-a-plan.md").read_text()
    for line in (*(line for line in said if "errors" in line), *again):
        assert line in text
