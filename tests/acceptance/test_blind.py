"""Given requests that are not counted: gates say NO DATA, nothing advances, and in the end the rollout acts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest

from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.keeper_notes import note_sights, note_untended, sights
from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.rollout.decision import Choice
from sluicegate.registry.rollout.facts import Judged, Paused, Resumed
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.sight import Blindness, Listener, Sight
from sluicegate.registry.words.verdict import Answer
from tests import giving as orders
from tests.acceptance.given import PLAN, Given

WHY = "48% of the last requests are not counted: 3,000 bytes of the log are unread"


class Blind(Given):
    """The keeper's watch notes every second what it sees."""

    blind_since: datetime | None = None
    listener = Listener.LIVE
    is_watched = True

    def ticks(self, authority: Authority = Authority.ADVANCE):
        if self.is_watched:
            blind = Blindness(since=self.blind_since, reason=WHY) if self.blind_since else None
            note_sights(
                self.ledger, {each: Sight() for each in Listener} | {self.listener: Sight(blind=blind)}, self.now
            )
        return super().ticks(authority)

    def goes_blind(self) -> None:
        self.blind_since = self.now


def _plan(after: str = "2m", then: Literal["pause", "abort"] = "pause") -> dict:
    return PLAN | {"blind": {"after": after, "then": then}}


BOTH = pytest.mark.parametrize("authority", [Authority.ADVANCE, Authority.STOP])


def test_a_blind_rollout_holds_whatever_its_data_say_and_goes_on_once_it_sees() -> None:
    given = Blind(_plan("1h")).runs(100)
    given.goes_blind()
    given.runs(30_000)
    assert (given.rollout.phase, given.rollout.weight) == (Phase.RUNNING, 1_000)
    seen = given.ticks()
    assert {verdict.answer for verdict in seen.verdicts} == {Answer.NO_DATA}
    assert all(WHY in verdict.reason for verdict in seen.verdicts)
    assert seen.decision.choice is Choice.HOLD
    given.blind_since = None
    given.runs(60_000)
    assert given.rollout.ending is Ending.PROMOTED or given.rollout.weight > 1_000


@BOTH
@pytest.mark.parametrize(("then", "phase"), [("pause", Phase.PAUSED), ("abort", Phase.ENDED)])
def test_after_the_plans_time_the_rollout_acts_whoever_looks(authority: Authority, then, phase) -> None:
    given = Blind(_plan("2m", then)).runs(100)
    given.goes_blind()
    for _ in range(119):
        given.ticks(authority)
    assert given.rollout.phase is Phase.RUNNING
    for _ in range(3):
        given.ticks(authority)
    assert given.rollout.phase is phase
    assert given.rollout.reason.startswith("the rollout could not be judged for 2m: 48%")
    assert given.rollout.weight == (1_000 if then == "pause" else 0)


@BOTH
def test_two_minutes_and_pause_are_what_a_plan_says_that_says_nothing(authority: Authority) -> None:
    given = Blind().runs(100)
    given.goes_blind()
    for _ in range(125):
        given.ticks(authority)
    assert given.rollout.phase is Phase.PAUSED


@BOTH
def test_harm_that_is_seen_in_what_is_counted_stops_a_blind_rollout(authority: Authority) -> None:
    given = Blind(_plan("1h"), errors=0.3).runs(100)
    given.goes_blind()
    given.runs(3_000, authority=authority)
    assert given.rollout.ending is Ending.ABORTED
    assert "errors failed" in given.rollout.reason


def test_a_paused_rollout_is_taken_back_while_blind_where_the_plan_aborts() -> None:
    given = Blind(_plan("2m", "abort")).runs(100)
    given.ledger.append(given.name, given.rollout.seq + 1, Paused(actor="ada", reason="lunch"), given.now)
    given.goes_blind()
    for _ in range(125):
        given.ticks(Authority.STOP)
    assert given.rollout.ending is Ending.ABORTED


def test_a_person_who_resumes_gives_it_the_time_once_more() -> None:
    given = Blind(_plan("2m")).runs(100)
    given.goes_blind()
    for _ in range(125):
        given.ticks()
    given.ledger.append(given.name, given.rollout.seq + 1, Resumed(actor="ada", reason="go on"), given.now)
    for _ in range(100):
        given.ticks()
    assert given.rollout.phase is Phase.RUNNING
    for _ in range(25):
        given.ticks()
    assert given.rollout.phase is Phase.PAUSED


def test_nobody_who_approves_makes_a_blind_rollout_advance() -> None:
    plan = {"model": "delays", "steps": [{"weight": 10}, {"weight": 50}], "blind": {"after": "1h"}}
    given = Blind(plan).runs(300)
    given.goes_blind()
    orders.approve(given.ledger, given.name, actor="ada", reason="fine", now=given.now)
    given.runs(500)
    assert given.rollout.weight == 1_000
    given.blind_since = None
    given.runs(100)
    assert given.rollout.weight == 5_000


def test_a_candidate_gets_no_traffic_at_all_while_blind() -> None:
    given = Blind()
    given.goes_blind()
    for _ in range(500):
        decision = given.ticks().decision
    assert (given.rollout.phase, given.rollout.weight) == (Phase.LAUNCHING, 0)
    assert WHY in decision.reason
    given.blind_since = None
    given.ticks()
    assert given.rollout.weight == 1_000


def test_a_watch_that_fell_silent_is_blindness() -> None:
    """The keeper hangs: its driver goes on for twenty seconds, and no further."""
    given = Blind(_plan("1m")).runs(100)
    given.is_watched = False
    for _ in range(25):
        given.ticks()
    assert given.rollout.phase is Phase.RUNNING
    given.runs(30_000)
    assert given.rollout.weight == 1_000
    for _ in range(60):
        given.ticks()
    assert given.rollout.phase is Phase.PAUSED
    assert "keeper does not run or hangs" in given.rollout.reason


def test_a_canary_does_not_depend_on_the_shadows_listener() -> None:
    given = Blind(_plan())
    given.listener = Listener.SHADOW
    given.goes_blind()
    given.runs(500)
    assert given.rollout.phase is Phase.RUNNING
    assert given.ticks().decision.reason.find(WHY) < 0


def test_a_rollout_that_the_keeper_cannot_judge_does_not_advance_by_its_driver() -> None:
    given = Blind(_plan("1m")).runs(100)
    note_untended(given.ledger, {given.name: "ValueError: of another shape"}, given.now)
    seen = given.ticks()
    assert {verdict.answer for verdict in seen.verdicts} == {Answer.NO_DATA}
    for _ in range(62):
        given.ticks()
    assert given.rollout.phase is Phase.PAUSED
    assert "the keeper cannot judge it: ValueError" in given.rollout.reason


def test_the_record_and_every_page_say_that_it_is_blind() -> None:
    given = Blind(_plan("1h")).runs(1_000)
    given.goes_blind()
    given.ticks()
    facts = [entry.fact for entry in given.ledger.entries(given.name)]
    assert WHY in next(fact.reason for fact in reversed(facts) if isinstance(fact, Judged))
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert WHY in str(report.rollout.blind)
    assert WHY in str(report.rollout.waits_for)
    assert {gate.verdict for gate in report.rollout.gates} == {"NO DATA"}
    assert all(WHY in gate.reason for gate in report.rollout.gates)
    assert WHY in explanation(report).next


def test_what_is_noted_is_read_back() -> None:
    given = Given()
    assert sights(given.ledger).at(given.now) == {}
    sight = Sight(served=100, uncounted=40, blind=Blindness(since=given.now, reason=WHY))
    note_sights(given.ledger, {Listener.LIVE: sight, Listener.SHADOW: Sight()}, given.now)
    assert sights(given.ledger).at(given.now) == {Listener.LIVE: sight, Listener.SHADOW: Sight()}
    later = sights(given.ledger).at(given.now + timedelta(minutes=1))
    assert all(each.blind is not None for each in later.values())
