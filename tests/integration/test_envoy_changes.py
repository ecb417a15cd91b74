"""Nobody notices changes: weights, promotions, aborts, audiences, and services that come and go, under load."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.registry.audience.audience import Audience, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Weighted, settled
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.access_log import LogLine
from sluicegate.registry.words.build import Endpoints
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests.audience_cases import match
from tests.doubles.plane import answer
from tests.integration.traffic_load import constant_services, load, metadata
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VARIATIONS = ("default", "a", "b")


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with constant_services(tmp_path_factory.mktemp("constant"), *map(build, "123456")) as found:
        yield found


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Gateway]:
    """Bodies come within seconds here, so a build that left is done with soon."""
    with gateway(tmp_path, limits=Limits(receive_seconds=3.0)) as running:
        yield running


class World:
    """What is trusted, tried and connected, changed one thing at a time; every change is an epoch of its own."""

    def __init__(self, envoy: Gateway, endpoints: Endpoints, draw: random.Random) -> None:
        self.envoy, self.endpoints, self.draw = envoy, dict(endpoints), draw
        self.stable = {name: str(number) for number, name in enumerate(VARIATIONS, start=1)}
        self.candidate: dict[str, tuple[str, int]] = {}
        self.connections = settled(Connections(model="delays", ordered=(self.connection("NY"),)), None)
        self.tables: list[RouteTable] = []

    def connection(self, state: str) -> Connection:
        weights = (Weighted(variation=name, weight=self.draw.randint(1, 5)) for name in VARIATIONS)
        audience = Audience(name=state, condition=match(Operator.EXACT, state))
        return Connection(audience=audience, weighted=tuple(weights))

    def change(self) -> None:
        """Reweigh, promote, abort, try another build, or connect the audiences differently."""
        name = self.draw.choice(VARIATIONS)
        match self.draw.randrange(8):
            case 0 if name in self.candidate:
                self.stable[name] = self.candidate.pop(name)[0]
            case 1:
                self.candidate.pop(name, None)
            case 2:
                states = self.draw.sample(["NY", "CA"], self.draw.randint(0, 2))
                wanted = Connections(model="delays", ordered=tuple(map(self.connection, states)))
                self.connections = settled(wanted, self.connections)
            case _:
                free = [version for version in "123456" if version != self.stable[name]]
                tried, _ = self.candidate.get(name, (self.draw.choice(free), 0))
                self.candidate[name] = (tried, self.draw.choice([1, 500, 2_500, 5_000, 10_000]))
        self.put()

    def put(self) -> None:
        epoch = len(self.tables)
        table = routes(
            [self._standing(name, epoch) for name in VARIATIONS], self.endpoints, {"delays": self.connections}
        )
        self.tables.append(table)
        self.envoy.plane.apply(table, self.endpoints)
        assert self.envoy.plane.observe() == table.version

    def visit(self, version: str) -> None:
        """A service is started, tried by some, aborted, and ended once the data plane says that nobody needs it."""
        guest = Upstream(build(version))
        try:
            guest.start()
            guest.wait()
            guest.mode("slow", seconds=0.05)
            self.endpoints[build(version)] = (guest.endpoint,)
            before = self.candidate.get("default")
            self.candidate["default"] = (version, 5_000)
            self.put()
            assert eventually(lambda: self.envoy.plane.in_flight(build(version)))
            self.candidate.pop("default")
            if before:
                self.candidate["default"] = before
            self.put()
            assert eventually(lambda: self.envoy.plane.in_flight(build(version)) == 0)
        finally:
            guest.kill()
        del self.endpoints[build(version)]

    def _standing(self, name: str, epoch: int) -> Standing:
        tried, weight = self.candidate.get(name, (None, 0))
        return Standing(
            model="delays", variation=name, stable=build(self.stable[name]), unit="x-user-id",
            serve=Serve(retry=False, timeout="5s"), candidate=build(tried) if tried else None, weight=weight,
            rollout=f"r-{tried}", epoch=epoch,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "visits"), [(100, 2), pytest.param(1_000, 20, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]
)
def test_no_request_fails_whatever_changes(envoy: Gateway, endpoints: Endpoints, changes: int, visits: int) -> None:
    """Without retries: a candidate's failure would be seen by its caller."""
    world = World(envoy, endpoints, random.Random(changes))
    world.put()
    url = envoy.plane.url
    with load(url, http2=False, callers=4) as first, load(url, http2=True, callers=4) as second:
        for number in range(changes):
            if number % (changes // visits) == 5:
                world.visit(str(100 + number))
            world.change()
    for record in (first, second):
        assert (set(record.statuses), record.errors) == ({200}, [])
        assert record.total > changes
    check_log(envoy.lines(first.total + second.total), world.tables, first.total + second.total)


def check_log(lines: list[LogLine], tables: list[RouteTable], total: int) -> None:
    """Every request is logged once, and got what the table of its epoch gives its unit."""
    assert len(lines) == total == len({line.request_id for line in lines})
    for line in lines:
        assert line.assigned is not None
        assert line.unit is not None
        said = answer(tables[line.assigned.epoch].model("delays"), metadata(line.unit), lambda _: 0)
        assert (said.audience, said.variation) == (line.audience, line.assigned.variation)
        assert said.build.version == line.assigned.build == line.served
