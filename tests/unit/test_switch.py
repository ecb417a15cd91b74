"""The dead man's switch: candidates get nothing while no keeper watches, and what it takes for that."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sluicegate.registry.rollout.standing import Shadowing
from sluicegate.registry.words.build import Endpoint, Endpoints
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.switch import Switch
from tests.doubles.plane import MemoryDataPlane
from tests.integration.traffic_rig import build, standing

START = datetime(2026, 1, 1, tzinfo=UTC)
THERE: Endpoints = {build(version): (Endpoint(build=build(version), host="127.0.0.1", port=9),) for version in "123"}
TABLE = routes([standing(weight=3000)], THERE)


class Gateway:
    """A gateway with a table in force, its switch, and a clock."""

    def __init__(self) -> None:
        self.seconds = 50.0
        self.folder = tempfile.TemporaryDirectory()
        self.mark = Mark(Path(self.folder.name), "g", lambda: START + timedelta(seconds=self.seconds))
        self.plane = MemoryDataPlane(random.Random(1).randrange)
        self.plane.apply(TABLE, THERE)
        self.plane.renew()
        self.switch = self.restarted()

    def restarted(self) -> Switch:
        """The switch of another process."""
        self.switch = Switch(name="g", plane=self.plane, mark=self.mark, limit=15, elapsed=lambda: self.seconds)
        return self.switch

    def passes(self, seconds: int, *, step: float = 1.0, renewed: int = 0) -> bool:
        """Looks every `step` seconds, with a renewal every `renewed` of them; whether candidates get requests."""
        for number in range(int(seconds / step)):
            self.seconds += step
            if renewed and number % renewed == 0:
                self.plane.renew()
            self.switch.look()
        return self.plane.observe() == TABLE.version


def test_after_the_limit_without_a_renewal_candidates_get_nothing() -> None:
    gateway = Gateway()
    assert gateway.passes(16)
    assert not gateway.passes(1)
    assert gateway.plane.observe() == TABLE.stable_only.version
    assert not gateway.passes(600)


def test_a_keeper_that_is_slow_changes_nothing_and_one_that_is_back_brings_its_routes() -> None:
    gateway = Gateway()
    assert gateway.passes(600, renewed=14)
    assert not gateway.passes(20)
    gateway.plane.renew()
    gateway.plane.apply(TABLE, THERE)
    assert gateway.passes(15)
    assert not gateway.passes(2)


def test_time_in_which_nobody_looked_is_no_silence() -> None:
    """A machine that is slow, or slept: one look every ten minutes says little about who is silent."""
    gateway = Gateway()
    assert gateway.passes(6 * 600, step=600.0)
    assert not gateway.passes(6 * 600, step=600.0)


def test_a_gateway_that_does_not_answer_is_tried_again(monkeypatch) -> None:
    gateway = Gateway()

    def away() -> bool:
        raise Unreachable("it hangs")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.plane, "go_stable_only", away)
        assert gateway.passes(30)
    assert not gateway.passes(1)


def test_everybody_sees_since_when_and_why_until_a_keeper_is_back() -> None:
    gateway = Gateway()
    gateway.passes(15)
    assert gateway.mark.read() is None
    gateway.passes(3)
    told = str(gateway.mark.read())
    assert told.startswith("g sends requests to stable builds only, and copies to no shadow, since 2026-01-01 00:01:07")
    assert "no keeper has renewed its routes for 15 s" in told
    gateway.passes(60)
    assert str(gateway.mark.read()) == told
    gateway.plane.renew()
    gateway.plane.apply(TABLE, THERE)
    gateway.passes(1)
    assert gateway.mark.read() is None


def test_what_is_seen_outlives_the_process_that_saw_it() -> None:
    gateway = Gateway()
    gateway.passes(20)
    told = gateway.mark.read()
    gateway.restarted()
    gateway.passes(3)
    assert gateway.mark.read() == told, "no keeper was there meanwhile"
    gateway.passes(60)
    assert gateway.mark.read() == told
    gateway.restarted()
    gateway.passes(3)
    gateway.plane.renew()
    gateway.passes(1)
    assert gateway.mark.read() is None


def test_where_nothing_is_tried_it_is_seen_as_well() -> None:
    gateway = Gateway()
    gateway.plane.apply(TABLE.stable_only, THERE)
    gateway.passes(20)
    assert gateway.mark.read() is not None


def shares(table) -> dict[tuple[str, str, str | None], int]:
    found: dict[tuple[str, str, str | None], int] = {}
    for route in table.models:
        for part in route.audiences[-1].slices:
            key = (part.target.assigned.build, part.target.assigned.arm.value, part.target.assigned.rollout)
            found[key] = found.get(key, 0) + part.size
    return found


def test_what_is_tried_is_gone_and_counts_for_no_rollout_and_all_else_stays() -> None:
    shadow = Shadowing(build=build("3"), share=5000, rollout="r9", epoch=2)
    tried = dataclasses.replace(standing(weight=3000), preview=build("2"), shadows=(shadow,))
    table = routes([tried], THERE)
    assert shares(table.stable_only) == {("1", "stable", None): 10_000}
    assert [audience.mirrors for audience in table.stable_only.models[0].audiences] == [()]
    assert [each.variation for each in table.stable_only.models[0].named] == ["default"]
    assert table.stable_only.stable_only == table.stable_only != table


def test_after_a_switch_of_everything_stable_gets_everything() -> None:
    table = routes([standing(weight=10_000)], THERE)
    assert shares(table.stable_only) == {("1", "stable", None): 10_000}


def test_what_nobody_tries_stays_as_it_is() -> None:
    """Variations by weight, and a promoted candidate whose former stable keeps a holdout: both are trusted."""
    other = dataclasses.replace(standing(stable="2"), variation="other")
    confirming = dataclasses.replace(standing(weight=9000), is_promoted=True)
    for there in ([standing(), other], [confirming]):
        table = routes(there, THERE)
        assert table.stable_only is table
