"""`sluice gateway --cluster` as a pod runs it: agent, Envoy and collector, with PostgreSQL and an API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.cluster.kinds import LEASE
from sluicegate.services.cluster.rights import Role
from sluicegate.services.telemetry.store.schema import logs
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.readers import all_readers
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests import plain_http
from tests.doubles.api_server import ApiServer
from tests.integration.gateway_pods import CONTROL, GATEWAY, NAMESPACE, Keeper
from tests.integration.traffic_rig import build, eventually, free_port, standing, upstreams
from tests.own_postgres import own_postgres

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture
def databases() -> Iterator[dict[str, str]]:
    with own_postgres() as (uri, _):
        engine = sa.create_engine(uri.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("ledger", "telemetry"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        yield {name: uri.replace("/postgres?", f"/{name}?") for name in ("ledger", "telemetry")}


@contextmanager
def pod(folder: Path, server: ApiServer, databases: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process that the container of a gateway runs; all that it started is gone at the end."""
    kubeconfig = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": GATEWAY}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "KUBE", "MLFLOW_"))}
    environment = kept | {
        "SLUICE_CLUSTER": NAMESPACE, "KUBECONFIG": str(folder / "kubeconfig"), "SLUICE_STATE": str(folder / "state"),
        "SLUICE_LEDGER": databases["ledger"], "SLUICE_TELEMETRY": databases["telemetry"], "SLUICE_STORE": "s3://models",
        "SLUICE_POD": "gateway-a",
    }  # fmt: skip
    command = [sys.executable, "-c", "from sluicegate.flows.cli.app import main; main()", "gateway", "--cluster"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--table", str(folder / "mounted")], env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        family = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
        for each in family:
            each.kill()
        process.kill()
        process.wait()


class Probe:
    """What the kubelet asks; how often it got an answer."""

    def __init__(self, url: str) -> None:
        self.url, self.answered = url, 0

    def status(self) -> int:
        answer = plain_http.get(f"{self.url}/-/ready")
        self.answered += 1
        return answer.status_code


def taken(keeper: Keeper, table: RouteTable, endpoints: dict) -> bool:
    """Whether every gateway has these routes, at the keeper's next look."""
    keeper.follow()
    try:
        keeper.several.apply(table, endpoints)
    except SluiceError:
        return False
    return True


def test_what_it_served_is_counted_to_the_last_request_and_then_it_is_forgotten(
    tmp_path: Path, databases: dict[str, str]
) -> None:
    port = free_port()
    with (
        upstreams(build("1"), build("2")) as running,
        ApiServer() as server,
        pod(tmp_path, server, databases, port) as process,
    ):
        server.tokens |= {CONTROL: Role.CONTROL, GATEWAY: Role.GATEWAY}
        url, keeper = f"http://127.0.0.1:{port}", Keeper(server, [])
        endpoints = {service.endpoint.build: (service.endpoint,) for service in running.values()}
        table = routes([standing(weight=5000)], endpoints)
        try:
            probe = Probe(url)
            assert eventually(lambda: probe.status() == 503), "it holds no routes yet"
            keeper.place(endpoints)
            keeper.watches = True
            eventually(lambda: taken(keeper, table, endpoints))
            assert probe.status() == 200
            store = Store(databases["telemetry"])
            eventually(lambda: [each.retired for each in all_readers(store)] == [False])
            with httpx.Client(base_url=url, timeout=30) as client:
                answers = [client.post("/delays/predict", json={}, headers={"x-user-id": f"u{n}"}) for n in range(200)]
            assert {each.status_code for each in answers} == {200}
            assert {each.headers["x-sluice-build"] for each in answers} == {"1", "2"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
            assert _lines(store) == 200 + probe.answered
            assert [each.retired for each in all_readers(store)] == [True], "nobody waits for it"
            eventually(lambda: not keeper.gateways.boxes())
            eventually(lambda: not _gateway_leases(server))
            assert not _envoys(tmp_path)
            store.close()
        finally:
            keeper.end()


def test_a_collector_that_dies_is_started_again_and_counts_on(tmp_path: Path, databases: dict[str, str]) -> None:
    port = free_port()
    with (
        upstreams(build("1"), build("2")) as running,
        ApiServer() as server,
        pod(tmp_path, server, databases, port) as process,
    ):
        server.tokens |= {CONTROL: Role.CONTROL, GATEWAY: Role.GATEWAY}
        url, keeper = f"http://127.0.0.1:{port}", Keeper(server, [])
        endpoints = {service.endpoint.build: (service.endpoint,) for service in running.values()}
        try:
            probe = Probe(url)
            eventually(lambda: probe.status() == 503)
            keeper.place(endpoints)
            keeper.watches = True
            eventually(lambda: taken(keeper, routes([standing()], endpoints), endpoints))
            store = Store(databases["telemetry"])
            for _ in range(2):
                first = eventually(lambda: _collector(process.pid))
                with httpx.Client(base_url=url, timeout=30) as client:
                    assert all(client.post("/delays/predict", json={}).status_code == 200 for _ in range(50))
                first.kill()
            eventually(lambda: _lines(store) == 100 + probe.answered)
            store.close()
        finally:
            keeper.end()


def _lines(store: Store) -> int:
    with store.read() as connection:
        return int(connection.scalar(sa.select(sa.func.sum(logs.c.lines))) or 0)


def _collector(parent: int) -> psutil.Process | None:
    """The collector of a pod."""
    for each in psutil.Process(parent).children():
        with contextlib.suppress(psutil.Error):  # it may be over
            if "collector" in each.cmdline():
                return each
    return None


def _gateway_leases(server: ApiServer) -> list[str]:
    there = server.objects.select(server.place(LEASE, NAMESPACE), "app.kubernetes.io/component=gateway")
    return [each["metadata"]["name"] for each in there]


def _envoys(folder: Path) -> list[int]:
    """Envoys that run by files of this folder."""
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in each.info["cmdline"] or ())
    ]
