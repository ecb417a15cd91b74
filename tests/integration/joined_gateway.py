"""A gateway of another host for tests: a real agent with a real Envoy, the first host's console, and its keeper's side.

They meet over HTTP on loopback; over TLS, with `sluice gateway` itself, in test_run_on_several_hosts.py.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from sluicegate.flows.wiring.desk import LocalDesk
from sluicegate.flows.wiring.joined_agent import JoinedAgent
from sluicegate.flows.wiring.joined_console import Console
from sluicegate.flows.wiring.runtime import Runtime, now
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.fencing import made_from
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.settings import Settings
from sluicegate.services.console import joining
from sluicegate.services.console.app import create
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.keys import make_keys
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.joined import ON_THE_WAY, Mailbox
from sluicegate.services.traffic.table import RouteTable
from tests import plain_http
from tests.doubles.ledger import MemoryLedger
from tests.integration.gateway_pods import Quick
from tests.integration.traffic_rig import end, eventually, free_port

NAME, ADMIN = "edge-1", "the-admins-token"


class Direct(JoinedAgent):
    """Reaches services at the addresses that the test names; otherwise the first host's relay leads to them."""

    places: Endpoints
    turns = 0

    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        return {build: self.places[build] for build in builds if build in self.places}

    def turn(self) -> None:
        super().turn()
        self.turns += 1

    def reported(self) -> None:
        """Wait for a report that began after this."""
        before = self.turns
        eventually(lambda: self.turns >= before + 2)


class Edge:
    """The other host: its files stay while the agent and Envoy are killed and started again."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder, self._url, self._token, self.port = folder, url, token, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.places: Endpoints = {}
        self.agent: Direct | None = None
        self._stop, self._loops = threading.Event(), list[threading.Thread]()

    def start(self) -> None:
        envoy = Envoy(self.folder / "envoy", port=self.port)
        envoy.prepare()
        console = Console(self._url, self._token, None, str(self.folder))
        self.agent = Direct(folder=self.folder, console=console, envoy=envoy, relay={}, unwatched=15.0)
        self.agent.places = self.places
        self.agent.begin()
        self._stop = threading.Event()
        self._loops = [
            threading.Thread(target=each, args=(self._stop,)) for each in (self.agent.keep_running, self.agent.run)
        ]
        for each in self._loops:
            each.start()
        eventually(lambda: plain_http.get(f"{self.url}/-/ready").status_code in (200, 503))
        self.agent.reported()

    def kill(self) -> None:
        """End the agent and Envoy, as a host that loses power does."""
        self._stop.set()
        for each in self._loops:
            each.join(60)
        if self.agent is not None and self.agent._process is not None:
            end(self.agent._process)
            eventually(self.agent.envoy.is_away)
        self.agent = None

    def move(self, endpoints: Endpoints) -> None:
        """Follow services to these addresses."""
        if endpoints == self.places:
            return
        self.places = dict(endpoints)
        if self.agent is not None:
            self.agent.places = self.places
            self.agent.hold()
            self.agent.reported()


class FirstHost:
    """The keeper's side, as a DataPlane: the mailbox, and a keeper that watches once it has applied something."""

    def __init__(self, box: Mailbox, edge: Edge) -> None:
        self._box, self._edge = box, edge
        self.joined = Quick(box, unwatched=15.0, patience=20.0, quiet=3.0)
        self._watches, self._is_over = threading.Event(), threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._is_over.wait(0.5):
            if self._watches.is_set():
                self.joined.renew()

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        if not table.made_from.is_older_than(made_from(self._box.sheet() or "")):  # nothing moves for who is refused
            self._edge.move(endpoints)
        self.renew()
        self.joined.apply(table, endpoints)

    def renew(self) -> None:
        self._watches.set()
        self.joined.renew()

    def renewed_at(self) -> float | None:
        return self.joined.renewed_at()

    def go_stable_only(self) -> bool:
        """What the guard beside the gateway does when no keeper watches; for the keeper's side it does nothing."""
        assert self._edge.agent is not None
        assert not self.joined.go_stable_only()
        self._watches.clear()
        eventually(lambda: (self._box.renewed_ago() or 0.0) > ON_THE_WAY)
        self._edge.agent.reported()  # an answer on its way may have told of the last look
        has_gone = self._edge.agent.envoy.go_stable_only()
        self._edge.agent.reported()
        return has_gone

    def observe(self) -> str | None:
        return self.joined.observe()

    def in_flight(self, build: BuildRef) -> int | None:
        return self.joined.in_flight(build)

    def end(self) -> None:
        self._is_over.set()


@contextlib.contextmanager
def joined_gateway(folder: Path) -> Iterator[tuple[Mailbox, Edge]]:
    """A gateway that has joined, and what its host's messages go through on the first host."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as short:  # sockets of a state folder allow no long path
        runtime = _first_host(Path(short))
        ledger = MemoryLedger()
        token = Tokens(ledger, ADMIN, now).give(NAME, Role.GATEWAY, actor="ada")
        app = create(LocalDesk(runtime=runtime, ledger=ledger, admin_token=ADMIN), hosts=["127.0.0.1"])
        port = runtime.site.ports["console"]
        edge = Edge(folder, f"http://127.0.0.1:{port}", token)
        with pytest.MonkeyPatch.context() as patched, _answering(app, port):
            patched.setattr(joining, "LONGEST_WAIT", 0.3)  # an agent that is killed here ends with its answer
            try:
                edge.start()
                yield runtime.mailboxes[0], edge
            finally:
                edge.kill()


def _first_host(folder: Path) -> Runtime:
    ports = {name: free_port() for name in ("mlflow", "prefect", "console", "relay")}
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(folder)}), now)
    runtime.folder.prepare()
    make_site(runtime.folder, ports, {})
    make_keys(runtime.folder.secrets, os.urandom)
    return runtime


@contextlib.contextmanager
def _answering(app: Any, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        thread.join(30)
