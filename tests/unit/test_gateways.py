"""Several gateways as one data plane: what one of them does wrong is named, and keeps the others from nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.ledger.keeper_notes import gateway_states, note_gateways
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import RoutesRejected, TimedOut, Unreachable
from sluicegate.registry.words.gateways import STALE, Confirmation
from sluicegate.services.traffic.gateways import Gateways
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests.doubles.ledger import MemoryLedger
from tests.doubles.plane import MemoryDataPlane
from tests.integration.traffic_rig import build, standing

ENDPOINTS: Endpoints = {build(v): (Endpoint(build=build(v), host="127.0.0.1", port=9),) for v in "12"}
NOW = datetime(2026, 11, 30, tzinfo=UTC)
BUILD = BuildRef(model="delays", version="2")


class Plane(MemoryDataPlane):
    """One that hangs until `released`, and refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__(random.Random(1).randrange)
        self.released = threading.Event()
        self.released.set()
        self.refusing = ""
        self.hears = threading.Event()
        """Set when it hears that a keeper watches."""

    def renew(self) -> None:
        self.hears.set()
        super().renew()

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        self.released.wait()
        if self.refusing:
            raise RoutesRejected(self.refusing)
        super().apply(table, endpoints)

    def observe(self) -> str | None:
        self.released.wait()
        return super().observe()

    def in_flight(self, build: BuildRef) -> int | None:
        self.released.wait()
        return super().in_flight(build)


@pytest.fixture
def planes() -> Iterator[tuple[Plane, Plane, Plane]]:
    three = Plane(), Plane(), Plane()
    yield three
    for each in three:
        each.released.set()


@pytest.fixture
def gateways(planes: tuple[Plane, ...]) -> Gateways:
    return Gateways({f"g{number}": plane for number, plane in enumerate(planes)}, lambda: NOW, patience=0.2)


def table(weight: int) -> RouteTable:
    return routes([standing(weight=weight, epoch=weight)], ENDPOINTS)


def confirmations(gateways: Gateways) -> list[Confirmation]:
    return [each.confirmation for each in gateways.states()]


def test_one_that_hangs_is_named_and_keeps_no_other_from_an_abort(
    gateways: Gateways, planes: tuple[Plane, ...]
) -> None:
    gateways.apply(table(3000), ENDPOINTS)
    planes[1].released.clear()
    assert gateways.observe() is None, "what it served is not what it is known to serve"
    for _ in range(3):  # however often it is asked
        with pytest.raises(TimedOut, match="g1: it accepts connections but does not answer"):
            gateways.apply(table(0), ENDPOINTS)
        assert planes[0].observe() == planes[2].observe() == table(0).version
        assert gateways.observe() is None
        assert gateways.in_flight(BUILD) is None
        assert confirmations(gateways) == [Confirmation.CONFIRMED, Confirmation.SILENT, Confirmation.CONFIRMED]
    planes[1].released.set()

    def again() -> bool:
        gateways.apply(table(0), ENDPOINTS)
        return True

    assert _soon(again)
    assert gateways.observe() == table(0).version
    assert planes[1].observe() == table(0).version


def test_one_that_does_not_run_counts_as_nobody_and_starts_with_what_was_asked_last(
    gateways: Gateways, planes: tuple[Plane, ...]
) -> None:
    gateways.apply(table(3000), ENDPOINTS)
    planes[2].stop()
    gateways.apply(table(5000), ENDPOINTS)
    assert gateways.observe() == table(5000).version
    assert gateways.in_flight(BUILD) == 0
    assert confirmations(gateways)[2] is Confirmation.AWAY
    planes[2].start()
    assert planes[2].observe() == table(5000).version


def test_one_that_takes_a_candidate_only_when_watched_hears_it_while_its_routes_are_waited_for() -> None:
    """As a gateway that went to stable alone, or has just started: what waits for it must not keep the word from it."""
    well, wary = Plane(), Plane()
    gateways = Gateways({"well": well, "wary": wary}, lambda: NOW, patience=0.2)
    wary.released.clear()  # its routes are not in force, however long they are waited for
    try:
        with pytest.raises(TimedOut, match="wary"):
            gateways.apply(table(3000), ENDPOINTS)
        gateways.renew()
        assert wary.hears.is_set()
    finally:
        wary.released.set()


def test_one_that_hangs_is_left_to_its_switch(gateways: Gateways, planes: tuple[Plane, ...]) -> None:
    planes[1].released.clear()
    with pytest.raises(TimedOut):
        gateways.apply(table(3000), ENDPOINTS)
    time.sleep(1.0)  # five times its patience
    gateways.renew()
    assert [each.renewed_at() is not None for each in planes] == [True, False, True]


def test_where_none_runs_nothing_is_observed(gateways: Gateways, planes: tuple[Plane, ...]) -> None:
    for each in planes:
        each.stop()
    with pytest.raises(Unreachable):
        gateways.apply(table(3000), ENDPOINTS)
    assert gateways.observe() is None
    assert gateways.in_flight(BUILD) is None


def test_one_that_refuses_alone_is_named_and_nothing_is_observed(gateways: Gateways, planes: tuple[Plane, ...]) -> None:
    gateways.apply(table(3000), ENDPOINTS)
    planes[0].refusing = "not like this."
    with pytest.raises(RoutesRejected, match=r"^g0: not like this\.$") as raised:
        gateways.apply(table(5000), ENDPOINTS)
    assert (raised.value.models, raised.value.serving) == (frozenset(), None)
    assert gateways.observe() is None
    assert planes[1].observe() == planes[2].observe() == table(5000).version
    assert confirmations(gateways) == [Confirmation.REFUSED, Confirmation.CONFIRMED, Confirmation.CONFIRMED]
    with pytest.raises(RoutesRejected, match=r"^g0: not like this\.$"):
        gateways.apply(table(0), ENDPOINTS)
    assert planes[1].observe() == planes[2].observe() == table(0).version


def test_one_that_starts_with_other_files_is_not_taken_to_have_confirmed(
    gateways: Gateways, planes: tuple[Plane, ...]
) -> None:
    """It refused the last table, and then it died."""
    gateways.apply(table(3000), ENDPOINTS)
    planes[0].refusing = "not like this."
    with pytest.raises(RoutesRejected):
        gateways.apply(table(5000), ENDPOINTS)
    planes[0].stop()
    assert gateways.observe() is None
    assert gateways.states()[0].holds_up


def test_one_that_serves_another_version_is_late(gateways: Gateways, planes: tuple[Plane, ...]) -> None:
    gateways.apply(table(3000), ENDPOINTS)
    planes[1].apply(table(5000), ENDPOINTS)
    assert gateways.observe() is None
    assert confirmations(gateways)[1] is Confirmation.LATE
    gateways.apply(table(3000), ENDPOINTS)
    assert gateways.observe() == table(3000).version


def test_what_is_noted_of_gateways_is_read_again_and_grows_old(gateways: Gateways, planes: tuple[Plane, ...]) -> None:
    ledger = MemoryLedger()
    assert gateway_states(ledger).at(NOW) == ()
    planes[1].stop()
    gateways.apply(table(3000), ENDPOINTS)
    note_gateways(ledger, gateways.states(), NOW)
    assert gateway_states(ledger).at(NOW) == gateways.states()
    old = gateway_states(ledger).at(NOW + STALE + timedelta(seconds=1))
    assert {each.confirmation for each in old} == {Confirmation.SILENT}
    assert replace(old[0], confirmation=Confirmation.CONFIRMED, why="") == gateways.states()[0]


def _soon(check: object) -> bool:
    for _ in range(600):
        try:
            return check()  # type: ignore[operator,no-any-return]
        except TimedOut:
            threading.Event().wait(0.02)
    return False
