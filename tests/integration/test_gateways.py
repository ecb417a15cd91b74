"""Several real gateways under load, one killed and one stopped while weights change: services/traffic/gateways.py."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from sluicegate.registry.words.errors import TimedOut
from sluicegate.registry.words.gateways import Confirmation
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.gateways import Gateways
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.switch import Switch
from sluicegate.services.traffic.table import RouteTable
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


class Load:
    """Callers of one gateway, each with a connection of its own, until told to end."""

    def __init__(self, gateway: Gateway, callers: int = 2) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self._gateway, self._over = gateway, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(callers)]

    def _call(self, caller: int) -> None:
        number = 0
        with self._gateway.client() as client:
            while not self._over.is_set():
                number += 1
                headers = {"x-user-id": f"{caller}-{number}"}
                try:
                    answer = client.post("/delays/predict", json={}, headers=headers)
                except httpx.TransportError as error:
                    self.failed.append(repr(error))
                    self._over.wait(0.05)
                    continue
                if answer.status_code == 200:
                    self.answered[answer.headers["x-sluice-build"]] += 1
                else:
                    self.failed.append(answer.text)

    def start(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def end(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join()


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Gateway, Gateway, Gateway]]:
    with contextlib.ExitStack() as stack:
        # So patient that whoever asks the one that hangs in the others' turn waits for ever.
        running = [stack.enter_context(gateway(tmp_path / name, patience=3600.0)) for name in "abc"]
        yield running[0], running[1], running[2]


def stopped(gateway: Gateway) -> contextlib.AbstractContextManager[None]:
    """The gateway hangs, as far as anybody can tell."""

    @contextlib.contextmanager
    def hanging() -> Iterator[None]:
        assert gateway.process is not None
        os.kill(gateway.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(gateway.process.pid, signal.SIGCONT)

    return hanging()


def test_a_killed_and_a_stopped_gateway_hold_up_no_abort_and_fail_nobody_elsewhere(
    three: tuple[Gateway, Gateway, Gateway], services: dict[str, Upstream]
) -> None:
    endpoints = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    well, killed, hung = three
    plane = Gateways({"hung": hung.plane, "killed": killed.plane, "well": well.plane}, lambda: datetime.now(UTC))

    def table(weight: int, epoch: int) -> RouteTable:
        return routes([standing(weight=weight, epoch=epoch, timeout="20s")], endpoints)

    def put(asked: RouteTable) -> None:
        """As the keeper does it: again and again."""
        with contextlib.suppress(TimedOut):
            plane.apply(asked, endpoints)

    def is_in_force(asked: RouteTable) -> bool:
        put(asked)
        return plane.observe() == asked.version

    assert eventually(lambda: is_in_force(table(1000, 1)))
    loads = {each: Load(each).start() for each in three}
    try:
        assert eventually(lambda: all(load.answered["2"] for load in loads.values()))
        killed.kill()  # in mid-ramp: it serves nobody, and holds up nobody
        grown = table(5000, 2)
        assert eventually(lambda: is_in_force(grown))
        states = {each.name: each.confirmation for each in plane.states()}
        assert states == {
            "well": Confirmation.CONFIRMED, "killed": Confirmation.AWAY, "hung": Confirmation.CONFIRMED,
        }  # fmt: skip
        aborted = table(0, 3)
        with stopped(hung):
            with pytest.raises(TimedOut, match="hung: it accepts connections but does not answer"):
                plane.apply(aborted, endpoints)
            assert well.plane.observe() == aborted.version
            before = loads[well].answered["1"]
            assert eventually(lambda: loads[well].answered["1"] >= before + 4)  # those that had been under way
            candidate = loads[well].answered["2"]
            assert eventually(lambda: loads[well].answered["1"] >= before + 50)
            assert loads[well].answered["2"] == candidate, "0 means 0, whoever hangs"
            assert plane.observe() is None
            assert plane.in_flight(build("2")) is None, "nobody knows what the one that hangs still sends"
            killed.restart()  # with its files: it never saw the abort while it ran
            assert killed.plane.observe() == aborted.version
        assert eventually(lambda: is_in_force(aborted))
        assert eventually(lambda: plane.in_flight(build("2")) == 0)
    finally:
        for load in loads.values():
            load.end()
    assert loads[well].failed == loads[hung].failed == []
    assert loads[killed].failed
    for each in (well, hung):
        count = sum(loads[each].answered.values())
        assert len(each.lines(count)) == count
    written = len(killed.lines(1))
    lost = sum(loads[killed].answered.values()) - written
    line = (killed.plane.logs / "live.jsonl").stat().st_size / written
    assert lost * line <= 16_384 + line, "what was not written yet when it died: 16 KB, and the line that fills them"


def test_a_gateway_that_is_stopped_while_a_weight_grows_keeps_it_from_growing_on(
    three: tuple[Gateway, Gateway, Gateway], services: dict[str, Upstream]
) -> None:
    endpoints = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    plane = Gateways({str(number): each.plane for number, each in enumerate(three)}, lambda: datetime.now(UTC))
    first, second = (routes([standing(weight=weight, epoch=weight)], endpoints) for weight in (1000, 2000))

    def is_in_force(asked: RouteTable) -> bool:
        with contextlib.suppress(TimedOut):
            plane.apply(asked, endpoints)
        return plane.observe() == asked.version

    assert eventually(lambda: is_in_force(first))
    with stopped(three[1]):
        for _ in range(3):
            assert not is_in_force(second)
        assert [each.holds_up for each in plane.states()] == [False, True, False]
    assert eventually(lambda: is_in_force(second))


def ready(gateway: Gateway) -> int:
    return plain_http.get(f"{gateway.plane.url}/-/ready").status_code


def test_one_that_hangs_is_left_with_its_stable_builds_and_the_others_keep_their_candidate(
    three: tuple[Gateway, Gateway, Gateway], services: dict[str, Upstream]
) -> None:
    """No keeper reaches it, so its switch acts: it wakes up with stable alone, until the keeper's next table."""
    endpoints = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    table = routes([standing(weight=5000, timeout="20s")], endpoints)
    names = dict(zip(("a", "b", "hung"), three, strict=True))
    plane = Gateways({name: each.plane for name, each in names.items()}, lambda: datetime.now(UTC))
    marks = {name: Mark(each.plane.places.folder, name, lambda: datetime.now(UTC)) for name, each in names.items()}
    switches = [
        Switch(
            name=name,
            plane=Envoy(each.plane.places.folder, port=each.plane.places.port, patience=2.0),  # of another process
            mark=marks[name],
            limit=3.0,
        )
        for name, each in names.items()
    ]

    def looks() -> bool:
        """As keeper and collector do it: again and again."""
        with contextlib.suppress(TimedOut):
            plane.apply(table, endpoints)
        plane.renew()
        for switch in switches:
            switch.look()
        return plane.observe() == table.version

    def alone() -> set[str]:
        return {name for name, mark in marks.items() if mark.read() is not None}

    assert eventually(looks)
    loads = {name: Load(names[name]).start() for name in ("a", "b")}
    try:
        with stopped(names["hung"]):
            assert eventually(lambda: looks() or alone())
            before = {name: load.answered["2"] for name, load in loads.items()}
            assert eventually(lambda: looks() or all(loads[name].answered["2"] > before[name] + 20 for name in loads))
            assert alone() == {"hung"}
            asleep = names["hung"].plane.places.routes.read_text()
            assert f'"version_info":"{table.stable_only.version}"' in asleep.replace(": ", ":")
        assert eventually(lambda: looks() and not alone())
    finally:
        for load in loads.values():
            load.end()
    assert not [each for load in loads.values() for each in load.failed]
    assert names["hung"].plane.observe() == table.version


def test_a_gateway_is_ready_when_it_holds_a_table_and_needs_nobody_to_start_with_its_last(
    tmp_path: Path, services: dict[str, Upstream]
) -> None:
    """Nothing of the control side runs here but for the one `apply`."""
    endpoints = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    with gateway(tmp_path / "one") as one:
        assert ready(one) == 503, "it lives, and knows no model"
        one.plane.apply(routes([standing()], endpoints), endpoints)
        assert ready(one) == 200
        one.kill()
        one.start()
        assert ready(one) == 200
        with one.client() as client:
            assert client.post("/delays/predict", json={}, headers={"x-user-id": "u"}).status_code == 200
        one.plane.apply(RouteTable(), {})
        assert ready(one) == 200, "a table without models is one as well"
