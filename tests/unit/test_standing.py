"""Standings: what traffic a target's rollouts ask for, and which services must run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.rollout.facts import FACTS, Baked, Begun, Established, Fact, Promoted, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import current, standings, trusted
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import IllegalMove
from sluicegate.registry.words.units import FULL
from tests.unit import rollouts
from tests.unit.test_rollout import ABORTED, AT, FIRST, PACKED, PAUSED, SECOND, after, requested

BAKED = Baked(reason="30m")
PROMOTED = Promoted(actor="ada", reason="good", override=True, verdicts={})
ESTABLISHED = Established(actor="ada", reason="first")


def build(version: str) -> BuildRef:
    return BuildRef(model="delays", version=version)


def rollout(version: str, stable: str | None, *facts: Fact, start: int = 0, variation: str = "default") -> Rollout:
    """A rollout of a version, begun beside a stable, that starts `start` minutes after the first."""
    first = requested()
    moved = replace(
        first,
        id=f"r{version}",
        requested=replace(first.requested, version=version, variation=variation),
        requested_at=AT + timedelta(minutes=start),
    )
    for fact in (Begun(stable=stable), *facts):
        moved = after(moved, fact, seconds=60 * (start + 1))
    return moved


READY = (PACKED, Ready(version="x"))
FIRST_BUILD = rollout("1", None, *READY, ESTABLISHED)


def test_a_target_without_a_first_build_has_no_standing() -> None:
    assert standings([]) == ()
    assert standings([rollout("1", None, PACKED)]) == ()


def test_the_first_build_is_stable() -> None:
    [standing] = standings([FIRST_BUILD])
    assert (standing.stable, standing.candidate, standing.weight, standing.rollout) == (build("1"), None, 0, None)
    assert standing.needed == {build("1")}


def test_a_candidate_is_warm_before_it_has_weight() -> None:
    [standing] = standings([FIRST_BUILD, rollout("2", "1", *READY, start=5)])
    assert (standing.candidate, standing.weight, standing.warm) == (None, 0, {build("2")})
    [unpacked] = standings([FIRST_BUILD, rollout("2", "1", start=5)])
    assert unpacked.needed == {build("1")}


@pytest.mark.parametrize("facts", [(), (PAUSED,)])
def test_a_running_or_paused_candidate_has_its_weight(facts: tuple[Fact, ...]) -> None:
    [standing] = standings([FIRST_BUILD, rollout("2", "1", *READY, FIRST, *facts, start=5)])
    assert (standing.stable, standing.candidate, standing.weight) == (build("1"), build("2"), 1_000)
    assert (standing.rollout, standing.epoch, standing.needed) == ("r2", 1, {build("1"), build("2")})


def test_an_abort_restores_exactly_what_was() -> None:
    before = standings([FIRST_BUILD])
    aborted = rollout("2", "1", *READY, FIRST, SECOND, ABORTED, start=5)
    assert standings([FIRST_BUILD, aborted]) == before


def test_a_promoted_candidate_is_stable_and_the_former_stays_warm() -> None:
    baking = rollout("2", "1", *READY, FIRST, PROMOTED, start=5)
    [standing] = standings([FIRST_BUILD, baking])
    assert (standing.stable, standing.candidate, standing.weight) == (build("2"), None, 0)
    assert (standing.warm, standing.former) == ({build("1")}, build("1"))
    [done] = standings([FIRST_BUILD, after(baking, BAKED)])
    assert (done.stable, done.needed) == (build("2"), {build("2")})


def test_the_former_is_served_as_its_own_plan_says() -> None:
    served = replace(FIRST_BUILD, replicas=3)
    baking = rollout("2", "1", *READY, FIRST, PROMOTED, start=5)
    [standing] = standings([served, baking])
    assert standing.former_serve == served.serve != standing.serve
    [done] = standings([served, after(baking, BAKED)])
    assert done.former_serve is None


def test_an_abort_while_baking_goes_back_to_the_former() -> None:
    aborted = rollout("2", "1", *READY, FIRST, PROMOTED, ABORTED, start=5)
    assert standings([FIRST_BUILD, aborted]) == standings([FIRST_BUILD])


def test_the_last_that_took_over_is_trusted_whatever_the_order() -> None:
    second = rollout("2", "1", *READY, FIRST, PROMOTED, BAKED, start=5)
    back = rollout("1b", "2", *READY, PROMOTED, BAKED, start=50)
    for order in ([FIRST_BUILD, second, back], [back, FIRST_BUILD, second], [second, back, FIRST_BUILD]):
        assert trusted(order) is back
        assert [standing.stable for standing in standings(order)] == [build("1b")]
        assert current(order) is None


def test_variations_stand_for_themselves() -> None:
    other = rollout("7", None, *READY, ESTABLISHED, variation="b")
    trying = rollout("8", "7", *READY, FIRST, start=5, variation="b")
    found = standings([trying, other, FIRST_BUILD])
    assert [(s.variation, s.stable.version, s.weight) for s in found] == [("b", "7", 1_000), ("default", "1", 0)]


def test_a_queued_rollout_changes_nothing() -> None:
    waiting = replace(requested(), id="r9")
    assert standings([FIRST_BUILD, waiting]) == standings([FIRST_BUILD])


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=30))
def test_stable_is_always_needed_and_weight_only_with_a_candidate(names: list[str]) -> None:
    state = rollout("2", "1", start=5)
    for name in names:
        try:
            state = after(state, rollouts.example_fact(FACTS[name], state))
        except (IllegalMove, IndexError):
            continue
        [standing] = standings([FIRST_BUILD, state])
        assert standing.stable in standing.needed
        assert (standing.candidate is None) == (standing.weight == 0)
        assert 0 <= standing.weight < FULL
        assert standing.weight == (0 if state.took_over else state.weight)
        if state.is_ended and not state.took_over:
            assert standing.needed == {build("1")}
