"""Callers of other hosts: TLS, tokens, and certificates that are renewed under load."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

from sluicegate import Client, NotAllowed, Unreachable
from sluicegate.flows.wiring.answering import Answering, answering_others
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.fencing import BEFORE_ALL
from sluicegate.services.console.app import create
from sluicegate.services.host.issuing import joining_pair, own_pair
from sluicegate.services.host.served_name import ServedName
from sluicegate.services.loopback import is_listening, socket_path
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.bootstrap import Outside
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.envoy.plane import find_binary
from sluicegate.services.traffic.envoy.relay import Relay, Relayed
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, build, eventually, free_port, gateway, standing, upstreams
from tests.unit.console_office import TOKEN, Office

pytestmark = pytest.mark.slow

HOST = "127.0.0.2"
"""Another address than the one at which callers of this host are answered."""
CALLERS = "token-of-callers"


class Files:
    """A certificate and its key, as somebody renews them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.door = ServedName(folder=folder / "tls", host=HOST, files=(self.certificate, self.key), clock=self._now)
        self.renew()

    @staticmethod
    def _now() -> datetime:
        return datetime.now(UTC)

    def renew(self) -> None:
        """Another pair, of the same authority."""
        source = self._folder / "authority"
        source.mkdir(exist_ok=True)
        for name in ("certificate.pem", "key.pem"):
            (source / name).unlink(missing_ok=True)
        certificate, key = own_pair(source, HOST, self._now())
        self.certificate.write_bytes(certificate.read_bytes())
        self.key.write_bytes(key.read_bytes())
        self.door.take_up()

    @property
    def ca(self) -> str:
        return str(self._folder / "authority" / "ca.pem")


def shown(port: int, files: Files) -> bytes:
    """The certificate that a new caller is shown."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((HOST, port), ca_certs=files.ca))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def outside(tmp_path: Path, files: Files) -> Iterator[Gateway]:
    """A gateway that serves a model, also to callers of other hosts."""
    way = Outside(host=HOST, certificate=files.door.in_use, token=CALLERS)
    first = build("1")
    with upstreams(first) as services, gateway(tmp_path / "envoy", outside=way) as running:
        table = routes([standing(weight=0)], {first}, {})
        running.plane.apply(table, {first: (services["1"].endpoint,)})
        yield running


def test_callers_of_other_hosts_need_the_authority_and_the_token_and_those_of_this_host_neither(
    outside: Gateway, files: Files
) -> None:
    url = f"https://{HOST}:{outside.plane.places.port}"
    rows = [{"x": 1.0}]
    with Client(url, gateway_token=CALLERS, ca=files.ca) as client:
        assert client.predict("delays", rows, unit="a")
    with Client(url, ca=files.ca) as stranger, pytest.raises(NotAllowed):
        stranger.predict("delays", rows)
    with Client(url, gateway_token="wrong", ca=files.ca) as stranger, pytest.raises(NotAllowed):
        stranger.predict("delays", rows)
    with Client(url, gateway_token=CALLERS) as trusting_others, pytest.raises(Unreachable, match="CERTIFICATE_VERIFY"):
        trusting_others.predict("delays", rows)
    with pytest.raises(httpx.TransportError):
        httpx.get(url.replace("https", "http"))
    context = ssl.create_default_context(cafile=files.ca)
    with httpx.Client(http2=True, verify=context, headers={"authorization": f"Bearer {CALLERS}"}) as second:
        answer = second.post(f"{url}/delays/predict", json={})
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    with outside.client() as own:
        assert own.post("/delays/predict", json={}).status_code == 200
    assert all(CALLERS not in path.read_text() for path in outside.plane.logs.glob("*.jsonl"))


def test_strangers_of_other_hosts_leave_room_for_callers_of_this_one(tmp_path: Path, files: Files) -> None:
    way = Outside(host=HOST, certificate=files.door.in_use, token=CALLERS)
    first, limits = build("1"), Limits(connections=8)
    with upstreams(first) as services, gateway(tmp_path / "envoy", outside=way, limits=limits) as running:
        running.plane.apply(routes([standing(weight=0)], {first}, {}), {first: (services["1"].endpoint,)})
        door = (HOST, running.plane.places.port)
        held = [socket.create_connection(door) for _ in range(20)]  # they show nothing and say nothing
        try:
            eventually(lambda: select.select(held, [], [], 0)[0], seconds=10)  # those beyond the limit were closed
            with running.client() as own:
                assert own.post("/delays/predict", json={}).status_code == 200
            assert running.plane.gateway_stats()["refused_connections"] >= 20 - limits.outside_connections
        finally:
            for each in held:
                each.close()
        secret = [each for each in (tmp_path / "envoy").rglob("*") if each.is_file() and CALLERS in each.read_text()]
        assert {each.name for each in secret} >= {"bootstrap.json", "validated.json"}
        assert {each.stat().st_mode & 0o077 for each in secret} == {0}, "nobody else can read the token"


def test_nobody_comes_by_http_2_but_to_where_its_connections_are_counted(outside: Gateway, files: Files) -> None:
    context = ssl.create_default_context(cafile=files.ca)  # and no ALPN
    with (
        socket.create_connection((HOST, outside.plane.places.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as link,
    ):
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        assert link.recv(100).startswith(b"HTTP/1.1 400")


def test_a_renewed_certificate_is_shown_to_new_callers_and_connections_stay(outside: Gateway, files: Files) -> None:
    port, failed, over = outside.plane.places.port, list[str](), threading.Event()
    url = f"https://{HOST}:{port}"
    connections: set[int] = set()

    def call() -> None:
        with httpx.Client(verify=ssl.create_default_context(cafile=files.ca)) as client:
            while not over.is_set():
                try:
                    answer = client.post(
                        f"{url}/delays/predict", json={}, headers={"authorization": f"Bearer {CALLERS}"}
                    )
                    connections.add(id(answer.extensions["network_stream"]))
                    if answer.status_code != 200:
                        failed.append(answer.text)
                except httpx.TransportError as error:
                    failed.append(repr(error))

    thread = threading.Thread(target=call)
    thread.start()
    try:
        for _ in range(3):
            before = shown(port, files)
            files.renew()
            eventually(lambda before=before: shown(port, files) not in (before, None))
            assert shown(port, files) == files.door.pair_in_use().leaf
        held = shown(port, files)
        files.certificate.write_bytes(files.certificate.read_bytes()[:300])
        with pytest.raises(InvalidSetting, match="no whole certificate"):
            files.door.take_up()
        assert shown(port, files) == held
        over.set()
        thread.join()
        assert failed == []
        assert len(connections) == 1, "no connection was closed"
        outside.kill()
        outside.restart()
        assert shown(port, files) == held, "the one before is shown after a restart, too"
    finally:
        over.set()
        thread.join()


def test_strangers_of_other_hosts_hold_few_of_the_consoles_connections_and_none_for_long(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.flows.wiring.answering.PATIENCE", 0.5)
    monkeypatch.setattr("sluicegate.flows.wiring.answering.MOST_OF_ONE", 3)
    office, port, own_port = Office(), free_port(), free_port()
    own = uvicorn.Server(uvicorn.Config(create(office.desk, hosts=["127.0.0.1"]), port=own_port, log_level="warning"))
    own.install_signal_handlers = lambda: None
    others = answering_others(create(office.desk, hosts=[HOST], secure=True), files.door.in_use)
    answering = Answering(own, others, at=(HOST, port))
    thread = threading.Thread(target=lambda: asyncio.run(answering.serve(lambda: None, 1.0)))
    thread.start()
    held = list[socket.socket]()
    trusting = ssl.create_default_context(cafile=files.ca)
    try:
        eventually(lambda: others.started)
        held = [socket.create_connection((HOST, port), timeout=10) for _ in range(12)]
        eventually(lambda: len(select.select(held, [], [], 0)[0]) == len(held) - 3)
        elsewhere = socket.create_connection((HOST, port), source_address=("127.0.0.3", 0), timeout=5)
        held.append(elsewhere)
        with trusting.wrap_socket(elsewhere, server_hostname=HOST) as link:  # another address has room
            link.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert link.recv(100) == b"", "it said half of it, and was turned away"
    finally:
        for each in held:
            each.close()
        own.should_exit = True
        thread.join(30)


def test_the_console_answers_others_by_tls_alone_and_shows_what_is_renewed(files: Files) -> None:
    office, port, own_port = Office(), free_port(), free_port()
    own = uvicorn.Server(uvicorn.Config(create(office.desk, hosts=["127.0.0.1"]), port=own_port, log_level="warning"))
    own.install_signal_handlers = lambda: None
    others = answering_others(create(office.desk, hosts=[HOST], secure=True), files.door.in_use)
    answering = Answering(own, others, at=(HOST, port))
    thread = threading.Thread(target=lambda: asyncio.run(answering.serve(lambda: None, 1.0)))
    thread.start()
    try:
        url, bearer = f"https://{HOST}:{port}", {"authorization": f"Bearer {TOKEN}"}
        trusting = ssl.create_default_context(cafile=files.ca)
        with httpx.Client(base_url=url, verify=trusting) as client:
            eventually(lambda: client.get("/healthz").status_code == 200)
            assert client.get("/api/v1/rollouts", headers=bearer).status_code == 200
            assert client.get("/api/v1/rollouts").status_code == 401
            signed = client.post("/login", data={"token": TOKEN, "name": "ada"})
            assert "secure" in signed.headers["set-cookie"].lower()
            assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400
            first = shown(port, files)
            files.renew()
            eventually(lambda: shown(port, files) != first)
            assert client.get("/healthz").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{own_port}/healthz").status_code == 200
    finally:
        own.should_exit = True
        thread.join()


def test_the_relay_lets_in_who_has_our_certificate_and_leads_to_the_build_that_is_asked_for(
    tmp_path: Path, files: Files
) -> None:
    with relaying(tmp_path, files) as (relay, relayed), upstreams(build("1"), build("2")) as services:
        port, ours = relay.port, ours_of(files, relayed)
        relay.publish({build(version): (each.endpoint,) for version, each in services.items()}, [], BEFORE_ALL)
        for version in services:
            assert asked(port, ours, cluster_name(build(version))) == version
        stranger = ssl.create_default_context(cafile=files.ca)
        stranger.check_hostname = False
        other = tmp_path / "other"
        other.mkdir()
        forged = ssl.create_default_context(cafile=files.ca)
        forged.load_cert_chain(joining_pair(other, datetime.now(UTC)))
        forged.check_hostname = False
        for context, name in (
            (stranger, cluster_name(build("1"))),
            (forged, cluster_name(build("1"))),
            (ours, "x"),
        ):
            with pytest.raises((OSError, http.client.HTTPException)):
                asked(port, context, name)
        relay.publish({build("2"): (services["2"].endpoint,)}, [], BEFORE_ALL)
        with pytest.raises((OSError, http.client.HTTPException)):
            asked(port, ours, cluster_name(build("1")))
        assert asked(port, ours, cluster_name(build("2"))) == "2"


def test_a_replica_that_was_removed_gets_no_more_requests_from_gateways_that_are_connected_to_it(
    tmp_path: Path, files: Files
) -> None:
    first, gone, over, failed = build("1"), build("2"), threading.Event(), list[str]()
    answering = list[str]()

    def ask(edge: Gateway) -> None:
        with edge.client() as callers:
            while not over.is_set():
                answer = callers.post("/delays/predict", json={})
                failed.extend([answer.text] if answer.status_code != 200 else [])
                answering.append(answer.json().get("build", ""))

    with (
        relaying(tmp_path, files) as (relay, relayed),
        upstreams(first, gone) as services,
        gateway(tmp_path / "edge", relayed=relayed) as edge,
    ):
        replicas = services["1"].endpoint, services["2"].endpoint
        relay.publish({first: replicas}, ["127.0.0.1"], BEFORE_ALL)
        there = Endpoint(build=first, host=HOST, port=relay.port)
        edge.plane.apply(routes([standing(weight=0)], {first}, {}), {first: (there,)})
        threads = [threading.Thread(target=ask, args=(edge,)) for _ in range(4)]
        for each in threads:
            each.start()
        try:
            eventually(lambda: {"1", "2"} <= set(answering), seconds=30)
            relay.publish({first: replicas[:1]}, ["127.0.0.1"], BEFORE_ALL)

            def is_drained() -> bool:
                began = len(answering)
                return bool(eventually(lambda: len(answering) > began + 40)) and "2" not in answering[began:]

            eventually(is_drained, seconds=30)
            services["2"].kill()
            relay.publish({first: replicas}, ["127.0.0.1"], BEFORE_ALL)  # the keeper does not know yet
            ours = ours_of(files, relayed)
            assert {asked(relay.port, ours, cluster_name(first)) for _ in range(20)} == {"1"}
            began = len(answering)
            eventually(lambda: len(answering) > began + 40)
        finally:
            over.set()
            for each in threads:
                each.join()
    assert failed == [], "no request fails while connections are replaced, nor when the replica ends"


def test_strangers_who_hold_more_connections_of_the_relay_than_it_has_hold_up_no_gateway(
    tmp_path: Path, files: Files
) -> None:
    first = build("1")
    with (
        relaying(tmp_path, files, limits=Limits(connections=32)) as (relay, relayed),
        upstreams(first) as services,
        gateway(tmp_path / "edge", relayed=relayed) as edge,
        contextlib.ExitStack() as open_,
    ):
        port, ours = relay.port, ours_of(files, relayed)
        relay.publish({first: (services["1"].endpoint,)}, ["127.0.0.1"], BEFORE_ALL)
        there = Endpoint(build=first, host=HOST, port=port)
        edge.plane.apply(routes([standing(weight=0)], {first}, {}), {first: (there,)})

        def stranger(says: bytes = b"") -> socket.socket:
            link = socket.create_connection((HOST, port), timeout=60, source_address=("127.0.0.9", 0))
            link.sendall(says)
            return open_.enter_context(link)

        hello = client_hello(ours, cluster_name(first))
        held = [stranger(says) for says in (hello, hello[:40], b"") for _ in range(40)]
        eventually(lambda: len(select.select(held, [], [], 0)[0]) >= len(held) - 4)  # closed, or half greeted
        assert connected(relay, first) == 0, "who shows no certificate takes nothing of a service"
        with edge.client() as callers:
            for number in range(40):
                held += [stranger(hello) for _ in range(4)]
                answer = callers.post("/delays/predict", json={}, headers={"x-user-id": f"u-{number}"})
                assert (answer.status_code, answer.headers["x-sluice-build"]) == (200, "1")
                assert asked(port, ours, cluster_name(first)) == "1", "one connection more of the gateway's host"
                with pytest.raises((OSError, http.client.HTTPException)):
                    asked(port, ours, cluster_name(first), source="127.0.0.9")


@contextlib.contextmanager
def relaying(folder: Path, files: Files, **options: object) -> Iterator[tuple[Relay, Relayed]]:
    """A relay that runs, and how a gateway reaches it."""
    authority = folder / "authority"
    relay = Relay(
        folder=folder / "relay", host=HOST, port=free_port(), pair=files.door.in_use, authority=authority / "ca.pem",
        binary=find_binary(), **options,
    )  # fmt: skip
    relay.prepare()
    process = subprocess.Popen(relay.command())
    try:
        eventually(lambda: is_listening(socket_path(relay.folder, "admin")))
        pair = joining_pair(authority, datetime.now(UTC))
        yield relay, Relayed(name=HOST, pair=pair, authority=Path(files.ca))
    finally:
        process.kill()
        process.wait()


def ours_of(files: Files, relayed: Relayed) -> ssl.SSLContext:
    """A client with a certificate for the relay."""
    ours = ssl.create_default_context(cafile=files.ca)
    ours.load_cert_chain(relayed.pair)
    ours.check_hostname = False
    return ours


def connected(relay: Relay, build: BuildRef) -> int:
    """How often the relay has connected to a build's service."""
    stats = Admin(socket_path(relay.folder, "admin"), timeout=20).stats(
        f"^cluster.{cluster_name(build)}.upstream_cx_total$"
    )
    return int(*stats.values())


def client_hello(context: ssl.SSLContext, name: str) -> bytes:
    """How a client begins that asks for this name."""
    sent = ssl.MemoryBIO()
    link = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        link.do_handshake()
    return sent.read()


def asked(port: int, context: ssl.SSLContext, name: str, source: str = "127.0.0.1") -> str:
    """The build that answers where this name is asked for."""
    with socket.create_connection((HOST, port), timeout=20, source_address=(source, 0)) as plain:
        connection = http.client.HTTPConnection(HOST, timeout=20)
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        connection.request("POST", "/predict", body="{}", headers={"content-type": "application/json"})
        return str(json.loads(connection.getresponse().read())["build"])
