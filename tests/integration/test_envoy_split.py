"""The split of a real Envoy is the one that Python computes, before, while and after weights change under load."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.registry.words.build import Endpoints
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable, assign
from tests.integration.traffic_load import constant_services, load, served
from tests.integration.traffic_rig import Gateway, build, eventually, gateway, standing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with constant_services(tmp_path_factory.mktemp("constant"), build("1"), build("2"), build("3")) as found:
        yield found


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


def computed(table: RouteTable, units: list[str]) -> list[str]:
    route = table.model("delays")
    return [assign(route, route.audiences[-1], unit, random.Random(0).randrange).build.version for unit in units]


def test_every_unit_gets_what_python_computes(envoy: Gateway, endpoints: Endpoints) -> None:
    table = routes([standing(weight=2000)], endpoints)
    envoy.plane.apply(table, endpoints)
    units = [f"unit-{number}" for number in range(5_000)]
    differing = sum(a != b for a, b in zip(served(envoy.plane.places.port, units), computed(table, units), strict=True))
    assert differing == 0
    share = computed(table, units).count("2") / len(units)
    assert abs(share - 0.2) < 4 * (0.2 * 0.8 / len(units)) ** 0.5


def test_nobody_leaves_the_candidate_while_it_grows(envoy: Gateway, endpoints: Endpoints) -> None:
    units = [f"{number:x}-é-{number}" for number in range(2_000)]
    before: set[str] = set()
    for epoch, weight in enumerate((1, 100, 500, 2500, 5000, 9999, 10_000), start=1):
        envoy.plane.apply(routes([standing(weight=weight, epoch=epoch)], endpoints), endpoints)
        answers = served(envoy.plane.places.port, units)
        now = {unit for unit, version in zip(units, answers, strict=True) if version == "2"}
        assert before <= now
        before = now
    assert before == set(units)


def test_requests_without_a_unit_are_split_at_random_and_say_so(envoy: Gateway, endpoints: Endpoints) -> None:
    envoy.plane.apply(routes([standing(weight=2000)], endpoints), endpoints)
    answers = served(envoy.plane.places.port, [""] * 4_000)
    assert abs(answers.count("2") / 4_000 - 0.2) < 4 * (0.2 * 0.8 / 4_000) ** 0.5
    lines = envoy.lines(4_000)
    assert {(line.unit_source, line.unit) for line in lines} == {("random", None)}


def test_rotation_under_load_loses_no_line(envoy: Gateway, endpoints: Endpoints) -> None:
    envoy.plane.apply(routes([standing(weight=2000)], endpoints), endpoints)
    log = envoy.plane.logs / "live.jsonl"
    with load(envoy.plane.url, http2=False) as record:
        for _ in range(10):
            seen = record.total
            assert eventually(lambda seen=seen: record.total > seen + 20)
            assert eventually(lambda: log.exists() and log.stat().st_size > 0)  # an empty log is not renamed
            (renamed,) = envoy.plane.rotate()
            assert eventually(log.exists)
    assert renamed.name == "live.000010.jsonl"
    assert len(envoy.lines(record.total)) == record.total
