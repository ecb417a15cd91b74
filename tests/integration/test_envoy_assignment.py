"""What a real Envoy gives 100,000 units of several audiences and variations is what Python says beforehand."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sluicegate.registry.audience.audience import Audience, Operator, Range
from sluicegate.registry.audience.connections import Connection, Connections, Weighted, settled
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.build import Endpoints
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import ModelRoute
from tests.audience_cases import match
from tests.doubles.plane import answer
from tests.integration.traffic_load import constant_services
from tests.integration.traffic_rig import Gateway, build, gateway

pytestmark = pytest.mark.slow
Told = tuple[str, str, str, str]
"""Audience, variation, build and reason."""
_TOLD = {
    name: re.compile(rb"\r\nx-sluice-" + name.encode() + rb": (\S+)\r\n")
    for name in ("audience", "variation", "build", "reason")
}
STATES = ("NY", "CA", "TX", "")
AGES = ("17", "40", "x")


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    builds = [build(version) for version in "12345678"]
    with constant_services(tmp_path_factory.mktemp("constant"), *builds) as found:
        yield found


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


def standing(variation: str, stable: str, candidate: str | None = None, weight: int = 0, **more: object) -> Standing:
    return Standing(
        model="delays", variation=variation, stable=build(stable), serve=Serve(), unit="x-user-id",
        candidate=build(candidate) if candidate else None, weight=weight,
        rollout=f"r-{candidate}" if candidate else None, **more,
    )  # fmt: skip


def connection(name: str, condition: object, **weights: int) -> Connection:
    parts = tuple(Weighted(variation=variation, weight=weight) for variation, weight in weights.items())
    return Connection(audience=Audience(name=name, condition=condition), weighted=parts)


STANDINGS = (
    standing("default", "1", "2", 500), standing("a", "3", "4", 2_500), standing("b", "5"),
    standing("c", "6", "7", 9_000),
)  # fmt: skip
NY = connection("new york", match(Operator.EXACT, "NY"), a=1, b=2, c=4)
ADULT = connection("adult", Range(header="x-age", low=18), b=3, default=7)
CA = connection("ca", match(Operator.EXACT, "CA"), c=1)


def told(envoy: Gateway, asked: Sequence[dict[str, str]], path: str = "/delays/predict", host: str = "g") -> list[Told]:
    found: dict[str, list[bytes]] = {name: [] for name in _TOLD}
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=60) as link:
        for start in range(0, len(asked), 250):
            some = asked[start : start + 250]
            link.sendall(b"".join(_request(path, host, metadata) for metadata in some))
            answers = bytearray()
            while answers.count(b"\r\n\r\n{}") < len(some):
                part = link.recv(1 << 18)
                assert part, "the gateway closed the connection"
                answers += part
            for name, pattern in _TOLD.items():
                found[name] += pattern.findall(answers)
    columns = ([value.decode().replace("%20", " ") for value in column] for column in found.values())
    return list(zip(*columns, strict=True))  # type: ignore[arg-type]


def _request(path: str, host: str, metadata: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in metadata.items())
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\n{lines}content-length: 2\r\n\r\n{{}}".encode()


def computed(model: ModelRoute, metadata: dict[str, str]) -> Told:
    said = answer(model, metadata, lambda _: 0)
    return said.audience, said.variation, said.build.version, said.reason


def everybody(count: int) -> list[dict[str, str]]:
    return [{"x-user-id": f"unit-{n}", "X-State": STATES[n % 4], "x-age": AGES[n // 4 % 3]} for n in range(count)]


@pytest.mark.parametrize("count", [12_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_unit_gets_what_python_computes(envoy: Gateway, endpoints: Endpoints, count: int) -> None:
    connections = settled(Connections(model="delays", ordered=(NY, ADULT, CA)), None)
    table = routes(STANDINGS, endpoints, {"delays": connections})
    envoy.plane.apply(table, endpoints)
    asked = everybody(count)
    expected = [computed(table.model("delays"), metadata) for metadata in asked]
    assert sum(a != b for a, b in zip(told(envoy, asked), expected, strict=True)) == 0
    seen = Counter((audience, variation) for audience, variation, _, _ in expected)
    assert set(seen) == {
        ("new york", "a"), ("new york", "b"), ("new york", "c"), ("adult", "b"), ("adult", "default"), ("ca", "c"),
        ("default", "default"),
    }  # fmt: skip
    in_ny = sum(each for (audience, _), each in seen.items() if audience == "new york")
    for variation, share in (("a", 1 / 7), ("b", 2 / 7), ("c", 4 / 7)):
        assert abs(seen["new york", variation] - in_ny * share) < 4 * (in_ny * share * (1 - share)) ** 0.5


def test_changes_move_only_whom_they_must(envoy: Gateway, endpoints: Endpoints) -> None:
    """A weight between variations, an audience put first, a candidate that grows: each moves its own units only."""
    asked = everybody(2_400)
    first = settled(Connections(model="delays", ordered=(NY, CA)), None)
    heavier = connection("new york", NY.audience.condition, a=2, b=2, c=3)
    second = settled(Connections(model="delays", ordered=(CA, heavier)), first)
    grown = (*STANDINGS[:3], standing("c", "6", "7", 9_500))
    answers = []
    for standings, connections in ((STANDINGS, first), (STANDINGS, second), (grown, second)):
        table = routes(standings, endpoints, {"delays": connections})
        envoy.plane.apply(table, endpoints)
        answers.append(told(envoy, asked))
        assert answers[-1] == [computed(table.model("delays"), metadata) for metadata in asked]
    moved = [(old, new) for old, new in zip(answers[0], answers[1], strict=True) if old[:2] != new[:2]]
    assert {(old[:2], new[:2]) for old, new in moved} == {(("new york", "c"), ("new york", "a"))}
    grew = [(old, new) for old, new in zip(answers[1], answers[2], strict=True) if old != new]
    assert {(old[2], new[2]) for old, new in grew} == {("6", "7")}
    assert all(old[:2] == new[:2] for old, new in grew)


def test_an_audience_is_found_by_host_name_and_both_verbs(envoy: Gateway, endpoints: Endpoints) -> None:
    table = routes(STANDINGS, endpoints, {"delays": Connections(model="delays", ordered=(NY, ADULT, CA))})
    envoy.plane.apply(table, endpoints)
    asked = everybody(240)
    expected = [computed(table.model("delays"), metadata) for metadata in asked]
    for path, host in (
        ("/predict", "delays.localhost"),
        ("/invocations", "DELAYS.localhost:80"),
        ("/delays/invocations", "g"),
    ):
        assert told(envoy, asked, path, host) == expected


def test_a_request_without_a_unit_is_assigned_at_random_inside_its_audience(
    envoy: Gateway, endpoints: Endpoints
) -> None:
    table = routes(STANDINGS, endpoints, {"delays": Connections(model="delays", ordered=(NY, ADULT, CA))})
    envoy.plane.apply(table, endpoints)
    found = told(envoy, [{"X-State": "NY"}] * 3_500)
    assert {(audience, reason) for audience, _, _, reason in found} == {("new york", "random")}
    count = sum(variation == "c" for _, variation, _, _ in found)
    assert abs(count - 2_000) < 4 * (3_500 * 12 / 49) ** 0.5


def test_copies_of_one_variation_s_requests_alone(envoy: Gateway, endpoints: Endpoints) -> None:
    """Two shadows, each of its own variation, in one audience."""
    shadows = {name: (Shadowing(build=build(version), share=10_000, rollout=f"s-{name}", epoch=1),)
               for name, version in (("a", "8"), ("b", "2"))}  # fmt: skip
    standings = (STANDINGS[0], standing("a", "3", shadows=shadows["a"]), standing("b", "5", shadows=shadows["b"]))
    table = routes(standings, endpoints, {"delays": Connections(model="delays", ordered=(NY,))})
    envoy.plane.apply(table, endpoints)
    asked = everybody(200)
    found = told(envoy, asked)
    live = {line.request_id: line for line in envoy.lines(len(found))}
    wanted = sum(variation in ("a", "b") for _, variation, _, _ in found)
    assert 20 < wanted < 60
    copies = envoy.shadow_lines(wanted)
    assert len(copies) == wanted
    pairs = {
        (live[line.request_id].assigned.variation, line.assigned.variation, line.assigned.build, line.assigned.rollout)
        for line in copies
    }
    assert pairs == {("a", "a", "8", "s-a"), ("b", "b", "2", "s-b")}
    assert {line.audience for line in copies} == {"new york"}
