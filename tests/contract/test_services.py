"""What runs the services of builds keeps its promises, wherever it runs them: on one machine, and in a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import ServiceFailed, Unreachable
from sluicegate.services.bento import readiness
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.readiness import is_alive
from sluicegate.services.cluster.deployments import ClusterServices
from tests.contract.fleets import World, in_cluster, machine
from tests.doubles.answering import Mode

pytestmark = pytest.mark.timeout(120)
REF, OTHER = BuildRef(model="delays", version="1"), BuildRef(model="delays", version="2")


@pytest.fixture(params=["fleet", "cluster"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with machine(tmp_path) if request.param == "fleet" else in_cluster() as found:
        yield found


@pytest.fixture
def services(world: World) -> Fleet | ClusterServices:
    return world.services()


def eventually(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never came to be so"
        time.sleep(0.02)


def started(world: World, replicas: int = 1, build: BuildRef = REF) -> tuple[Endpoint, ...]:
    """Where this many replicas answer, once they do."""
    services = world.services()
    services.start(build, world.pack(f"delays:v{build.version}-abc"), Serve(replicas=replicas))
    eventually(lambda: len(world.services().ready(build)) == replicas)
    return world.services().endpoints()[build]


def test_where_nothing_was_started_nothing_is(services: Fleet | ClusterServices) -> None:
    assert dict(services.endpoints()) == {}
    assert dict(services.running()) == {}
    assert services.leaving() == frozenset()
    assert services.probe(REF) == "delays v1 was not started"
    assert set(services.ready(REF)) == set()
    assert set(services.hanging(REF)) == set()
    assert services.gave_up(REF) is None


def test_a_started_build_runs_answers_and_is_found_by_another_process(world: World) -> None:
    endpoints = started(world)
    again = world.services()
    assert dict(again.running()) == {REF: 1}
    assert set(again.ready(REF)) == set(endpoints)
    assert again.probe(REF) is None
    assert again.gave_up(REF) is None
    assert is_alive(endpoints[0])


def test_the_same_again_changes_nothing(world: World) -> None:
    endpoints = started(world, replicas=2)
    assert started(world, replicas=2) == endpoints


def test_more_replicas_join_those_that_run(world: World) -> None:
    one = started(world)
    three = started(world, replicas=3)
    assert len(three) == 3
    assert set(one) <= set(three)
    assert dict(world.services().running()) == {REF: 3}
    assert dict(world.services().replicas()) == {REF: (3, 3)}


def test_another_bento_of_a_running_build_is_refused(world: World) -> None:
    endpoints = started(world)
    with pytest.raises(ServiceFailed, match="runs from another bento"):
        world.services().start(REF, world.pack("delays:v1-other"), Serve())
    assert world.services().endpoints()[REF] == endpoints


def test_a_build_that_reads_its_model_runs_and_is_not_ready(world: World) -> None:
    world.behave(Mode.STARTING)
    world.services().start(REF, world.pack(), Serve())
    eventually(lambda: world.services().endpoints().get(REF))
    assert dict(world.services().running()) == {REF: 1}
    assert set(world.services().ready(REF)) == set()
    assert world.services().probe(REF)
    assert world.services().gave_up(REF) is None


def test_nobody_is_sent_to_replicas_that_leave_and_they_answer_until_they_are_dismissed(world: World) -> None:
    before = started(world, replicas=3)
    services = world.services()
    services.retire(REF, 1)
    eventually(lambda: len(world.services().endpoints()[REF]) == 1)
    kept = world.services().endpoints()[REF]
    assert set(kept) < set(before)
    assert world.services().leaving() == {REF}
    assert dict(world.services().running()) == {REF: 1}
    assert all(is_alive(each) for each in before)
    services.dismiss(REF)
    assert world.services().leaving() == frozenset()
    assert world.services().endpoints()[REF] == kept
    assert [is_alive(each) for each in before] == [each in kept for each in before]


def test_replicas_that_leave_are_taken_back_as_they_are(world: World) -> None:
    before = started(world, replicas=2)
    world.services().retire(REF, 1)
    assert world.services().leaving() == {REF}
    assert started(world, replicas=2) == before
    assert world.services().leaving() == frozenset()


def test_a_stopped_build_is_gone_and_another_one_stays(world: World) -> None:
    gone, stays = started(world, replicas=2), started(world, build=OTHER)
    world.services().stop(REF)
    assert dict(world.services().endpoints()) == {OTHER: stays}
    assert dict(world.services().running()) == {OTHER: 1}
    assert not any(is_alive(each) for each in gone)
    assert is_alive(stays[0])


def test_what_is_not_there_is_stopped_retired_dismissed_and_mended_without_an_error(world: World) -> None:
    services = world.services()
    services.stop(REF)
    services.retire(REF, 1)
    services.dismiss(REF)
    services.mend(REF)
    assert dict(services.running()) == {}


def test_a_build_that_was_stopped_can_be_started_from_another_bento(world: World) -> None:
    started(world)
    world.services().stop(REF)
    world.services().start(REF, world.pack("delays:v1-other"), Serve())
    eventually(lambda: world.services().probe(REF) is None)


def test_a_replica_that_cannot_run_is_given_up_with_the_reason_and_mended(world: World) -> None:
    stays = started(world)
    world.behave(Mode.GIVEN_UP)
    world.services().start(REF, world.pack(), Serve(replicas=2))
    eventually(lambda: "ValueError: no such file" in (world.services().gave_up(REF) or ""))
    world.behave(Mode.READY)
    world.services().mend(REF)
    assert set(started(world, replicas=2)) > set(stays)
    assert world.services().gave_up(REF) is None


def test_a_replica_that_hangs_is_named_and_replaced_and_the_other_answers_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LIVE_SECONDS", 0.5)
    ill, well = started(world, replicas=2)
    world.replica(ill.address).is_hanging = True
    assert set(world.services().hanging(REF)) == {ill}
    world.services().mend(REF, [ill])
    world.services().start(REF, world.pack(), Serve(replicas=2))
    eventually(lambda: len(world.services().ready(REF)) == 2 and not world.services().hanging(REF))
    assert well in world.services().endpoints()[REF]
    assert world.services().probe(REF) is None


def test_a_model_that_cannot_answer_its_own_example_is_told_apart_from_one_that_is_not_up_yet(world: World) -> None:
    world.behave(Mode.REFUSING)
    started(world)
    with pytest.raises(ServiceFailed, match="input example with 500: the model raised ValueError: no such column"):
        world.services().probe(REF)


def test_who_runs_the_replicas_and_is_away_is_said_to_be(world: World) -> None:
    started(world)
    services = world.services()
    world.away()
    with pytest.raises(Unreachable):
        services.running()
    with pytest.raises(Unreachable):
        services.start(REF, world.pack(), Serve(replicas=2))
    with pytest.raises(Unreachable):
        services.gave_up(REF)


def test_every_bento_that_is_here_is_not_fetched(world: World) -> None:
    packed = world.pack()
    assert not world.services().lacks(packed)
    world.services().fetch(packed)
