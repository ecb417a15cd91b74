"""The keeper's look, over in-memory twins of services and data plane: the world follows the ledger."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.ledger.keeper_notes import delay, untended
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.ledger.record import Lease
from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Choice, Decision
from sluicegate.registry.rollout.facts import Aborted, Baked, HookCalled, Packed, Party, Promoted, Settled, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import Fenced, RoutesRejected, ServiceFailed, SluiceError, Unreachable
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.services.beside import Beside
from sluicegate.services.keeper.fleet_pass import HELD_SECONDS, PROBES, REFUSALS, FleetPass
from sluicegate.services.keeper.keeper import Keeper
from sluicegate.services.keeper.overdue import overdue
from sluicegate.services.keeper.refusals import refusal
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.doubles.one_each import OneEach
from tests.giving import Giver

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}], "bake": "1m"})
WHO = Giver(actor="ada", cause="cli")


class Inline(ThreadPoolExecutor):
    """Runs what it is given at once, so that a test sees each look's effect."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def,override]
        done: Future[object] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@dataclass
class Town(OneEach):
    """Services that run in memory."""

    up: dict[BuildRef, tuple[Endpoint, ...]] = field(default_factory=dict)
    sick: set[BuildRef] = field(default_factory=set)
    raising: set[BuildRef] = field(default_factory=set)
    broken: set[BuildRef] = field(default_factory=set)
    why_broken: SluiceError = field(default_factory=lambda: ServiceFailed("no such bento"))
    starts: list[BuildRef] = field(default_factory=list)
    away: bool = False
    given_up: set[BuildRef] = field(default_factory=set)
    orphaned: set[BuildRef] = field(default_factory=set)
    """Answered by workers whose own process ended."""
    hung: set[BuildRef] = field(default_factory=set)
    half_stopped: set[BuildRef] = field(default_factory=set)
    """Ended, and still among the supervisor's programs."""

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        if build in self.broken:
            raise self.why_broken
        self.starts.append(build)
        self.given_up.discard(build)
        self.up[build] = (Endpoint(build=build, host="127.0.0.1", port=1000 + int(build.version)),)

    def stop(self, build: BuildRef) -> None:
        del self.up[build]

    def endpoints(self) -> Endpoints:
        return dict(self.up)

    def running(self) -> Mapping[BuildRef, int]:
        if self.away:
            raise Unreachable("the supervisor does not answer")
        return dict.fromkeys(self.up.keys() - self.half_stopped, 1)

    def probe(self, build: BuildRef) -> str | None:
        if build in self.raising:
            raise ServiceFailed("its example is answered with 500: KeyError\nTraceback\n  a\nKeyError")
        return "503" if build in self.sick else None

    def ready(self, build: BuildRef) -> Collection[Endpoint]:
        return () if build in self.orphaned else self.up.get(build, ())

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        return self.up[build] if build in self.hung else ()

    def gave_up(self, build: BuildRef) -> str | None:
        return "it ended again and again" if build in self.given_up else None


@dataclass(frozen=True)
class Routes:
    version: str
    weights: Mapping[str, tuple[str, str | None, int]]


@dataclass
class Gateway:
    """A data plane that only remembers what it was told."""

    table: Routes | None = None
    history: list[Mapping[str, tuple[str, str | None, int]]] = field(default_factory=list)
    refuses: bool = False
    holds_newer: bool = False
    renewals: int = 0
    refused_model: str | None = None
    flying: dict[BuildRef, int] = field(default_factory=dict)
    blind: bool = False

    def compile(self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken) -> Routes:
        weights = {
            s.model: (s.stable.version, s.candidate.version if s.candidate else None, s.weight) for s in standings
        }
        return Routes(version=repr((weights, sorted(map(str, running)))), weights=weights)

    def apply(self, table: Routes, endpoints: Endpoints) -> None:
        if self.holds_newer:
            raise Fenced("it is older", fix="sluice restored")
        if self.refuses:
            raise RoutesRejected("bad cluster")
        served, held = table, self.refused_model
        if held is not None and self.table is not None:
            weights = {**table.weights, held: self.table.weights[held]}
            served = Routes(version=repr(weights), weights=weights)
        if self.table != served:
            self.history.append(served.weights)
        self.table = served
        if held is not None:
            raise RoutesRejected(f"bad cluster of {held}", models=frozenset({held}), serving=served.version)

    def renew(self) -> None:
        self.renewals += 1

    def observe(self) -> str | None:
        return self.table.version if self.table and not self.blind else None

    def in_flight(self, build: BuildRef) -> int:
        return self.flying.get(build, 0)


@dataclass
class Garage:
    asked: list[str] = field(default_factory=list)

    def see_to(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        self.asked += [rollout.id for rollout in rollouts]


class World:
    """A ledger, a keeper and a clock that only moves when told."""

    def __init__(self) -> None:
        self.ledger, self.town, self.gateway, self.garage = MemoryLedger(), Town(), Gateway(), Garage()
        self.now, self.seconds = START, 0.0
        self.decision = Decision(choice=Choice.HOLD, reason="collecting")
        self.judged: list[str] = []
        self.broken: set[str] = set()
        self.polls = self.naps = self.woken = 0
        self.ready_after: int | None = None
        """How many naps of a probe the candidate's service needs."""
        self.keeper = self.restarted()

    def restarted(self) -> Keeper:
        """A keeper that remembers nothing, as after kill -9."""
        fleet = FleetPass(
            ledger=self.ledger, services=self.town, plane=self.gateway, pool=Inline(), elapsed=self.elapsed,
            sleep=self.sleep, wake=self.wake,
        )  # fmt: skip
        self.keeper = Keeper(
            made_from=MadeFrom(self.ledger, lambda: 0), leads=lambda: True,
            ledger=self.ledger, services=self.town, plane=self.gateway, see_to_drivers=self.garage.see_to,
            judge=self.judge, fleet=fleet, catalog_look=self.poll, clock=lambda: self.now,
            elapsed=self.elapsed,
        )  # fmt: skip
        return self.keeper

    def elapsed(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        if self.naps == self.ready_after:
            self.town.orphaned.clear()

    def wake(self) -> None:
        self.woken += 1

    def judge(self, name: str, now: datetime) -> tuple[Rollout, Decision]:
        self.judged.append(name)
        if name in self.broken:
            raise ValueError("a look of another shape")
        rollout = self.ledger.rollout(name)
        if self.decision.choice is Choice.ABORT:
            fact = Aborted(actor="policy", reason=self.decision.reason)
            rollout = self.ledger.append(name, rollout.seq + 1, fact, now)
        return rollout, self.decision

    def poll(self, now: datetime) -> None:
        self.polls += 1

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=1)
            self.seconds += 1
            self.keeper.look(self.now)

    def pack(self, name: str) -> None:
        rollout = self.ledger.rollout(name)
        fact = Packed(bento=f"m:{rollout.requested.version}", bento_digest="b", model_digest="d")
        self.ledger.append(name, rollout.seq + 1, fact, self.now)

    def enter(self, name: str, step: int) -> None:
        rollout = self.ledger.rollout(name)
        weight = rollout.plan.steps[step].weight
        fact = StepEntered(step=step, weight=weight, actor="policy", reason="passed")
        self.ledger.append(name, rollout.seq + 1, fact, self.now)

    def serving(self, plan: Plan = PLAN) -> World:
        first = orders.deploy(self.ledger, plan=plan, version="1", request=WHO, now=self.now).rollout
        self.pack(first.id)
        self.look(4)
        orders.complete(self.ledger, first.id, self.now)
        self.look()
        return self

    def ramping(self, plan: Plan = PLAN) -> str:
        """A rollout at its first step, seen by the data plane."""
        name = orders.start(self.ledger, plan=plan, version="2", request=WHO, now=self.now).rollout.id
        self.pack(name)
        self.look(4)
        self.enter(name, 0)
        self.look()
        return name


V1, V2 = BuildRef(model="m", version="1"), BuildRef(model="m", version="2")


def test_a_first_build_is_started_probed_and_served() -> None:
    world = World().serving()
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}
    first = world.ledger.rollouts()[0]
    assert (first.ending, first.observed_epoch) == (Ending.ESTABLISHED, first.epoch)


def test_weight_comes_only_to_a_candidate_that_answered_its_probes() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.town.sick.add(V2)
    world.look(6)
    assert not world.ledger.rollout(name).ready
    world.town.sick.clear()
    world.look(4)
    assert world.ledger.rollout(name).ready
    assert all(weights["m"][2] == 0 for weights in world.gateway.history if weights)


def test_a_probe_waits_for_a_service_and_wakes_the_keeper_once_it_answers() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.town.orphaned.add(V2)
    world.town.sick.add(V2)
    world.pack(name)
    world.look(4)
    assert world.naps > 0
    before, world.naps, world.ready_after = world.woken, 0, 3
    world.look(2)
    assert (world.naps, world.woken) == (3, before), "what answers 503 waits for the next look"
    world.town.sick.clear()
    world.look(3)
    assert world.woken == before + PROBES, "each good probe is judged at once"
    assert world.ledger.rollout(name).ready


def test_a_service_that_is_started_again_is_probed_as_often_as_at_first() -> None:
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.look(30)
    assert V2 not in world.town.up
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    before = world.woken
    world.look(6)
    assert world.ledger.rollout(name).ready
    assert world.woken == before + PROBES


def test_a_candidate_that_raises_on_its_own_example_fails_at_once_and_says_why() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.town.raising.add(V2)
    world.look(REFUSALS)
    assert world.ledger.rollout(name).phase is Phase.LAUNCHING
    world.look(REFUSALS + 2)
    failed = world.ledger.rollout(name)
    assert (failed.ending, failed.reason.splitlines()[-1]) == (Ending.FAILED, "KeyError")


def test_an_error_that_passes_is_no_failure_and_a_launch_tells_what_it_is_at() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id

    def says() -> tuple[str | None, str]:
        view = rollout_view(read_for_views(world.ledger, [world.ledger.rollout(name)])[0], world.now)
        return view.launch, view.waits_for or ""

    assert says() == ("waiting", "waiting for Prefect to start the driver, 0s so far")
    world.pack(name)
    world.town.sick.add(V2)
    world.look(4)
    assert says()[0] == "starting"
    world.town.raising.add(V2)
    world.look(REFUSALS - 1)
    stage, words = says()
    assert (stage, words.startswith("probing for "), "starting " in words) == ("probing", True, True)
    world.town.raising.clear()
    world.town.sick.clear()
    world.look(4)
    assert world.ledger.rollout(name).ready
    assert says()[0] is None


def test_a_step_is_served_and_observed() -> None:
    world = World().serving()
    name = world.ramping()
    assert world.gateway.table.weights == {"m": ("1", "2", 1000)}
    rollout = world.ledger.rollout(name)
    assert rollout.observed_epoch == rollout.epoch
    assert rollout.step_observed_at is not None


def test_what_the_data_plane_cannot_tell_is_not_observed() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.look(4)
    world.gateway.blind = True
    world.enter(name, 0)
    world.look(3)
    assert world.ledger.rollout(name).step_observed_at is None


def test_an_abort_reaches_the_wire_in_one_look_then_the_candidate_drains_and_stops() -> None:
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.gateway.flying[V2] = 3
    world.look()
    assert world.gateway.table.weights == {"m": ("1", None, 0)}
    assert V2 in world.town.up, "still answering"
    world.gateway.flying.clear()
    world.look(8)
    assert set(world.town.up) == {V1}
    rollout = world.ledger.rollout(name)
    assert rollout.observed_epoch == rollout.epoch


def test_a_candidate_that_never_stops_answering_is_stopped_after_the_drain_limit() -> None:
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.gateway.flying[V2] = 1
    world.look(110)
    assert V2 in world.town.up
    world.look(15)
    assert V2 not in world.town.up


def test_guardrails_are_judged_while_paused_and_without_any_driver() -> None:
    world = World().serving()
    name = world.ramping()
    orders.pause(world.ledger, name, actor="ada", reason="lunch", now=world.now)
    world.decision = Decision(choice=Choice.ABORT, reason="errors failed")
    world.look()
    assert world.ledger.rollout(name).ending is Ending.ABORTED
    world.look()
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_without_a_supervisor_harm_is_still_stopped() -> None:
    world = World().serving()
    name = world.ramping()
    world.town.away = True
    world.decision = Decision(choice=Choice.ABORT, reason="errors failed")
    world.look(2)
    assert world.ledger.rollout(name).ending is Ending.ABORTED
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_promotion_keeps_stable_warm_until_it_has_baked() -> None:
    world = World().serving()
    name = world.ramping()
    orders.promote(world.ledger, name, actor="ada", reason="sure", now=world.now)
    world.look(30)
    assert world.gateway.table.weights == {"m": ("2", None, 0)}
    assert set(world.town.up) == {V1, V2}
    world.look(40)
    assert world.ledger.rollout(name).ending is Ending.PROMOTED
    assert set(world.town.up) == {V2}


def test_a_rollback_while_baking_finds_the_former_stable_still_running() -> None:
    world = World().serving()
    name = world.ramping()
    orders.promote(world.ledger, name, actor="ada", reason="sure", now=world.now)
    world.look(3)
    starts = list(world.town.starts)
    world.ledger.append(name, world.ledger.rollout(name).seq + 1, Baked(reason="rolled back"), world.now)
    world.look(2)
    orders.roll_back(world.ledger, model="m", variation="default", version=None, reason="x", request=WHO, now=world.now)
    world.look(4)
    assert world.gateway.table.weights == {"m": ("1", None, 0)}
    assert world.town.starts == starts, "nothing had to be started"


def test_an_abort_while_baking_goes_back_to_the_warm_stable() -> None:
    world = World().serving()
    name = world.ramping()
    orders.promote(world.ledger, name, actor="ada", reason="sure", now=world.now)
    world.look(3)
    starts = list(world.town.starts)
    orders.abort(world.ledger, name, actor="ada", reason="changed my mind", now=world.now)
    world.look()
    assert world.gateway.table.weights == {"m": ("1", None, 0)}
    assert world.town.starts == starts, "nothing had to be started"


def test_refused_routes_leave_the_old_in_force_and_pause_the_rollout_with_the_reason() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.look(4)
    before = world.gateway.table
    world.gateway.refuses = True
    world.enter(name, 0)
    world.look(3)
    rollout = world.ledger.rollout(name)
    assert rollout.phase is Phase.PAUSED
    assert "bad cluster" in rollout.reason
    assert world.gateway.table == before
    assert "bad cluster" in (refusal(world.ledger) or "")
    world.gateway.refuses = False
    orders.abort(world.ledger, name, actor="ada", reason="it is refused", now=world.now)
    world.look()
    assert refusal(world.ledger) is None


@pytest.mark.parametrize("restarts", [False, True])
def test_a_refused_model_pauses_alone_while_another_aborts_and_keeps_every_service_it_may_use(restarts: bool) -> None:
    world = World().serving()
    other = PLAN.model_copy(update={"model": "n"})
    first = orders.deploy(world.ledger, plan=other, version="1", request=WHO, now=world.now).rollout
    world.pack(first.id)
    world.look(4)
    fine, refused = world.ramping(), orders.start(world.ledger, plan=other, version="2", request=WHO, now=world.now)
    world.pack(refused.rollout.id)
    world.look(4)
    world.gateway.refused_model = "n"
    world.enter(refused.rollout.id, 0)
    world.look(3)
    if restarts:
        world.restarted()
    assert world.ledger.rollout(refused.rollout.id).phase is Phase.PAUSED
    assert world.ledger.rollout(fine).phase is Phase.RUNNING
    orders.abort(world.ledger, fine, actor="ada", reason="no", now=world.now)
    world.look()
    assert world.gateway.table.weights == {"m": ("1", None, 0), "n": ("1", None, 0)}
    aborted, held = world.ledger.rollout(fine), world.ledger.rollout(refused.rollout.id)
    assert aborted.observed_epoch == aborted.epoch
    assert held.observed_epoch != held.epoch, "what is not served is not said to be"
    assert "bad cluster of n" in (refusal(world.ledger) or "")
    there = {ref for ref in world.town.up if ref.model == "n"}
    orders.abort(world.ledger, held.id, actor="ada", reason="it is refused", now=world.now)
    world.look(8)
    assert {ref for ref in world.town.up if ref.model == "n"} == there, "the former routes may lead there"
    world.gateway.refused_model = None
    world.ramping()
    world.look(8)
    assert refusal(world.ledger) is None
    assert {ref for ref in world.town.up if ref.model == "n"} < there


@pytest.mark.parametrize("looks_before_the_kill", range(6))
def test_a_keeper_killed_after_any_look_carries_on(looks_before_the_kill: int) -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.look(looks_before_the_kill)
    world.restarted()
    world.look(4)
    assert world.ledger.rollout(name).ready
    assert world.town.starts.count(V2) == 1


def test_a_service_that_vanished_is_started_again() -> None:
    world = World().serving()
    world.ramping()
    del world.town.up[V2]
    world.look()
    assert V2 in world.town.up


def test_a_candidate_that_cannot_be_started_fails_the_rollout() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.town.broken.add(V2)
    world.pack(name)
    world.look(2)
    rollout = world.ledger.rollout(name)
    assert rollout.ending is Ending.FAILED
    assert "no such bento" in rollout.reason


def test_a_candidate_is_not_blamed_for_who_starts_it_and_is_away_for_a_while() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.town.broken.add(V2)
    world.town.why_broken = Unreachable("the cluster's API does not answer")
    world.pack(name)
    world.look(3)
    world.town.broken.clear()
    world.look(4)
    assert world.ledger.rollout(name).ready


def test_a_stable_service_that_was_given_up_is_started_anew() -> None:
    world = World().serving()
    world.town.given_up.add(V1)
    world.look(3)
    assert world.town.starts.count(V1) == 2
    assert V1 in world.town.up


def test_a_candidate_that_is_given_up_while_launching_fails_the_rollout() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.town.sick.add(V2)
    world.look(2)
    world.town.given_up.add(V2)
    world.look(1)
    assert "again and again" in world.ledger.rollout(name).reason


def test_drivers_are_seen_to_only_where_there_is_something_to_do() -> None:
    world = World().serving()
    name = world.ramping()
    world.garage.asked.clear()
    world.decision = Decision(choice=Choice.HOLD, reason="waiting for approval", person=True)
    world.look(3)
    assert name not in world.garage.asked
    world.decision = Decision(choice=Choice.ADVANCE, reason="approved")
    world.look()
    assert name in world.garage.asked


def test_a_queued_rollout_begins_when_its_target_is_free() -> None:
    world = World().serving()
    name = world.ramping()
    second = orders.start(world.ledger, plan=PLAN, version="3", request=WHO, now=world.now).rollout
    world.look()
    assert world.ledger.rollout(second.id).phase is Phase.QUEUED
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.look(2)
    assert world.ledger.rollout(second.id).phase is Phase.LAUNCHING


def test_a_verdict_of_the_first_build_is_never_asked() -> None:
    world = World().serving()
    world.look(3)
    assert world.judged == []


def test_rollback_promotes_as_soon_as_the_service_answers() -> None:
    world = World().serving()
    name = world.ramping()
    orders.promote(world.ledger, name, actor="ada", reason="sure", now=world.now)
    world.look(70)
    back = orders.roll_back(
        world.ledger, model="m", variation="default", version="1", reason="x", request=WHO, now=world.now
    ).rollout
    world.look(4)
    world.look()
    assert [e.fact.override for e in world.ledger.entries(back.id) if isinstance(e.fact, Promoted)] == [True]
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_a_rollout_that_cannot_be_judged_is_named_and_keeps_nobody_else_waiting() -> None:
    """The others are judged, a service that vanished is started again, and MLflow is looked at, look by look."""
    world = World().serving()
    first = world.ramping()
    other = Plan.model_validate(PLAN.document() | {"variation": "b"})
    second = orders.deploy(world.ledger, plan=other, version="3", request=WHO, now=world.now).rollout
    world.broken, world.judged = {first}, []
    world.pack(second.id)
    world.look(4)
    del world.town.up[V1]
    polls = world.polls
    world.look(6)
    assert world.ledger.rollout(second.id).ending is Ending.ESTABLISHED
    assert V1 in world.town.up
    assert world.polls > polls
    assert {name: str(blind) for name, blind in untended(world.ledger).items()} == {
        first: "cannot be judged since 2026-01-01 00:00:11 UTC: the keeper cannot judge it: ValueError: a look "
        "of another shape"
    }
    assert world.judged.count(first) >= 10, "it is tried again at every look"
    assert first not in world.garage.asked[-1:]
    world.broken.clear()
    world.look()
    assert untended(world.ledger) == {}


def test_a_keeper_that_starts_anew_forgets_no_rollout_that_cannot_be_judged() -> None:
    world = World().serving()
    name = world.ramping()
    world.broken = {name}
    world.look()
    since = untended(world.ledger)
    world.restarted()
    world.look(3)
    assert untended(world.ledger) == since
    orders.abort(world.ledger, name, actor="ada", reason="cannot be judged", now=world.now)
    world.look(3)
    assert untended(world.ledger) == {}
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


@pytest.mark.parametrize(("then", "phase"), [("pause", Phase.PAUSED), ("abort", Phase.ENDED)])
def test_a_rollout_that_cannot_be_judged_is_stopped_as_its_plan_says(then: str, phase: Phase) -> None:
    """Its driver hangs, and every look at it fails, each time for another reason."""
    world = World().serving()
    plan = Plan.model_validate(PLAN.document() | {"blind": {"after": "1m", "then": then}})
    name = world.ramping(plan)
    world.broken = {name}
    world.look(58)
    assert world.ledger.rollout(name).phase is Phase.RUNNING
    world.restarted()
    world.broken = {name}
    world.look(4)
    rollout = world.ledger.rollout(name)
    assert (rollout.phase, rollout.actor, rollout.party) == (phase, "keeper", Party.KEEPER)
    assert rollout.reason.startswith("the rollout could not be judged for 1m: the keeper cannot judge it: ValueError")
    seq = rollout.seq
    world.look(10)
    assert world.ledger.rollout(name).seq <= seq + 1, "it is said once"
    if then == "abort":
        assert world.gateway.table is not None
        assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_a_rollout_whose_judgement_never_ends_is_stopped_as_its_plan_says() -> None:
    """Telemetry hangs: the look itself asks the ledger alone, and a keeper that is restarted counts on."""
    world = World().serving()
    name = world.ramping(Plan.model_validate(PLAN.document() | {"blind": {"after": "1m", "then": "abort"}}))
    hold = threading.Event()
    for seconds in (40, 30):  # the supervisor restarts a keeper whose judging hangs
        begun = threading.Event()
        world.restarted()
        world.keeper.beside = Beside()
        world.keeper.judge = lambda *_, begun=begun: (begun.set(), hold.wait(60))  # type: ignore[assignment,misc]
        world.look()
        assert begun.wait(30)
        assert world.ledger.rollout(name).phase is Phase.RUNNING
        world.look(seconds)
    world.look(30)
    hold.set()
    rollout = world.ledger.rollout(name)
    assert (rollout.ending, rollout.party) == (Ending.ABORTED, Party.KEEPER)
    assert "judging has not finished" in rollout.reason
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_routes_come_before_what_may_take_time() -> None:
    """An abort is on the wire before any rollout is judged, a service started or a driver seen to."""
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.broken = {name}
    seen: list[object] = []
    world.keeper.see_to_drivers = lambda *_: seen.append(world.gateway.table.weights if world.gateway.table else None)
    world.keeper.look(world.now + timedelta(seconds=1))
    assert seen == [{"m": ("1", None, 0)}]


def test_a_candidate_without_an_endpoint_is_not_observed() -> None:
    world = World().serving()
    name = world.ramping()
    world.enter(name, 1)
    del world.town.up[V2]
    world.keeper.services.start = lambda *_: None  # type: ignore[method-assign]
    world.look(3)
    rollout = world.ledger.rollout(name)
    assert rollout.observed_epoch < rollout.epoch


def test_a_rollback_bakes_not_at_all() -> None:
    """What it goes back to has served before: the build before it is not kept warm for the plan's time."""
    world = World().serving()
    name = world.ramping()
    orders.promote(world.ledger, name, actor="ada", reason="sure", now=world.now)
    world.look()
    back = orders.roll_back(
        world.ledger, model="m", variation="default", version=None, reason="x", request=WHO, now=world.now
    ).rollout
    world.look(6)
    assert world.ledger.rollout(back.id).ending is Ending.PROMOTED


def test_an_abort_waits_for_no_lease_of_a_driver() -> None:
    world = World().serving()
    name = world.ramping()
    lease = Lease(rollout=name, owner="driver", expires_at=world.now + timedelta(hours=1))
    assert world.ledger.take_lease(lease, world.now)
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.look()
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


@pytest.mark.parametrize("hangs", ["catalog", "judging", "services"])
def test_an_abort_waits_for_nothing_that_hangs(hangs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().serving()
    name = world.ramping()
    hold, begun = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        begun.set()
        hold.wait(60)

    world.keeper.beside = Beside()
    match hangs:
        case "catalog":
            world.keeper.catalog_look = hang
        case "judging":
            world.keeper.judge = hang  # type: ignore[assignment]
        case _:
            monkeypatch.setattr(world.town, "running", hang)
    world.look(10)
    assert begun.wait(30)
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.look(2)
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}
    assert world.ledger.rollout(name).observed_epoch == world.ledger.rollout(name).epoch
    hold.set()


def test_routes_that_cannot_be_written_keep_nothing_else_from_being_done_and_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    judged = len(world.judged)
    other = orders.start(world.ledger, plan=PLAN, version="3", request=WHO, now=world.now).rollout.id
    world.pack(other)
    with monkeypatch.context() as full:
        full.setattr(world.gateway, "apply", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        world.look(3)
        assert world.ledger.rollout(name).observed_epoch < world.ledger.rollout(name).epoch, "and that is seen"
    assert world.polls > 0
    assert len(world.judged) >= judged
    world.look()
    rollout = world.ledger.rollout(name)
    assert rollout.observed_epoch == rollout.epoch
    assert world.gateway.table is not None
    assert world.gateway.table.weights == {"m": ("1", None, 0)}


def test_what_holds_a_service_up_is_told_while_it_is_launched() -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.town.sick.add(V2)
    world.look(HELD_SECONDS - 5)
    assert delay(world.ledger, name) == "", "it may be about to be ready"
    world.look(10)
    assert delay(world.ledger, name) == "503"
    view = rollout_view(read_for_views(world.ledger, [world.ledger.rollout(name)])[0], world.now)
    assert ": 503" in (view.waits_for or ""), view.waits_for
    world.town.sick.clear()
    world.look(5)
    assert world.ledger.rollout(name).ready
    assert delay(world.ledger, name) == ""


@pytest.mark.parametrize("jump", [-timedelta(days=1), timedelta(days=1)])
def test_a_wall_clock_that_is_set_shortens_and_lengthens_nothing(jump: timedelta) -> None:
    world = World().serving()
    name = orders.start(world.ledger, plan=PLAN, version="2", request=WHO, now=world.now).rollout.id
    world.pack(name)
    world.town.sick.add(V2)
    world.look(10)
    polls, world.now = world.polls, world.now + jump
    world.look(100)
    assert world.polls == polls + 20
    assert world.ledger.rollout(name).phase is Phase.LAUNCHING, "its time to become ready is not over"
    world.look(100)
    failed = world.ledger.rollout(name)
    assert (failed.ending, failed.reason) == (Ending.FAILED, "serve: not ready after 180 s: 503"), "and now it is"
    world.look(10)
    assert V2 not in world.town.up


def test_what_was_ordered_and_is_not_in_force_is_told_after_a_while() -> None:
    world = World().serving()
    name = world.ramping()
    assert overdue(world.ledger, world.now) == {}
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    assert overdue(world.ledger, world.now + timedelta(seconds=9)) == {}
    late = overdue(world.ledger, world.now + timedelta(seconds=25))
    assert late == {name: "0 % for m v2, ordered 25 s ago"}, "as doctor says it"
    assert overdue(world.ledger, world.now - timedelta(days=1)).keys() == {name}, "whatever the clock says"
    world.look()
    assert overdue(world.ledger, world.now + timedelta(seconds=25)) == {}


def test_facts_after_an_abort_do_not_put_off_that_it_is_told() -> None:
    """MLflow is told and a hook is called while the gateway still serves the candidate."""
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    later = (
        Settled(changes=("alias champion",)),
        HookCalled(after="abort", position=0, attempt=1, answer="taken", actor="a hook", reason="200"),
    )
    for seconds, fact in enumerate(later, start=7):
        rollout = world.ledger.rollout(name)
        world.ledger.append(name, rollout.seq + 1, fact, world.now + timedelta(seconds=seconds))
    late = overdue(world.ledger, world.now + timedelta(seconds=11))
    assert late == {name: "0 % for m v2, ordered 11 s ago"}


def test_a_service_that_was_stopped_by_halves_is_stopped_whole() -> None:
    """As when the supervisor hung in the middle of it."""
    world = World().serving()
    name = world.ramping()
    orders.abort(world.ledger, name, actor="ada", reason="no", now=world.now)
    world.town.half_stopped.add(V2)
    world.look(10)
    assert V2 not in world.town.up


def test_a_table_that_is_older_than_the_gateways_is_shown_until_one_is_taken() -> None:
    """No rollout pauses for it: the table may be another keeper's to bring."""
    world = World()
    name = world.serving().ramping()
    weights = world.gateway.history[-1]
    world.gateway.holds_newer = True
    world.enter(name, 1)
    world.look(2)
    assert (world.gateway.history[-1], world.ledger.rollout(name).phase) == (weights, Phase.RUNNING)
    assert "sluice restored" in (refusal(world.ledger) or "")
    world.gateway.holds_newer = False
    world.look()
    assert refusal(world.ledger) is None
    assert world.gateway.history[-1] != weights


def test_every_look_that_reads_the_ledger_and_may_route_says_that_somebody_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused routes are watched all the same; a ledger that is away, or a newer table, leaves nobody to watch."""
    world = World().serving()
    world.ramping()
    before = world.gateway.renewals
    world.look(3)
    world.gateway.refuses = True
    world.look(2)
    assert world.gateway.renewals == before + 5
    world.gateway.refuses, world.gateway.holds_newer = False, True
    world.enter(world.ledger.current()[-1].id, 1)
    world.look(2)
    world.gateway.holds_newer = False

    def away(*_: object) -> None:
        raise Unreachable("the ledger cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "current", away)
        with pytest.raises(Unreachable):
            world.look()
    assert world.gateway.renewals == before + 5
