"""Given labels that come a month late: a promotion is confirmed by them, rolled back, or said to be unconfirmed."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.ledger.keeper_notes import note_sights
from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Abort, Order, Pause, RollBack
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.happening import Severity, severity, waits_for_person
from sluicegate.registry.report.history import tenures
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.facts import Baked, Confirmed, Judged, Party, Unconfirmed
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import Standing, standings, trusted
from sluicegate.registry.words.errors import IllegalMove
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.metric import Arm, Stratum
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.sight import Blindness, Listener, Sight
from sluicegate.registry.words.tally import Tally
from sluicegate.services.keeper.fleet_pass import FleetPass
from sluicegate.services.keeper.keeper import Keeper
from sluicegate.services.report.markdown import markdown
from sluicegate.services.traffic.routes import routes
from tests import giving as orders
from tests.acceptance.given import WHO, Given, Traffic
from tests.doubles.plane import MemoryDataPlane
from tests.unit.console_office import MemoryDesk
from tests.unit.test_console_pages import signed_in
from tests.unit.test_keeper import Garage, Inline, Town

PLAN: dict[str, Any] = {
    "model": "loans",
    "unit": "x-user-id",
    "metrics": {
        "errors": {"source": "status"},
        "repaid": {
            "source": "outcome", "outcome": "repaid", "score": "outcome", "worse": "lower", "range": [0, 1],
            "matures_after": "30d",
        },
    },
    "gates": [{"metric": "errors", "alpha": 0.01, "below": "2%"}],
    "steps": [{"weight": 10}, {"weight": 50}],
    "confirm": {"metric": "repaid", "margin": "5%", "holdout": 10, "max_time": "60d"},
    "bake": "1d",
    "deadline": {"after": "10d"},
    "expect": {"requests_per_day": 2_000},
}  # fmt: skip
DAY = timedelta(days=1)
A_DAY = 2_000


@dataclass
class Late(Traffic):
    """Requests whose labels come when they are a month old."""

    repaid: dict[Arm, float] = field(default_factory=dict)
    dice: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    unripe: dict[datetime, list[tuple[Stratum, int, Arm, Tally]]] = field(default_factory=lambda: defaultdict(list))

    def flow(self, rollout: Rollout, requests: int, now: datetime) -> None:
        stratum = Stratum(epoch=rollout.epoch, bucket=int(now.timestamp()) // 300 * 300)
        candidates = int(self.dice.binomial(requests, rollout.weight / 10_000))
        self.watermark += requests
        if not rollout.is_tried:
            return
        for arm, n in ((Arm.STABLE, requests - candidates), (Arm.CANDIDATE, candidates)):
            self._sum("errors", stratum, rollout.weight, arm, self._events(n, self.errors[arm]))
            if self.labels:
                repaid = self._events(n, self.repaid[arm])
                self.unripe[now + timedelta(days=30)].append((stratum, rollout.weight, arm, repaid))

    def ripens(self, now: datetime) -> None:
        for due in [due for due in self.unripe if due <= now]:
            for stratum, weight, arm, repaid in self.unripe.pop(due):
                self._sum("repaid", stratum, weight, arm, repaid)
            self.watermark += 1

    def _events(self, n: int, rate: float) -> Tally:
        return Tally.from_events(n, float(self.dice.binomial(n, rate)))

    def _sum(self, metric: str, stratum: Stratum, weight: int, arm: Arm, tally: Tally) -> None:
        key = (metric, stratum, weight, arm)
        self.sums[key] = self.sums.get(key, Tally()) + tally


class Lender(Given):
    """A lender's two models behind a gateway in memory, with a keeper that alone judges what is promoted."""

    def __init__(self, plan: dict[str, Any] | None = None, *, repaid: float = 0.9, labels: bool = True) -> None:
        super().__init__(plan or PLAN, labels=labels)
        rates = {Arm.STABLE: 0.9, Arm.CANDIDATE: repaid}
        same = self.traffic
        self.traffic = Late(loss={}, errors=same.errors, chance=same.chance, labels=labels, repaid=rates)
        self.town, self.plane = Town(), MemoryDataPlane(lambda n: 0)
        self.keeper = self.restarted()

    def restarted(self) -> Keeper:
        """A keeper that remembers nothing, as after kill -9."""
        fleet = FleetPass(
            ledger=self.ledger, services=self.town, plane=self, pool=Inline(), elapsed=lambda: 0.0
        )  # fmt: skip
        self.keeper = Keeper(
            made_from=MadeFrom(self.ledger, lambda: 0), leads=lambda: True,
            ledger=self.ledger, services=self.town, plane=self, see_to_drivers=Garage().see_to, judge=self.judge,
            fleet=fleet, catalog_look=lambda now: None, clock=lambda: self.now, elapsed=lambda: 0.0,
        )  # fmt: skip
        return self.keeper

    def judge(self, name: str, now: datetime) -> tuple[Rollout, Decision]:
        seen = tick(self.ledger, self.traffic, name, now, Authority.STOP)
        return seen.rollout, seen.decision

    def compile(self, there: tuple[Standing, ...], running: Any, made_from: FencingToken) -> Any:
        return replace(routes(there, running), made_from=made_from)

    def apply(self, table: Any, endpoints: Any) -> None:
        self.plane.apply(table, endpoints)

    def renew(self) -> None:
        self.plane.renew()

    def observe(self) -> str | None:
        return self.plane.observe()

    def in_flight(self, build: Any) -> int:
        return 0

    def looks(self) -> None:
        """A few looks of the keeper, a second apart."""
        for _ in range(4):
            self.now += timedelta(seconds=1)
            self.keeper.look(self.now)

    def promoted(self) -> Lender:
        """The ramp has ended well, and the keeper has seen to the routes."""
        for _ in range(30):
            self.serves()
            self.traffic.flow(self.rollout, 1_000, self.now)
            self.ticks()
            if self.rollout.promoted_at is not None:
                break
        assert self.rollout.promoted_at is not None, self.rollout.reason
        self.looks()
        return self

    def days(self, many: float, *, until: Callable[[Rollout], bool] = lambda each: False) -> Lender:
        """Requests come, labels ripen, and the keeper looks."""
        end = self.now + timedelta(days=many)
        while self.now < end and not until(self.rollout):
            self.now += DAY
            self.traffic.ripens(self.now)
            self.traffic.flow(self.rollout, A_DAY, self.now)
            self.keeper.look(self.now)
        return self

    def shares(self, name: str = "loans") -> dict[str, float]:
        """Who would answer how many of the units, in per cent."""
        table = routes(standings(self.ledger.rollouts()), self.town.endpoints())
        found: dict[str, float] = defaultdict(float)
        for part in table.model(name).audiences[-1].slices:
            found[part.target.assigned.build] += part.size / 100
        return dict(found)

    def facts(self, *kinds: type) -> list[Any]:
        return [each.fact for each in self.ledger.entries(self.name) if isinstance(each.fact, kinds)]

    @property
    def report(self) -> Any:
        return rollout_report(read_for_report(self.ledger, self.rollout), self.now)


def is_decided(rollout: Rollout) -> bool:
    return rollout.phase is not Phase.CONFIRMING


def changed(**confirm: Any) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    plan["confirm"] |= confirm
    return plan


# --- the story -------------------------------------------------------------------------------------------------------


def test_a_promotion_leaves_a_holdout_and_the_new_build_is_trusted_at_once() -> None:
    lender = Lender().promoted()
    assert (lender.rollout.phase, lender.rollout.weight) == (Phase.CONFIRMING, 9_000)
    assert lender.shares() == {"1": 10, "2": 90}
    stable = trusted(lender.ledger.rollouts())
    assert stable is not None
    assert stable.requested.version == "2"
    [standing] = standings(lender.ledger.rollouts())
    assert (standing.stable.version, standing.trusted.version) == ("1", "2")
    assert {build.version for build in lender.town.running()} == {"1", "2"}


def test_good_labels_confirm_it_then_it_bakes_and_ends() -> None:
    lender = Lender().promoted().days(29)
    assert lender.rollout.phase is Phase.CONFIRMING
    assert "repaid" not in lender.rollout.judgements or lender.rollout.judgements["repaid"].answer == "no_data"
    lender.days(31, until=is_decided)
    assert (lender.rollout.phase, lender.rollout.is_confirmed) == (Phase.BAKING, True)
    assert lender.rollout.reason.startswith("confirmed by repaid: repaid is")
    assert lender.shares() == {"2": 100}
    lender.looks()
    assert lender.rollout.phase is Phase.BAKING, "the bake begins once every request is the new build's"
    lender.days(1)
    assert (lender.rollout.ending, lender.rollout.is_confirmed) == (Ending.PROMOTED, True)


def test_the_holdout_is_kept_as_long_as_the_plan_asks_and_harm_still_counts_meanwhile() -> None:
    lender = Lender(changed(soak="40d")).promoted().days(38)
    assert lender.rollout.judgements["repaid"].answer == "pass"
    view = rollout_view(read_for_views(lender.ledger, [lender.rollout])[0], lender.now)
    assert view.waits_for is not None
    assert view.waits_for.startswith("repaid passed; the holdout stays until 2026-02-10 ")
    lender.days(3, until=is_decided)
    assert lender.rollout.is_confirmed is True
    worse = Lender(changed(soak="59d")).promoted().days(5)
    worse.traffic.repaid[Arm.CANDIDATE] = 0.7  # from then on
    worse.days(50, until=is_decided)
    assert worse.rollout.ending is Ending.ABORTED
    assert any(fact.answer == "pass" for fact in worse.facts(Judged) if fact.metric == "repaid")


def test_late_harm_rolls_back_by_itself_and_says_so() -> None:
    lender = Lender(repaid=0.8).promoted().days(60, until=is_decided)
    assert (lender.rollout.ending, lender.rollout.weight) == (Ending.ABORTED, 0)
    assert lender.rollout.party is Party.POLICY
    assert lender.rollout.reason.startswith("taken back after the promotion: repaid failed: repaid is")
    lender.looks()
    assert lender.shares() == {"1": 100}
    assert lender.rollout.settled is False, "the alias has to go back"
    last = lender.ledger.entries(lender.name)
    assert [severity(each.fact) for each in last if type(each.fact).__name__ == "Aborted"] == [Severity.CRITICAL]
    text = markdown(lender.report)
    assert "taken back after the promotion" in text
    assert "repaid" in text
    served = [(each.build, each.how) for each in tenures(lender.ledger.rollouts(), {})]
    assert served == [("1", "deploy"), ("2", "canary"), ("1", "abort")]


def test_harm_that_shows_during_the_steps_stops_them_already() -> None:
    lender = Lender(changed(max_time="61d") | {"deadline": {"after": "90d"}}, repaid=0.6)
    lender.traffic.errors = {Arm.STABLE: 0.02, Arm.CANDIDATE: 0.02}  # so that the gate does not pass
    while not lender.rollout.is_ended and lender.now < lender.rollout.requested_at + timedelta(days=60):
        lender.serves()
        lender.days(1)
        lender.ticks()
    assert lender.rollout.ending is Ending.ABORTED
    assert lender.rollout.promoted_at is None
    assert lender.rollout.reason.startswith("repaid failed")


def test_without_labels_it_ends_unconfirmed_and_is_told() -> None:
    lender = Lender(labels=False).promoted().days(61, until=is_decided)
    assert (lender.rollout.phase, lender.rollout.is_confirmed) == (Phase.BAKING, False)
    assert lender.rollout.reason.startswith("repaid was not confirmed within 60d: ")
    [fact] = lender.facts(Unconfirmed)
    assert (fact.party, severity(fact)) == (Party.POLICY, Severity.WARNING)
    assert not lender.facts(Confirmed)
    lender.days(2)
    assert (lender.rollout.ending, lender.rollout.is_confirmed) == (Ending.PROMOTED, False)
    assert "not confirmed" in lender.rollout.reason


def test_labels_that_decide_nothing_leave_it_unconfirmed() -> None:
    lender = Lender(changed(margin="0%"), repaid=0.899).promoted().days(61, until=is_decided)
    assert lender.rollout.is_confirmed is False
    assert lender.facts(Judged)[-1].answer in ("undecided", "no_data")


def test_a_newer_build_ends_the_confirmation_and_is_compared_with_what_is_trusted() -> None:
    lender = Lender().promoted().days(10)
    newer = orders.start(lender.ledger, plan=lender.plan, version="3", request=WHO, now=lender.now).rollout
    assert (newer.phase, newer.stable) == (Phase.LAUNCHING, "2")
    assert (lender.rollout.ending, lender.rollout.is_confirmed) == (Ending.PROMOTED, False)
    assert lender.rollout.reason == f"superseded by {newer.id}"
    lender.looks()
    assert lender.shares() == {"2": 100}


def test_who_promotes_by_hand_before_the_first_step_is_confirmed_like_all_others() -> None:
    lender = Lender()
    orders.promote(lender.ledger, lender.name, actor="anna", reason="hot fix", now=lender.now)
    lender.looks()
    assert (lender.rollout.phase, lender.rollout.step, lender.shares()) == (Phase.CONFIRMING, -1, {"1": 10, "2": 90})
    lender.days(60, until=is_decided)
    assert lender.rollout.is_confirmed is True


def test_looks_of_before_and_after_the_promotion_are_judged_again_bit_for_bit() -> None:
    lender = Lender(repaid=0.85).promoted().days(60, until=is_decided)
    rollout = lender.rollout
    gates = gates_of_attempt(lender.ledger, rollout)
    again = list(rejudge(rollout.plan, lambda m: lender.ledger.looks(rollout.id, m), gates, rollout.stable_name))
    assert {each.verdict.metric for each in again} == {"errors", "repaid"}
    assert all(each.is_same for each in again)


def test_one_that_was_queued_during_the_steps_begins_once_this_is_promoted() -> None:
    lender = Lender()
    lender.runs(500)
    newer = orders.start(lender.ledger, plan=lender.plan, version="3", request=WHO, now=lender.now).rollout
    assert newer.phase is Phase.QUEUED
    lender.promoted()
    assert lender.ledger.rollout(newer.id).phase is Phase.LAUNCHING
    assert (lender.rollout.ending, lender.rollout.is_confirmed) == (Ending.PROMOTED, False)


def test_who_wants_the_confirmation_kept_refuses_newer_builds() -> None:
    lender = Lender(PLAN | {"on_newer": "refuse"}).promoted()
    with pytest.raises(Exception, match="is confirming"):
        orders.start(lender.ledger, plan=lender.plan, version="3", request=WHO, now=lender.now)
    assert lender.rollout.phase is Phase.CONFIRMING


@pytest.mark.parametrize("repaid", [0.9, 0.8])
def test_a_keeper_that_is_killed_every_day_changes_nothing(repaid: float) -> None:
    steady, killed = Lender(repaid=repaid).promoted(), Lender(repaid=repaid).promoted()
    steady.days(45)
    for _ in range(45):
        killed.restarted()
        killed.days(1)
    assert killed.facts(Judged, Confirmed, Unconfirmed, Baked) == steady.facts(Judged, Confirmed, Unconfirmed, Baked)
    assert (killed.rollout.ending, killed.rollout.reason) == (steady.rollout.ending, steady.rollout.reason)


# --- what people do meanwhile ----------------------------------------------------------------------------------------


def order(act: Any, key: str | None = None) -> Order:
    return Order(act=act, actor="anna", cause="cli", role=Role.ADMIN, reason="I know better", key=key)


def test_an_abort_by_a_person_takes_it_back_at_once_and_twice_is_once() -> None:
    lender = Lender().promoted().days(3)
    for _ in range(2):
        give(lender.ledger, order(Abort(rollout=lender.name), key="k1"), lender.now)
    give(lender.ledger, order(Abort(rollout=lender.name)), lender.now)
    assert [type(each.fact).__name__ for each in lender.ledger.entries(lender.name)].count("Aborted") == 1
    lender.looks()
    assert lender.shares() == {"1": 100}


def test_a_pause_is_refused_with_what_can_be_done_instead() -> None:
    lender = Lender().promoted()
    with pytest.raises(IllegalMove, match="is confirming, which does not allow Paused") as refused:
        give(lender.ledger, order(Pause(rollout=lender.name)), lender.now)
    assert "sluice rollout abort" in str(refused.value.fix)


def test_a_rollback_by_a_person_returns_to_the_former_build() -> None:
    lender = Lender().promoted().days(3)
    receipt = give(lender.ledger, order(RollBack(model="loans", variation="default"), key="r"), lender.now)
    again = give(lender.ledger, order(RollBack(model="loans", variation="default"), key="r"), lender.now)
    assert again.rollout == receipt.rollout
    back = lender.ledger.rollout(receipt.rollout or "")
    assert (back.requested.strategy, back.requested.version) == ("rollback", "1")
    lender.looks()
    lender.looks()
    assert lender.shares() == {"1": 100}
    assert lender.rollout.reason == "rolled back by anna"
    assert len(lender.facts(Unconfirmed)) == 1
    assert "1" in {build.version for build in lender.town.running()}
    assert lender.town.starts.count(next(b for b in lender.town.running() if b.version == "1")) == 1, "it ran on"


def test_a_build_put_in_at_once_ends_the_confirmation() -> None:
    lender = Lender().promoted()
    orders.deploy(lender.ledger, plan=lender.plan, version="4", request=WHO, now=lender.now, at_once="urgent")
    assert (lender.rollout.ending, lender.rollout.is_confirmed) == (Ending.PROMOTED, False)


def test_undeploying_ends_it_too() -> None:
    lender = Lender().promoted()
    orders.undeploy(
        lender.ledger, model="loans", variation="default", actor="anna", reason="r", now=lender.now, is_last=True
    )
    assert lender.rollout.undeployed
    assert standings(lender.ledger.rollouts()) == ()


def test_what_pauses_waits_for_a_person_and_ends_unconfirmed() -> None:
    lender = Lender(changed(then="pause"), repaid=0.7).promoted().days(50)
    assert lender.rollout.phase is Phase.CONFIRMING
    assert lender.rollout.judgements["repaid"].answer == "fail"
    view = rollout_view(read_for_views(lender.ledger, [lender.rollout])[0], lender.now)
    assert view.needs_person
    assert view.waits_for is not None
    assert "sluice rollout abort" in view.waits_for
    waits = waits_for_person(read_for_views(lender.ledger, [lender.rollout])[0], lender.now, None)
    assert waits is not None
    assert waits.moment.text == "the confirmation waits for a person"
    lender.days(12, until=is_decided)
    assert lender.rollout.is_confirmed is False
    assert "repaid failed" in lender.rollout.reason


# --- faults ----------------------------------------------------------------------------------------------------------


def test_where_the_holdouts_service_is_lost_the_new_build_answers_its_requests() -> None:
    lender = Lender().promoted()
    former = next(build for build in lender.town.running() if build.version == "1")
    table = routes(
        standings(lender.ledger.rollouts()), {b: e for b, e in lender.town.endpoints().items() if b != former}
    )
    for part in table.model("loans").audiences[-1].slices:
        behind = part.target.stands_in
        if part.target.assigned.build == "1":
            assert behind is not None
            assert (behind.build, behind.on_errors) == ("2", True)
        else:
            assert (part.target.assigned.build, part.target.fallback) == ("2", "1")


def test_errors_after_the_promotion_roll_it_back_as_well() -> None:
    lender = Lender().promoted()
    lender.traffic.errors = {Arm.STABLE: 0.001, Arm.CANDIDATE: 0.08}
    lender.days(10, until=is_decided)
    assert lender.rollout.reason.startswith("taken back after the promotion: errors failed")


def test_latency_is_judged_until_the_promotion_only() -> None:
    slow = copy.deepcopy(PLAN)
    slow["metrics"]["p99"] = {"source": "latency", "quantile": 0.99}
    slow["guardrails"] = [{"metric": "p99", "alpha": 0.01}]
    lender = Lender(slow)
    assert {each.metric for each in lender.runs(500).ticks().verdicts} == {"errors", "repaid", "p99"}
    lender.promoted()
    assert {each.metric for each in lender.ticks(Authority.STOP).verdicts} == {"errors", "repaid"}


def test_who_sees_nothing_confirms_nothing_and_takes_nothing_back() -> None:
    lender = Lender(PLAN | {"blind": {"after": "2m", "then": "abort"}}).promoted().days(29)
    blind = Blindness(since=lender.now, reason="the log is not read")
    note_sights(lender.ledger, {each: Sight(blind=blind) for each in Listener}, lender.now)
    lender.days(20)
    assert lender.rollout.phase is Phase.CONFIRMING
    note_sights(lender.ledger, {each: Sight(blind=blind) for each in Listener}, lender.now + timedelta(days=11))
    lender.days(12, until=is_decided)
    assert lender.rollout.is_confirmed is False
    assert "the log is not read" in lender.rollout.reason


# --- how it is shown -------------------------------------------------------------------------------------------------


def test_everything_that_shows_a_rollout_says_that_it_is_being_confirmed() -> None:
    lender = Lender(changed(margin="1%")).promoted().days(32)
    view = rollout_view(read_for_views(lender.ledger, [lender.rollout])[0], lender.now)
    assert (view.phase, view.confirmation, view.weight) == ("confirming", "confirming", 90)
    assert view.waits_for is not None
    assert view.waits_for.startswith("confirming by repaid until 2026-03-02 ")
    assert [(gate.metric, gate.guardrail, gate.margin) for gate in view.gates] == [
        ("errors", False, None), ("repaid", False, 0.01),
    ]  # fmt: skip
    told = explanation(lender.report)
    assert told.state == "confirming"
    assert told.next.startswith("confirming by repaid until")
    assert "promotion" not in told.next.split(",")[-1]
    assert "confirming" in markdown(lender.report)


def test_the_timeline_tells_what_became_of_it() -> None:
    lender = Lender().promoted().days(60, until=is_decided)
    texts = [each.text for each in timeline(lender.ledger.entries(lender.name))]
    assert "promoted: the candidate takes 90 %; the rest stays with the former stable until it is confirmed" in texts
    assert "confirmed: late labels have ruled the harm out, and the holdout ends" in texts


def test_the_pages_of_the_console_say_so_too() -> None:
    lender = Lender(changed(margin="1%")).promoted().days(32)
    client = signed_in(MemoryDesk(ledger=lender.ledger)).client
    page, overview = client.get(f"/rollouts/{lender.name}").text, client.get("/").text
    assert all(re.search(r'class="chip going"[^>]*>confirming<', each) for each in (page, overview))
    assert "v1 gets every request back at once (v2 has 90 %)" in page
    assert "the candidate takes 90 %; the rest stays with the former stable" in client.get("/activity").text


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "repayed"}, "there is no metric repayed .*repaid"),
        ({"metric": "errors"}, "errors is known at once"),
        ({"max_time": "30d"}, "counts once its request is 30d old.*write more than 30d"),
        ({"soak": "60d"}, "would end before the holdout was kept for 60d"),
        ({"holdout": 50}, None),
        ({"holdout": 0}, "between 0.01 and 100"),
        ({"holdout": 60}, "at most half of them can be held out.*write at most 50"),
        ({"alpha": 0.1}, "as good as stable with a chance"),
        ({"margin": None}, "margin"),
    ],
)  # fmt: skip
def test_a_confirmation_that_could_not_work_is_refused(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        Plan.model_validate(changed(**changes))
        return
    with pytest.raises(ValueError, match=message):
        Plan.model_validate(changed(**changes))


def test_a_holdout_that_would_move_users_back_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives 95 % already.*90 %: users would be moved back.*at most 5"):
        Plan.model_validate(PLAN | {"steps": [{"weight": 10}, {"weight": 95}]})


def test_requests_must_be_kept_until_their_labels_count() -> None:
    with pytest.raises(ValueError, match="requests are kept for 7d, but a value counts only after 30d"):
        Plan.model_validate(PLAN | {"retention": "7d"})
    assert Plan.model_validate(PLAN).kept_for == 37.5 * 86_400


def test_too_much_alpha_is_told_where_it_stands() -> None:
    alone = changed(alpha=0.2) | {"gates": [], "metrics": {"repaid": PLAN["metrics"]["repaid"]}}
    with pytest.raises(ValueError, match="confirm: together"):
        Plan.model_validate(alone)


def test_a_metric_that_confirms_has_no_gate_besides() -> None:
    with pytest.raises(ValueError, match=r"repaid has a gate or a guardrail already"):
        Plan.model_validate(PLAN | {"guardrails": [{"metric": "repaid", "alpha": 0.01}]})


# --- the documents ---------------------------------------------------------------------------------------------------


def test_the_page_shows_what_a_rollout_says() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/confirm-with-late-labels.md").read_text()
    block = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert Plan.model_validate(yaml.safe_load(block)) == Plan.model_validate(PLAN)
    confirming = Lender(changed(margin="1%")).promoted().days(32)
    ways = [confirming, Lender(repaid=0.85).promoted().days(60, until=is_decided)]
    ways.append(Lender(labels=False).promoted().days(61, until=is_decided))
    for lender in ways:
        view = rollout_view(read_for_views(lender.ledger, [lender.rollout])[0], lender.now)
        for line in tree(dataclasses.asdict(view)).splitlines()[2:]:
            assert line in page
