"""Given services that are not ready: no weight grows and nothing is promoted; an abort waits for none of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.keeper_notes import note_readiness
from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Choice
from sluicegate.registry.rollout.facts import AtOnce
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Refused
from sluicegate.registry.words.readiness import Unready
from tests import giving as orders
from tests.acceptance.given import PLAN as GATED
from tests.acceptance.given import WHO, Given

STABLE, CANDIDATE = (BuildRef(model="delays", version=version) for version in "12")
WHY = "its process ended, or is still reading its model; the keeper restarts it"
BOTH = pytest.mark.parametrize("build", [STABLE, CANDIDATE], ids=["stable", "candidate"])


PLAN = {"model": "delays", "steps": [{"weight": 10}, {"weight": 50}]}
"""Without gates people let it go on: nothing else is waited for."""


class Kept(Given):
    """The keeper notes every second which builds have no service that is ready; every step is approved."""

    def __init__(self, plan: dict | None = None, **more: float) -> None:
        super().__init__(plan or PLAN, **more)
        self.down: tuple[BuildRef, ...] = ()
        self.is_watched = True

    def ticks(self, authority: Authority = Authority.ADVANCE):
        if self.is_watched:
            unready = [Unready(build=build, since=self.now, reason=WHY) for build in self.down]
            note_readiness(self.ledger, unready, self.now)
        self.serves()
        return super().ticks(authority)

    def at(self, step: int) -> Kept:
        """At this step, which a person has let it leave."""
        while self.rollout.step < step:
            self.ticks()
            orders.approve(self.ledger, self.name, actor="ada", reason="so be it", now=self.now)
        return self


@BOTH
def test_no_weight_grows_while_a_service_is_not_ready_and_it_goes_on_once_it_is(build: BuildRef) -> None:
    given = Kept().at(0)
    given.down = (build,)
    for _ in range(30):
        seen = given.ticks()
    assert (given.rollout.phase, given.rollout.weight) == (Phase.RUNNING, 1_000)
    assert seen.decision.choice is Choice.HOLD
    assert f"v{build.version} has no service that is ready since" in seen.decision.reason
    assert WHY in seen.decision.reason
    given.down = ()
    given.ticks()
    assert given.rollout.weight == 5_000


@BOTH
def test_nothing_is_promoted_while_a_service_is_not_ready(build: BuildRef) -> None:
    given = Kept().at(1)
    given.down = (build,)
    for _ in range(30):
        given.ticks()
    assert (given.rollout.phase, given.rollout.weight) == (Phase.RUNNING, 5_000)
    given.down = ()
    given.ticks()
    assert given.rollout.promoted_at is not None


@BOTH
def test_the_first_step_waits_too(build: BuildRef) -> None:
    given = Kept()
    given.down = (build,)
    for _ in range(5):
        assert given.ticks().decision.choice is Choice.HOLD
    assert (given.rollout.phase, given.rollout.weight) == (Phase.LAUNCHING, 0)
    given.down = ()
    given.ticks()
    assert given.rollout.weight == 1_000


def test_an_abort_waits_for_no_service() -> None:
    given = Kept(GATED, errors=0.3).runs(100)
    given.down = (STABLE, CANDIDATE)
    given.runs(20_000, authority=Authority.STOP)
    assert (given.rollout.ending, given.rollout.weight) == (Ending.ABORTED, 0)


def test_a_person_aborts_whatever_is_ready() -> None:
    given = Kept().at(0)
    given.down = (STABLE, CANDIDATE)
    given.ticks()
    orders.abort(given.ledger, given.name, actor="ada", reason="enough", now=given.now)
    assert given.rollout.weight == 0


@pytest.mark.parametrize("verb", ["promote", "jump"])
def test_a_person_sends_callers_to_no_service_only_where_that_is_said(verb: str) -> None:
    def order(**more: bool) -> Rollout:
        words = {"actor": "ada", "reason": "now", "now": given.now} | more
        if verb == "promote":
            return orders.promote(given.ledger, given.name, **words)
        return orders.jump(given.ledger, given.name, step=1, **words)

    given = Kept().at(0)
    given.down = (CANDIDATE,)
    given.ticks()
    before = given.rollout
    with pytest.raises(Refused, match="the candidate v2 has no service that is ready since") as refused:
        order()
    assert f"sluice rollout {verb} {given.name}" in str(refused.value.fix)
    assert "--although-not-ready" in str(refused.value.fix)
    assert given.rollout == before, "nothing is recorded"
    assert order(although_not_ready=True).weight == (10_000 if verb == "promote" else 5_000)
    fact = given.ledger.entries(given.name)[-1].fact
    assert str(fact.reason).startswith("now (given although the candidate v2 has no service that is ready since")


def test_a_person_promotes_what_is_ready_while_stable_is_down_and_goes_back_whatever_is_ready() -> None:
    given = Kept().at(1)
    given.down = (STABLE, CANDIDATE)
    given.ticks()
    back = orders.jump(
        given.ledger, given.name, step=0, back=True, actor="ada", reason="less", now=given.now
    )  # fmt: skip
    assert back.weight == 1_000
    given.down = (STABLE,)
    given.ticks()
    assert orders.promote(given.ledger, given.name, actor="ada", reason="heal", now=given.now).weight == 10_000


def test_an_order_to_promote_is_refused_once_nobody_looks() -> None:
    given = Kept().at(0)
    given.is_watched = False
    given.now += timedelta(seconds=21)
    with pytest.raises(Refused, match="nobody looks whether its processes live"):
        orders.promote(given.ledger, given.name, actor="ada", reason="now", now=given.now)


def test_once_nobody_looks_nothing_grows() -> None:
    given = Kept().at(0)
    given.is_watched = False
    given.now += timedelta(seconds=21)
    assert "nobody looks whether its processes live" in given.ticks().decision.reason
    assert given.rollout.weight == 1_000
    given.is_watched = True
    given.ticks()
    assert given.rollout.weight == 5_000


def test_where_nobody_ever_looked_nothing_waits() -> None:
    given = Kept()
    given.is_watched = False
    assert given.at(1).rollout.weight == 5_000


def test_people_see_why_and_what_else_is_missing() -> None:
    given = Kept(GATED).runs(100)
    given.down = (CANDIDATE,)
    given.runs(200)
    view = rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now)
    assert view.waits_for is not None
    assert view.waits_for.startswith("the candidate v2 has no service that is ready since 2026-01-01")
    assert "log_loss must still pass" in view.waits_for
    assert not view.needs_person
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert "the candidate v2 has no service that is ready" in explanation(report).next


def test_who_goes_back_waits_for_the_build_he_goes_to_and_not_for_the_one_he_leaves() -> None:
    given = Kept().at(1)
    given.ticks()
    assert given.rollout.took_over
    back = orders.roll_back(
        given.ledger, model="delays", variation="default", version=None, reason="worse", request=WHO, now=given.now
    ).rollout
    assert back.requested.strategy == AtOnce.ROLLBACK
    given.name = back.id
    given._launch(back.id)
    note_readiness(given.ledger, [Unready(build=STABLE, since=given.now, reason=WHY)], given.now)
    assert orders.complete(given.ledger, back.id, given.now).phase is Phase.LAUNCHING
    view = rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now)
    assert "the candidate v1 has no service that is ready" in (view.waits_for or "")
    note_readiness(given.ledger, [Unready(build=CANDIDATE, since=given.now, reason=WHY)], given.now)
    assert orders.complete(given.ledger, back.id, given.now).took_over
