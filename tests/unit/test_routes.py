"""routes(...): standings become a route table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import Reason, RouteTable, assign

STABLE, CANDIDATE = (BuildRef(model="delays", version=version) for version in "12")
ENDPOINTS = {ref: Endpoint(build=ref, host="127.0.0.1", port=port) for ref, port in ((STABLE, 71), (CANDIDATE, 72))}
CALM = Standing(
    model="delays", variation="default", stable=STABLE, serve=Serve(timeout="2s"), unit="x-user-id", epoch=4
)


def trying(weight: int, **changes: object) -> Standing:
    return replace(CALM, candidate=CANDIDATE, weight=weight, rollout="r-1", epoch=5, **changes)


def shares(table: RouteTable) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in table.models[0].audiences[-1].slices:
        found[part.target.assigned.build] = found.get(part.target.assigned.build, 0) + part.size
    return found


def test_stable_alone_has_every_slot_and_nobody_behind_it() -> None:
    table = routes([CALM], ENDPOINTS)
    (part,) = table.models[0].audiences[-1].slices
    assert (part.size, part.target.fallback) == (SLOTS, None)
    assert (part.target.assigned.arm, part.target.assigned.epoch, part.target.assigned.weight) == (Arm.STABLE, 4, 0)


@given(weight=st.integers(1, SLOTS))
def test_a_candidate_has_its_weight_and_stable_behind_it(weight: int) -> None:
    table = routes([trying(weight)], ENDPOINTS)
    assert shares(table).get("2", 0) == weight
    assert sum(shares(table).values()) == SLOTS
    for part in table.models[0].audiences[-1].slices:
        mark = part.target.assigned
        assert (mark.rollout, mark.epoch, mark.weight) == ("r-1", 5, weight)
        assert part.target.fallback == ("1" if mark.arm is Arm.CANDIDATE else None)


def test_a_plan_without_retry_leaves_a_failing_candidate_alone() -> None:
    table = routes([trying(2500, serve=Serve(retry=False))], ENDPOINTS)
    assert {part.target.fallback for part in table.models[0].audiences[-1].slices} == {None}


def test_a_candidate_that_runs_nowhere_gets_nothing_and_is_reported() -> None:
    table = routes([trying(2500)], {STABLE: ENDPOINTS[STABLE]})
    assert shares(table) == {"1": SLOTS}
    assert {part.target.assigned.weight for part in table.models[0].audiences[-1].slices} == {0}
    assert table.missing == (CANDIDATE,)


def test_a_stable_that_runs_nowhere_keeps_its_slots_and_is_reported() -> None:
    table = routes([CALM], {})
    assert shares(table) == {"1": SLOTS}
    assert table.missing == (STABLE,)


def test_one_try_may_take_the_longer_of_both_timeouts() -> None:
    assert routes([trying(100, stable_serve=Serve(timeout="7s"))], ENDPOINTS).models[0].timeout == 7
    assert routes([trying(100, stable_serve=Serve(timeout="1s"))], ENDPOINTS).models[0].timeout == 2


def test_the_fallback_audience_gets_the_default_variation() -> None:
    other = replace(CALM, variation="berlin", stable=CANDIDATE)
    table = routes([other, CALM], ENDPOINTS)
    assert len(table.models) == 1
    assert shares(table) == {"1": SLOTS}


def test_the_version_is_the_content_s() -> None:
    table = routes([trying(2500)], ENDPOINTS)
    assert table.version == routes([trying(2500)], dict(reversed(ENDPOINTS.items()))).version
    others = [
        routes([trying(2501)], ENDPOINTS),
        routes([replace(trying(2500), epoch=6)], ENDPOINTS),
        routes([replace(trying(2500), unit=None)], ENDPOINTS),
        routes([replace(trying(2500), serve=Serve(replicas=2))], ENDPOINTS),
    ]
    assert len({table.version, *(other.version for other in others)}) == 5


def test_standings_in_any_order_make_the_same_table() -> None:
    other = replace(CALM, model="prices", stable=BuildRef(model="prices", version="1"))
    assert routes([CALM, other], ENDPOINTS) == routes([other, CALM], ENDPOINTS)


def test_a_model_without_routes_is_named() -> None:
    with pytest.raises(NotFound, match="'delays'"):
        RouteTable().model("delays")


def test_who_has_no_unit_is_assigned_at_random_and_told_so() -> None:
    route = routes([trying(2500)], ENDPOINTS).models[0]
    audience = route.audiences[-1]
    for unit in (None, "", "u1,u2"):
        drawn = assign(route, audience, unit, lambda slots: slots - 1)
        assert (drawn.slot, drawn.reason) == (SLOTS - 1, Reason.RANDOM)
    assert assign(route, audience, "u1", lambda _: 0).reason is Reason.HASH
    assert assign(replace(route, unit=None), audience, "u1", lambda _: 0).reason is Reason.RANDOM


COPIED = Shadowing(build=CANDIDATE, share=2500, rollout="r-1", epoch=5)


def test_shadows_get_copies_beside_a_canary() -> None:
    other = replace(COPIED, build=BuildRef(model="delays", version="3"), rollout="r-2")
    endpoints = {**ENDPOINTS, other.build: replace(ENDPOINTS[STABLE], build=other.build)}
    table = routes([replace(trying(1000), shadows=(COPIED, other))], endpoints)
    assert shares(table) == {"1": 9000, "2": 1000}
    mirrors = table.models[0].audiences[-1].mirrors
    assert [(mirror.assigned.rollout, mirror.assigned.build) for mirror in mirrors] == [("r-1", "2"), ("r-2", "3")]


def test_a_shadow_gets_copies_and_no_caller() -> None:
    table = routes([replace(CALM, shadows=(COPIED,))], ENDPOINTS)
    audience = table.models[0].audiences[-1]
    assert shares(table) == {"1": SLOTS}
    (mirror,) = audience.mirrors
    assert (mirror.share, mirror.assigned.build, mirror.assigned.arm) == (2500, "2", Arm.CANDIDATE)
    assert (mirror.assigned.rollout, mirror.assigned.epoch, mirror.assigned.weight) == ("r-1", 5, 2500)


def test_a_shadow_that_runs_nowhere_gets_nothing_and_is_reported() -> None:
    table = routes([replace(CALM, shadows=(COPIED,))], {STABLE: ENDPOINTS[STABLE]})
    assert table.models[0].audiences[-1].mirrors == ()
    assert table.missing == (CANDIDATE,)


def test_a_canary_has_no_mirror() -> None:
    assert routes([trying(2500)], ENDPOINTS).models[0].audiences[-1].mirrors == ()


def test_a_shadow_copies_the_audiences_it_names_and_no_other() -> None:
    there = Audience(name="ny", condition=Match(header="x-state", operator=Operator.EXACT, operands=("NY",)))
    connections = Connections(
        model="delays", ordered=(Connection(audience=there, weighted=(Weighted(variation="default"),)),)
    )
    for wanted, copied in ((("ny",), [1, 0]), (("default",), [0, 1]), ((), [1, 1])):
        standing = replace(CALM, shadows=(replace(COPIED, audiences=wanted),))
        route = routes([standing], ENDPOINTS, {"delays": connections}).models[0]
        assert [len(audience.mirrors) for audience in route.audiences] == copied
