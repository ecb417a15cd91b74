"""The keeper and replicas: as many as the plan asks for, each restarted alone, none ended while it is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.plan.placement import Placement
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.services.keeper.fleet_pass import HUNG_SECONDS, SPARE_SECONDS, Need
from tests.doubles.one_each import AllHere
from tests.unit.test_keeper import V1, World

PACKED = Packed(bento="b", env="python", bento_digest="d", model_digest="m")


@dataclass
class Crews(AllHere):
    """Services of several replicas, in memory."""

    up: dict[BuildRef, set[int]] = field(default_factory=dict)
    gone: dict[BuildRef, set[int]] = field(default_factory=dict)
    """Those that leave."""
    hung: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    ended: list[int] = field(default_factory=list)

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        self.up.setdefault(build, set()).update(range(1, serve.replicas + 1))

    def retire(self, build: BuildRef, keep: int) -> None:
        self.gone[build] = {number for number in self.up[build] if number > keep}
        self.up[build] -= self.gone[build]

    def leaving(self) -> frozenset[BuildRef]:
        return frozenset(build for build, numbers in self.gone.items() if numbers)

    def dismiss(self, build: BuildRef) -> None:
        self.ended += sorted(self.gone.pop(build))

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        broken = self.given_up | {each.port for each in hanging}
        self.ended += sorted(broken)
        self.up[build] -= broken
        self.hung -= broken
        self.given_up = set()

    def stop(self, build: BuildRef) -> None:
        self.ended += sorted(self.up.pop(build))

    def endpoints(self) -> Endpoints:
        return {build: tuple(_end(build, each) for each in sorted(numbers)) for build, numbers in self.up.items()}

    def running(self) -> Mapping[BuildRef, int]:
        return {build: len(numbers) for build, numbers in self.up.items()}

    def probe(self, build: BuildRef) -> str | None:
        return None

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        return [_end(build, number) for number in self.hung & self.up[build]]

    def gave_up(self, build: BuildRef) -> str | None:
        return "it ended again and again" if self.given_up else None


def _end(build: BuildRef, number: int) -> Endpoint:
    return Endpoint(build=build, host="127.0.0.1", port=number)


class Village(World):
    """A world whose services have replicas."""

    def __init__(self, replicas: int = 3) -> None:
        super().__init__()
        self.crews = Crews()
        self.keeper.fleet.services = self.crews
        self.replicas = replicas
        self.placement = Placement()

    def passes(self, seconds: int = 1, *, in_force: bool = True) -> None:
        """So many looks, a second apart."""
        for _ in range(seconds):
            self.seconds += 1
            wanted = (Need(build=V1, packed=PACKED, serve=Serve(replicas=self.replicas, placement=self.placement)),)
            self.keeper.fleet.start(wanted, (), self.now)
            if in_force:
                self.keeper.fleet.stop(wanted, frozenset({V1}))


def test_as_many_replicas_run_as_the_plan_asks_for() -> None:
    village = Village()
    village.passes()
    assert village.crews.up == {V1: {1, 2, 3}}


def test_more_come_beside_those_that_run() -> None:
    village = Village(1)
    village.passes()
    village.replicas = 3
    village.passes()
    assert (village.crews.up, village.crews.ended) == ({V1: {1, 2, 3}}, [])


def test_fewer_are_asked_no_more_at_once_and_end_a_while_after_the_addresses_are_in_force() -> None:
    village = Village()
    village.passes()
    village.replicas = 1
    village.passes(30, in_force=False)
    assert village.crews.endpoints() == {V1: (_end(V1, 1),)}
    assert not village.crews.ended, "whether they are still asked is not known"
    village.passes(SPARE_SECONDS)
    assert not village.crews.ended
    village.passes(2)
    assert (village.crews.up, village.crews.ended) == ({V1: {1}}, [2, 3])


def test_replicas_that_an_autoscaler_added_stay() -> None:
    village = Village()
    village.passes()
    village.replicas, village.placement = 1, Placement(autoscaler="delays")
    village.passes(SPARE_SECONDS + 5)
    assert (village.crews.up, village.crews.ended) == ({V1: {1, 2, 3}}, [])


def test_a_replica_that_is_wanted_again_stays() -> None:
    village = Village()
    village.passes()
    village.replicas = 1
    village.passes()
    village.crews.gone.clear()  # as `start` does
    village.replicas = 3
    village.passes(SPARE_SECONDS + 5)
    assert (village.crews.up, village.crews.ended) == ({V1: {1, 2, 3}}, [])


def test_a_replica_that_was_given_up_is_restarted_alone() -> None:
    village = Village()
    village.passes()
    village.crews.given_up = {2}
    village.passes(3)
    assert (village.crews.up, village.crews.ended) == ({V1: {1, 2, 3}}, [2])


def test_a_hung_replica_is_restarted_alone() -> None:
    village = Village()
    village.passes(10)
    village.crews.hung = {3}
    village.passes(HUNG_SECONDS - 5)
    assert not village.crews.ended, "one that is busy has its time"
    village.passes(15)
    assert (village.crews.up, village.crews.ended) == ({V1: {1, 2, 3}}, [3])


def test_one_that_answers_now_and_then_is_busy() -> None:
    village = Village()
    for _ in range(6):
        village.crews.hung = {3}
        village.passes(HUNG_SECONDS - 10)
        village.crews.hung = set()
        village.passes(10)
    assert not village.crews.ended


def test_where_none_answers_none_is_restarted() -> None:
    village = Village()
    village.passes()
    village.crews.hung = {1, 2, 3}
    village.passes(3 * HUNG_SECONDS)
    assert not village.crews.ended, "the model or its callers are to blame"


def test_the_plan_of_a_rollout_says_how_many() -> None:
    world = World()
    crews = Crews()
    world.keeper.services = world.keeper.fleet.services = crews
    world.serving(Plan.model_validate({"model": "m", "steps": [{"weight": 10}], "serve": {"replicas": 2}}))
    assert crews.up == {V1: {1, 2}}
