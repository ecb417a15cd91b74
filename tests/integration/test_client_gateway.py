"""The client against a real Envoy: who gets what, what arrives, and what is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from sluicegate.registry.audience.audience import AllOf, Audience, Match, Operator, Range
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.words.access_log import UnitSource
from sluicegate.registry.words.build import Endpoints
from sluicegate.services.client import (
    AsyncClient,
    Client,
    Failed,
    NoSuchModel,
    Refused,
    Retries,
    TimedOut,
    UnitIgnored,
    Unreachable,
)
from sluicegate.services.traffic.routes import NO_CONNECTIONS, routes
from sluicegate.services.traffic.table import RouteTable, assign
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, free_port, gateway, standing, upstreams

pytestmark = pytest.mark.slow
ODD = "Fluge & Verspätung?"


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


def table(
    services: dict[str, Upstream],
    unit: str | None = "X-Account",
    weight: int = 5000,
    connections: Mapping[str, Connections] = NO_CONNECTIONS,
) -> tuple[RouteTable, Endpoints]:
    ends = {
        build(version, model): (replace(service.endpoint, build=build(version, model)),)
        for version, service in services.items()
        for model in ("delays", ODD)
    }
    table = routes(
        [standing(weight=weight, unit=unit), standing(weight=weight, unit=unit, model=ODD)], ends, connections
    )
    return table, ends


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory, services: dict[str, Upstream]) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("client")) as running:
        running.plane.apply(*table(services))
        yield running


@pytest.fixture
def client(envoy: Gateway) -> Iterator[Client]:
    with Client(envoy.plane.url, timeout=30, retries=Retries(first=0.01)) as asking:
        yield asking


def test_units_get_the_build_that_anyone_can_compute(client: Client, services: dict[str, Upstream]) -> None:
    route = table(services)[0].model("delays")
    for number in range(40):
        answer = client.predict("delays", [{"a": 1}], unit=f"u-{number}")
        computed = assign(route, route.audiences[-1], f"u-{number}", lambda _: 0)
        assert (answer.build, answer.variation, answer.audience, answer.reason) == (
            computed.build.version, "default", "default", "hash",
        )  # fmt: skip


def test_ids_are_those_that_the_gateway_logs(client: Client, envoy: Gateway) -> None:
    answer = client.predict("delays", [{"a": 1}], unit="küche 7")
    line = eventually(lambda: next((x for x in envoy.lines(1) if x.request_id == answer.request_id), None))
    assert (line.unit, line.unit_source) == ("küche 7", UnitSource.HEADER)
    assert answer.ids[0] == f"{line.request_id}.0"


def test_metadata_arrive_as_they_were_meant(client: Client, services: dict[str, Upstream]) -> None:
    meant = {
        "state": "New York",
        "city": "Québec 日本",
        "user_plan": "pro",
        "Age": 41,
        "score": 1e-7,
        "pro": True,
        "empty": "",
        "left-out": None,
    }
    told = client.predict(ODD, [{"a": 1}], metadata=meant).values
    arrived = {
        name.lower(): value.encode("utf-8", "surrogateescape").decode() for name, value in told["headers"].items()
    }
    assert {name: arrived.get(name) for name in ("state", "city", "user_plan", "age", "score", "pro", "empty")} == {
        "state": "New York", "city": "Québec 日本", "user_plan": "pro", "age": "41", "score": "0.0000001",
        "pro": "true", "empty": "",
    }  # fmt: skip
    assert "left-out" not in arrived


def test_an_audience_matches_what_was_meant_and_is_named_in_the_answer(
    envoy: Gateway, services: dict[str, Upstream], client: Client
) -> None:
    city = Match(header="city", operator=Operator.EXACT, operands=("Québec 日本",))
    known = Match(header="user_plan", operator=Operator.PREFIX, operands=("pr",))
    old = Range(header="age", low=40.5, high=None)
    audience = Audience(name="Québec, old", condition=AllOf(conditions=(city, known, old)))
    connected = Connection(audience=audience, weighted=(Weighted(variation="default"),))
    envoy.plane.apply(*table(services, connections={"delays": Connections(model="delays", ordered=(connected,))}))
    member = {"city": "Québec 日本", "user_plan": "pro", "age": 41}
    try:
        told = [
            client.predict("delays", [1], metadata=member | other).audience
            for other in ({}, {"age": 40.4}, {"city": "Quebec 日本"}, {"user_plan": None})
        ]
    finally:
        envoy.plane.apply(*table(services))
    assert told == ["Québec, old", "default", "default", "default"]


def test_without_a_unit_it_is_chance_and_says_so(client: Client) -> None:
    assert {client.predict("delays", [{"a": 1}]).reason for _ in range(5)} == {"random"}


def test_a_unit_that_the_gateway_does_not_hash_is_told(envoy: Gateway) -> None:
    with Client(envoy.plane.url, unit_header="x-somebody") as wrong, pytest.warns(UnitIgnored, match="x-somebody"):
        assert wrong.predict("delays", [{"a": 1}], unit="u1").reason == "random"


def test_an_unknown_model_is_named(client: Client) -> None:
    for unit in (None, "u1"):
        with pytest.raises(NoSuchModel, match="no route"):
            client.predict("nothing", [{"a": 1}], unit=unit)


def test_a_connection_is_kept(client: Client, envoy: Gateway) -> None:
    ports = set()
    transport = client._http["gateway"]._transport
    for _ in range(5):
        client.predict("delays", [{"a": 1}])
        ports |= {c._connection._network_stream.get_extra_info("client_addr") for c in transport._pool.connections}
    assert len(ports) == 1


def test_threads_share_one_client(client: Client) -> None:
    got: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: got.extend(client.predict("delays", [1], unit=f"t{n}").ids for _ in range(20))
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 160


def test_asyncio_asks_at_once_and_gets_the_same(envoy: Gateway, client: Client) -> None:
    async def many() -> list[str]:
        async with AsyncClient(envoy.plane.url, timeout=30) as asking:
            answers = await asyncio.gather(*(asking.predict("delays", [1], unit=f"u{n}") for n in range(30)))
            return [answer.build for answer in answers]

    assert asyncio.run(many()) == [client.predict("delays", [1], unit=f"u{n}").build for n in range(30)]


def test_a_slow_service_is_given_up_once(client: Client, services: dict[str, Upstream]) -> None:
    """It may have been served: asking again is the caller's choice."""
    before = sum(service.mode("hold") and _seen(service) for service in services.values())
    try:
        with pytest.raises(TimedOut) as raised:
            client.predict("delays", [{"a": 1}], timeout=2.0)
    finally:
        after = sum(service.mode("ok") and _seen(service) for service in services.values())
    assert raised.value.was_sent
    assert after - before == 1


def _seen(service: Upstream) -> int:
    return int(plain_http.post(f"http://{service.endpoint.address}/-/mode", json={}).json()["predict"])


def test_the_gateways_own_failure_is_not_tried_again(
    client: Client, envoy: Gateway, services: dict[str, Upstream]
) -> None:
    """503 without Retry-After may come from a service that has begun to work."""
    for service in services.values():
        service.mode("fail")
    try:
        before = sum(_seen(service) for service in services.values())
        with pytest.raises(Failed) as raised:
            client.predict("delays", [{"a": 1}])
        assert raised.value.status == 503
        assert raised.value.request_id
        assert sum(_seen(service) for service in services.values()) - before <= 2  # the gateway's fallback
    finally:
        for service in services.values():
            service.mode("ok")


def test_too_large_is_refused_with_the_reason(client: Client) -> None:
    with pytest.raises(Refused) as raised:
        client.predict("delays", [{"a": 1}], metadata={"long": "x" * 60_000})
    assert raised.value.status == 431


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes, in as many pieces as it comes, until one side is closed."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_a_gateway_that_comes_up_while_it_is_asked_answers(envoy: Gateway) -> None:
    """Nothing was sent, so it is asked again; here a relay to the real gateway begins to listen a moment later."""
    port = free_port()
    asking = Client(f"http://127.0.0.1:{port}", retries=Retries(attempts=40, first=0.05, longest=0.1))
    relay = socket.socket()
    relay.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def relayed() -> None:
        relay.bind(("127.0.0.1", port))
        relay.listen()
        caller, _ = relay.accept()
        host, there = envoy.plane.url.removeprefix("http://").split(":")
        with caller, socket.create_connection((host, int(there))) as target:
            sending = threading.Thread(target=pass_on, args=(caller, target))
            sending.start()
            pass_on(target, caller)
            sending.join()

    late = threading.Timer(0.3, relayed)
    late.daemon = True
    late.start()
    try:
        with asking:
            assert asking.predict("delays", [{"a": 1}]).request_id
    finally:
        late.join(timeout=20)
        relay.close()


def test_nobody_there_is_said_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retries=Retries(attempts=2, first=0.01)) as asking, pytest.raises(Unreachable) as raised:
        asking.predict("delays", [{"a": 1}])
    assert "Nothing was sent" in str(raised.value)
    assert not raised.value.was_sent


def test_a_model_that_hashes_nothing_takes_a_unit_and_says_so(envoy: Gateway, services: dict[str, Upstream]) -> None:
    envoy.plane.apply(*table(services, unit=None))
    try:
        with Client(envoy.plane.url) as asking, pytest.warns(UnitIgnored, match="no header"):
            assert asking.predict("delays", [{"a": 1}], unit="u1").reason == "random"
    finally:
        envoy.plane.apply(*table(services))
    with Client(envoy.plane.url) as asking, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asking.predict("delays", [{"a": 1}], unit="u1").reason == "hash"
