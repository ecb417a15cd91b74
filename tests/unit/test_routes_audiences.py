"""routes(...) with connections: who takes a request, and that nobody is moved for somebody else's sake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.registry.audience.audience import Audience, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Copied, Weighted, settled
from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.slots import slot
from sluicegate.services.traffic.table import AudienceRoute, Reason, RouteTable
from tests.audience_cases import match
from tests.doubles.plane import answer

MODEL = "delays"
BUILDS = {version: BuildRef(model=MODEL, version=version) for version in "123456789"}
ENDPOINTS = {ref: Endpoint(build=ref, host="127.0.0.1", port=int(ref.version)) for ref in BUILDS.values()}


def standing(variation: str, stable: str, candidate: str | None = None, weight: int = 0, **more: object) -> Standing:
    return Standing(
        model=MODEL, variation=variation, stable=BUILDS[stable], serve=Serve(), unit="x-user-id",
        candidate=BUILDS[candidate] if candidate else None, weight=weight,
        rollout=f"r-{candidate}" if candidate else None, epoch=weight, **more,
    )  # fmt: skip


def connection(state: str, copied: Sequence[Copied] = (), **weights: int) -> Connection:
    parts = tuple(Weighted(variation=name, weight=weight) for name, weight in weights.items())
    audience = Audience(name=state.lower(), condition=match(Operator.EXACT, state))
    return Connection(audience=audience, weighted=parts, copied=tuple(copied))


def table(
    standings: Sequence[Standing], *ordered: Connection, before: Connections | None = None, **rest: object
) -> RouteTable:
    wanted = settled(Connections(model=MODEL, ordered=ordered, **rest), before)
    return routes(standings, ENDPOINTS, {MODEL: wanted})


def holders(audience: AudienceRoute) -> list[tuple[str, str]]:
    """(variation, build) of every slot."""
    found = []
    for part in audience.slices:
        found += [(part.target.assigned.variation, part.target.assigned.build)] * part.size
    assert len(found) == SLOTS
    return found


def shares(audience: AudienceRoute) -> dict[tuple[str, str], int]:
    found = holders(audience)
    return {holder: found.count(holder) for holder in dict.fromkeys(found)}


DEFAULT = standing("default", "1")
THREE = (DEFAULT, standing("a", "2", "3", 2_500), standing("b", "4"))


def test_each_audience_has_its_own_shares_and_salt_and_the_rest_falls_back() -> None:
    found = table(THREE, connection("NY", a=1, b=3), connection("CA", b=1)).model(MODEL)
    assert [audience.name for audience in found.audiences] == ["ny", "ca", "default"]
    assert [audience.salt for audience in found.audiences] == ["delays/ny", "delays/ca", "delays/default"]
    assert shares(found.audiences[0]) == {("a", "2"): 1_875, ("a", "3"): 625, ("b", "4"): 7_500}
    assert shares(found.audiences[1]) == {("b", "4"): SLOTS}
    assert shares(found.audiences[2]) == {("default", "1"): SLOTS}


def test_the_answer_tells_audience_variation_arm_build_and_reason() -> None:
    found = table(THREE, connection("NY", a=1, b=3)).model(MODEL)
    units = [f"u{n}" for n in range(200)]
    answers = {unit: answer(found, {"X-State": "NY", "X-User-Id": unit}, lambda _: 0) for unit in units}
    assert {(a.audience, a.reason) for a in answers.values()} == {("ny", Reason.HASH)}
    assert {(a.variation, a.arm, a.build.version) for a in answers.values()} == {
        ("a", Arm.STABLE, "2"), ("a", Arm.CANDIDATE, "3"), ("b", Arm.STABLE, "4")
    }  # fmt: skip
    assert all(a.slot == slot("delays/ny", unit) for unit, a in answers.items())
    drawn = answer(found, {"x-state": "TX"}, lambda slots: slots - 1)
    assert (drawn.audience, drawn.variation, drawn.slot, drawn.reason) == ("default", "default", 9_999, Reason.RANDOM)


@settings(deadline=None)
@given(weights=st.tuples(st.integers(1, SLOTS), st.integers(1, SLOTS)), shared=st.integers(1, 9))
def test_a_candidate_moves_nobody_of_another_variation(weights: tuple[int, int], shared: int) -> None:
    less, more = sorted(weights)
    tables = [
        table(
            [DEFAULT, standing("a", "2", "3", weight), standing("b", "4", "5", 5_000)], connection("NY", a=shared, b=5)
        )
        for weight in (less, more)
    ]
    before, after = (holders(found.model(MODEL).audiences[0]) for found in tables)
    for old, new in zip(before, after, strict=True):
        assert old[0] == new[0]
        assert old == new or (old, new) == (("a", "2"), ("a", "3"))


def test_changed_weights_move_the_fewest_and_take_the_candidate_along() -> None:
    first = settled(Connections(model=MODEL, ordered=(connection("NY", a=5, b=5),)), None)
    then = settled(Connections(model=MODEL, ordered=(connection("NY", b=6, a=4),)), first)
    before, after = (
        holders(routes(THREE, ENDPOINTS, {MODEL: each}).model(MODEL).audiences[0]) for each in (first, then)
    )
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old[0] != new[0]]
    assert len(moved) == 1_000
    assert {(old[0], new[0]) for old, new in moved} == {("a", "b")}


def test_a_variation_that_holds_nothing_gives_its_share_to_the_others() -> None:
    found = table(THREE[:2], connection("NY", a=1, b=3), connection("CA", b=1)).model(MODEL)
    assert [audience.name for audience in found.audiences] == ["ny", "default"]
    assert shares(found.audiences[0]) == {("a", "2"): 7_500, ("a", "3"): 2_500}


def test_a_fallback_that_holds_nothing_is_the_first_variation_that_does() -> None:
    found = table(THREE[1:], connection("CA", b=1)).model(MODEL)
    assert shares(found.audiences[-1]) == {("a", "2"): 7_500, ("a", "3"): 2_500}


def test_the_fallback_may_be_shared() -> None:
    rest = (Weighted(variation="default", weight=9), Weighted(variation="b", weight=1))
    found = table(THREE, fallback=rest).model(MODEL)
    assert shares(found.audiences[-1]) == {("default", "1"): 9_000, ("b", "4"): 1_000}


def test_connected_copies_are_split_like_their_variation() -> None:
    copied = (Copied(variation="a", sample=4_000), Copied(variation="nobody", sample=1))
    found = table(THREE, connection("NY", copied, b=1), fallback_copied=(Copied(variation="b", sample=10),)).model(
        MODEL
    )
    mirrors = [
        (m.assigned.variation, m.assigned.arm, m.assigned.build, m.share, m.copied_variation)
        for m in found.audiences[0].mirrors
    ]
    assert mirrors == [("a", Arm.STABLE, "2", 3_000, None), ("a", Arm.CANDIDATE, "3", 1_000, None)]
    assert [(m.assigned.build, m.share) for m in found.audiences[1].mirrors] == [("4", 10)]
    assert {m.assigned.rollout for m in found.audiences[0].mirrors} == {None}, "no rollout is compared by them"


@pytest.mark.parametrize(("weights", "of"), [({"a": 1}, None), ({"a": 1, "b": 1}, "a")])
def test_a_shadow_gets_copies_of_its_own_variation_s_requests(weights: dict[str, int], of: str | None) -> None:
    shadow = Shadowing(build=BUILDS["7"], share=500, rollout="r-s", epoch=1)
    found = table([DEFAULT, replace(THREE[1], shadows=(shadow,)), THREE[2]], connection("NY", **weights)).model(MODEL)
    (mirror,) = found.audiences[0].mirrors
    assert (mirror.copied_variation, mirror.assigned.build, mirror.assigned.rollout, mirror.share) == (
        of,
        "7",
        "r-s",
        500,
    )
    assert found.audiences[-1].mirrors == ()


def test_the_version_tells_any_from_all() -> None:
    one = table(THREE, connection("NY", a=1))
    turned = table(
        THREE, replace(connection("NY", a=1), audience=Audience(name="ny", condition=match(Operator.PREFIX, "NY")))
    )
    assert one.version != turned.version != table(THREE).version
