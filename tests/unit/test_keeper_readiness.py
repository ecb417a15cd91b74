"""The keeper notes which builds of rollouts under way have no service that is ready, since when, and why."""

from __future__ import annotations

from datetime import datetime, timedelta

from sluicegate.registry.ledger.keeper_notes import readiness
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.readiness import STALE
from tests.unit.test_keeper import V1, V2, World


def said(world: World, build: BuildRef) -> str | None:
    """Why a build may not get more requests now."""
    unready = readiness(world.ledger).unready(build, world.now)
    return unready.reason if unready is not None else None


def since(world: World) -> datetime:
    """Since when the one build that is noted is not ready."""
    [unready] = readiness(world.ledger).noted
    return unready.since


def test_a_candidate_and_stable_that_are_ready_are_not_noted() -> None:
    world = World().serving()
    world.ramping()
    assert (said(world, V1), said(world, V2)) == (None, None)
    assert readiness(world.ledger).noted_at is not None


def test_workers_that_outlived_their_process_are_no_ready_service_although_they_answer() -> None:
    world = World().serving()
    world.ramping()
    world.town.orphaned = {V2}
    world.look()
    assert "its process ended" in (said(world, V2) or "")
    assert said(world, V1) is None
    first = since(world)
    world.look(10)
    assert since(world) == first
    world.town.orphaned = set()
    world.look()
    assert said(world, V2) is None


def test_since_when_outlives_the_keeper() -> None:
    world = World().serving()
    world.ramping()
    world.town.orphaned = {V2}
    world.look()
    first = since(world)
    world.restarted()
    world.look(8)
    assert since(world) == first


def test_a_service_that_takes_connections_and_does_not_answer_is_not_ready() -> None:
    world = World().serving()
    world.ramping()
    world.town.hung = {V1}
    world.look(7)
    assert said(world, V1) == "it takes connections and does not answer"
    assert said(world, V2) is None
    world.town.hung = set()
    world.look(7)
    assert said(world, V1) is None


def test_what_was_noted_long_ago_is_no_readiness() -> None:
    world = World().serving()
    world.ramping()
    world.now += STALE + timedelta(seconds=1)
    assert "nobody looks" in (said(world, V2) or "")
    world.look()
    assert said(world, V2) is None


def test_while_nothing_is_under_way_nothing_is_written() -> None:
    world = World().serving()
    world.look(3)
    before = readiness(world.ledger).noted_at
    world.look(20)
    assert readiness(world.ledger).noted_at == before
