"""Each audience is a rollout of its own: one promotes, one is held, one is aborted, on one model in one run."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.orders.connections_record import all_connections
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.services.keeper.fleet_pass import FleetPass
from sluicegate.services.keeper.keeper import Keeper
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.slots import holder, slot
from sluicegate.services.traffic.table import RouteTable
from tests import giving as orders
from tests.acceptance.three_audiences import CANDIDATE, MODEL, STABLE, STATES, Three
from tests.doubles.ledger import MemoryLedger
from tests.doubles.plane import MemoryDataPlane
from tests.unit.test_keeper import Garage, Inline, Town

START = datetime(2026, 1, 1, tzinfo=UTC)


class Counts:
    """Tallies by rollout, in memory, of what the route table assigned."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[tuple[Stratum, int, Arm], Tally]] = defaultdict(dict)
        self._watermark = 0

    def add(self, assigned: Assigned, now: datetime, *, failed: bool) -> None:
        if assigned.rollout is None:
            return
        stratum = Stratum(epoch=assigned.epoch, bucket=int(now.timestamp()) // 300 * 300)
        rows, key = self._rows[assigned.rollout], (stratum, assigned.weight, assigned.arm)
        rows[key] = rows.get(key, Tally()) + Tally.from_values([float(failed)])
        self._watermark += 1

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        rows = self._rows[rollout].items()
        return self._watermark, tuple(
            TallyRow(metric="errors", stratum=s, weight=w, arm=arm, tally=tally) for (s, w, arm), tally in rows
        )

    def progress(self, rollout: str, epoch: int) -> int:
        rows = self._rows[rollout].items()
        return sum(tally.n for (s, _, arm), tally in rows if s.epoch == epoch and arm is Arm.CANDIDATE)

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        return None


class Plane(MemoryDataPlane):
    """The in-process data plane with the real compiler."""

    def __init__(self, ledger: MemoryLedger) -> None:
        super().__init__(draw=lambda slots: 0)
        self._ledger = ledger

    def compile(
        self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken
    ) -> RouteTable:
        return replace(routes(standings, running, all_connections(self._ledger)), made_from=made_from)

    @contextmanager
    def under_way(self, build: BuildRef) -> Iterator[None]:
        """A request that a build is answering inside the `with` block."""
        self._active[build] += 1
        yield
        self._active[build] -= 1

    def assigned(self, metadata: Mapping[str, str], unit: str) -> Assigned:
        """The mark of the slot that a request falls into."""
        audience = self._stored.model(MODEL).audience(metadata)
        at = slot(audience.salt, unit)
        return audience.slices[holder([part.size for part in audience.slices], at)].target.assigned


class World:
    """A ledger, a keeper over in-memory services and routes, and requests from four states."""

    def __init__(self) -> None:
        self.ledger, self.town, self.counts, self.now = MemoryLedger(), Town(), Counts(), START
        self.plane, self.chance = Plane(self.ledger), random.Random(7)
        self.three = Three(self.ledger, self.counts)
        fleet = FleetPass(ledger=self.ledger, services=self.town, plane=self.plane, pool=Inline(), elapsed=self.elapsed)
        self.keeper = Keeper(
            made_from=MadeFrom(self.ledger, lambda: 0), leads=lambda: True,
            ledger=self.ledger, services=self.town, plane=self.plane, see_to_drivers=Garage().see_to,
            judge=self.three.judge, fleet=fleet, catalog_look=lambda now: None, clock=lambda: self.now,
            elapsed=self.elapsed,
        )  # fmt: skip
        self.served: dict[str, Counter[str]] = defaultdict(Counter)

    def elapsed(self) -> float:
        return (self.now - START).total_seconds()

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=1)
            self.keeper.look(self.now)

    def requests(self, count: int) -> None:
        """Requests from each state, and from elsewhere; Texas' candidate fails every other one."""
        for name, state in {**STATES, "default": "Nevada"}.items():
            for _ in range(count):
                assigned = self.plane.assigned({"State": state}, f"u-{self.chance.randrange(10_000)}")
                failed = assigned.build == CANDIDATE["tx"] and self.chance.random() < 0.5
                self.counts.add(assigned, self.now, failed=failed)
                self.served[name][assigned.build] += 1

    def started(self) -> World:
        """Three rollouts at their first step."""
        self.three.deploy(self.now)
        self.look(6)
        self.three.roll_out(self.now)
        self.look(6)
        return self

    def run(self, rounds: int = 400) -> World:
        for _ in range(rounds):
            self.three.drive(self.now)
            self.look(2)
            self.requests(20)
            if self.three.is_over:
                break
        return self


@pytest.fixture(scope="module")
def over() -> World:
    """The world after everything that policy alone decides; not changed by tests."""
    return World().started().run()


def test_three_audiences_end_in_three_states_in_one_run(over: World) -> None:
    ny, ca, tx = (over.three.rollout(name) for name in STATES)
    assert (ny.phase, ny.actor) == (Phase.BAKING, "policy")
    assert (ca.phase, ca.step) == (Phase.RUNNING, 1), "held for a person"
    assert (tx.ending, tx.actor) == (Ending.ABORTED, "policy")


def test_nobody_gets_another_audiences_builds(over: World) -> None:
    assert set(over.served["default"]) == {STABLE["default"]}, "the rest is untouched"
    for name in STATES:
        assert set(over.served[name]) == {STABLE[name], CANDIDATE[name]}


def test_each_rollouts_tallies_hold_only_its_own_requests(over: World) -> None:
    for name, rollout in over.three.rollouts.items():
        rows = over.counts.tallies(rollout)[1]
        assert 0 < sum(row.tally.n for row in rows) <= over.served[name].total()
        assert {row.arm for row in rows} == {Arm.STABLE, Arm.CANDIDATE}


def test_what_is_held_goes_on_and_what_is_aborted_stays_away_after_the_others_ended() -> None:
    world = World().started().run()
    orders.approve(world.ledger, world.three.rollouts["ca"], actor="ada", reason="seen", now=world.now)
    for _ in range(3):
        world.three.drive(world.now)
        world.look(10)
    world.served.clear()
    world.requests(200)
    assert world.three.rollout("ca").took_over
    assert {name: set(builds) for name, builds in world.served.items()} == {
        "ny": {"5"}, "ca": {"6"}, "tx": {"4"}, "default": {"1"},
    }  # fmt: skip
    assert BuildRef(model=MODEL, version="7") not in world.town.up


def test_an_undeployed_variation_leaves_the_routes_first_then_drains_then_stops() -> None:
    world = World()
    world.three.deploy(world.now)
    world.look(6)
    texas = BuildRef(model=MODEL, version=STABLE["tx"])
    with world.plane.under_way(texas):
        orders.take_away(world.ledger, model=MODEL, variation="tx", audience="tx", actor="ada", now=world.now)
        orders.undeploy(
            world.ledger, model=MODEL, variation="tx", is_last=False, actor="ada", reason="over", now=world.now
        )
        world.look(10)
        world.requests(50)
        assert set(world.served["tx"]) == {STABLE["default"]}, "to the fallback"
        assert texas in world.town.up, "still answering"
    world.look(8)
    assert texas not in world.town.up
    assert {build.version for build in world.town.up} == {"1", "2", "3"}
