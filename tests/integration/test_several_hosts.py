"""Three hosts as network namespaces: one that controls and serves, two gateways that join it. One is cut off.

The host's own namespace is the first; real Envoys, relay, console and collector, `sluice gateway` in the others.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from sluicegate.flows.wiring.gateway_guard import end_former
from sluicegate.flows.wiring.processes import GatewayPlane
from sluicegate.flows.wiring.runtime import Runtime, now
from sluicegate.flows.wiring.sight_watch import SightWatch
from sluicegate.registry.ledger.keeper_notes import sights
from sluicegate.registry.words.build import Endpoints
from sluicegate.registry.words.errors import SluiceError, TimedOut
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.gateways import Confirmation
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.settings import Settings
from sluicegate.registry.words.sight import Listener
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.host.certificates import joining_pair
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.keys import make_keys
from sluicegate.services.telemetry.store import schema
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests.clean_environment import clean_environment
from tests.integration.traffic_rig import build, eventually, free_port, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

LOAD = Path(__file__).with_name("hosts_load.py")
UNWATCHED = 12.0
PORT = 8443
BUILDS = {build("1"), build("2")}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Namespaces on one bridge, each with an address of its own."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._tag, net = f"sl{secrets.token_hex(3)}", f"10.{100 + secrets.randbelow(100)}.{secrets.randbelow(250)}"
        self.own = f"{net}.1"
        self.address = {name: f"{net}.{number}" for number, name in enumerate(names, 2)}

    def start(self) -> None:
        ip("link", "add", self._tag, "type", "bridge")
        ip("address", "add", f"{self.own}/24", "dev", self._tag)
        ip("link", "set", self._tag, "up")
        for name, address in self.address.items():
            space = self.space(name)
            ip("netns", "add", space)
            ip("link", "add", self._cable(name), "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", self._cable(name), "master", self._tag, "up")
            ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for each in ("lo", "eth0"):
                ip("-n", space, "link", "set", each, "up")

    def end(self) -> None:
        for name in self.address:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", self.space(name))
        with suppress(subprocess.CalledProcessError):
            ip("link", "delete", self._tag)

    def space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def cut(self, name: str) -> None:
        ip("link", "set", self._cable(name), "down")

    def mend(self, name: str) -> None:
        ip("link", "set", self._cable(name), "up")

    def _cable(self, name: str) -> str:
        return f"{self._tag}{name}"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2: several hosts were NOT tested")
    made = Hosts(("a", "b"))
    try:
        made.start()
    except subprocess.CalledProcessError as error:
        made.end()
        pytest.skip(f"no network namespaces here, several hosts were NOT tested: {error.stderr.decode()}")
    try:
        yield made
    finally:
        made.end()


class Control:
    """The first host: what `sluice up` runs there, but for what only rollouts need. The test keeps."""

    def __init__(self, folder: Path, address: str, stack: ExitStack) -> None:
        names = ("mlflow", "prefect", "gateway", "console", "relay")
        environment = {"SLUICE_STATE": str(folder), "SLUICE_LISTEN": address, "SLUICE_UNWATCHED": f"{UNWATCHED:g}s"}
        self.address, self.stack = address, stack
        self.runtime = Runtime(Settings.read(environment), now)
        self._environment = clean_environment() | environment
        self.runtime.folder.prepare()
        self.site = make_site(self.runtime.folder, {name: free_port() for name in names}, environment)
        self.keys = make_keys(self.runtime.folder.secrets, os.urandom)
        door = self.runtime.door(self.site)
        assert door is not None
        door.take_up()
        joining_pair(self.runtime.folder.tls, now())
        self.envoy = self.runtime.envoys_of(self.site)["gateway"]
        self.relay = self.runtime.relay(self.site)
        assert self.relay is not None
        for each in (self.envoy, self.relay):
            each.prepare()
            self.run(*each.command())
        eventually(lambda: self.envoy.observe() is not None)
        self.run(sys.executable, "-m", "sluicegate.flows.wiring.processes", "console")
        self.collector: subprocess.Popen[bytes] | None = None
        self._position = 0

    def run(self, *command: str, log: Path | None = None) -> subprocess.Popen[bytes]:
        with (log or Path(os.devnull)).open("ab") as to:
            process = subprocess.Popen(command, env=self._environment, stdout=to, stderr=to)
        self.stack.callback(self.stop, process)
        return process

    @staticmethod
    def stop(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def collect(self) -> None:
        """Have the logs of all gateways that have joined collected."""
        self.run(sys.executable, "-m", "sluicegate.flows.wiring.processes", "collector")

    def token(self, name: str) -> str:
        given = Tokens(self.runtime.ledger, self.keys.admin_token, now)
        return given.give(name, Role.GATEWAY, actor="ada")

    def table(self, weight: int, stable: str = "1") -> RouteTable:
        """A table newer than those before."""
        self._position += 1
        made = routes([standing(weight=weight, stable=stable, timeout="5s")], BUILDS, {})
        return replace(made, made_from=FencingToken(term=1, position=self._position))

    def seen(self) -> int:
        """Requests that the gateways say that they served lately, as the keeper notes it."""
        return sights(self.runtime.ledger).noted[Listener.LIVE].served if sights(self.runtime.ledger).noted else 0

    def lines(self, gateway: str) -> int:
        """Lines of a gateway's log that were counted."""
        table, log = schema.logs, self.runtime.folder.root / "gateways" / gateway / "logs" / "live.jsonl"
        with self.runtime.store.read() as connection:
            return connection.scalar(sa.select(table.c.lines).where(table.c.log == str(log))) or 0


class Keeping:
    """Looks as the keeper does: the table of now in force everywhere, and a renewal, again and again."""

    def __init__(self, control: Control, endpoints: Endpoints) -> None:
        self.plane = GatewayPlane(control.runtime, lambda: None)
        self.table, self._endpoints = control.table(0), endpoints
        self._over, self._turn = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._keep)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def order(self, table: RouteTable) -> SluiceError | None:
        """Put a table in force; what is in the way."""
        with self._turn:
            self.table = table
            return self._look()

    def states(self) -> dict[str, Confirmation]:
        return {each.name: each.confirmation for each in self.plane.gateways.states()}

    def _look(self) -> SluiceError | None:
        try:
            self.plane.apply(self.table, self._endpoints)
        except SluiceError as error:
            return error
        finally:
            self.plane.renew()
        return None

    def _keep(self) -> None:
        while not self._over.wait(0.5):
            with self._turn:
                self._look()


class Edge:
    """A gateway of another host, and callers there."""

    def __init__(self, control: Control, hosts: Hosts, name: str, folder: Path) -> None:
        self._control, self._within = control, ("ip", "netns", "exec", hosts.space(name))
        self.folder, self.name = folder / f"host-{name}", f"edge-{name}"
        self._address = hosts.address[name]
        self.envoy = self.folder / "joined" / "envoy"
        self.log = folder / f"{self.name}.log"
        self._environment = {
            "SLUICE_STATE": str(self.folder),
            "SLUICE_API": f"https://{control.address}:{control.site.ports['console']}",
            "SLUICE_TOKEN": control.token(self.name),
            "SLUICE_CA": str(control.runtime.folder.tls / "ca.pem"),
            "SLUICE_LISTEN": self._address,
            "SLUICE_UNWATCHED": f"{UNWATCHED:g}s",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = (*self._within, str(Path(sys.executable).with_name("sluice")), "gateway", "--port", str(PORT))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=clean_environment() | self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self._control.stack.callback(self.kill)
        self._control.stack.callback(self.tell)

    def tell(self) -> None:
        """Print what it logged: pytest shows it when the test fails."""
        print(f"{self.name}:\n{self.log.read_text()}")

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.envoy.exists():
            end_former(self.envoy.parent)
        with suppress(SluiceError):
            Envoy(self.envoy, port=PORT).end()

    def lose_power(self) -> None:
        """Kill every process there at once, but for the callers."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if str(self.folder) in " ".join(words) and str(LOAD) not in words:
                    process.kill()
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def logged(self) -> int:
        """Lines that its Envoy has written."""
        return sum(path.read_bytes().count(b"\n") for path in (self.envoy / "logs").glob("live*.jsonl"))

    def call(self) -> subprocess.Popen[str]:
        ca, token = self.folder / "joined" / "tls" / "ca.pem", self._control.keys.gateway_token
        words = (f"https://{self._address}:{PORT}", str(ca), token, "2", "0.02")
        command = [*self._within, sys.executable, str(LOAD), *words]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def serves_stable_only(self) -> bool:
        return (self.envoy / "rds.json").read_text() == (self.envoy / "unwatched.json").read_text()


def ended(load: subprocess.Popen[str]) -> dict[str, Any]:
    told, _ = load.communicate("", timeout=60)
    return dict(json.loads(told))


class Installation:
    """The first host and its gateways, all of which serve the first table."""

    def __init__(self, hosts: Hosts, folder: Path, stack: ExitStack) -> None:
        services = stack.enter_context(upstreams(*BUILDS))
        self.control = Control(folder / "s", hosts.own, stack)
        self.edges = [Edge(self.control, hosts, name, folder) for name in "ab"]
        for each in self.edges:
            each.start()
        eventually(lambda: len(self.control.runtime.joined()) == len(self.edges), seconds=120)
        self.keeping = Keeping(self.control, {each: (services[each.version].endpoint,) for each in BUILDS})
        self.keeping.start()
        stack.callback(self.keeping.end)
        self.control.collect()
        eventually(self.all_confirmed, seconds=120)

    def confirmed(self) -> set[str]:
        return {name for name, state in self.keeping.states().items() if state is Confirmation.CONFIRMED}

    def all_confirmed(self) -> bool:
        return self.confirmed() == {"gateway", "edge-a", "edge-b"}

    def is_observed(self) -> bool:
        return self.keeping.plane.observe() == self.keeping.table.version


def test_a_gateway_that_is_cut_off_sends_nobody_to_a_candidate_and_every_request_counts_once(
    hosts: Hosts, short_path: Path
) -> None:
    with ExitStack() as stack:
        whole = Installation(hosts, short_path, stack)
        control, edges, keeping = whole.control, whole.edges, whole.keeping
        keeping.order(control.table(2000))
        eventually(whole.is_observed)
        loads = [each.call() for each in edges]
        eventually(lambda: all(control.lines(each.name) > 80 for each in edges))
        sight = SightWatch(control.runtime)
        eventually(lambda: sight.look() or control.seen() > 100)  # what they say that they served is compared, too

        hosts.cut("b")  # in mid-ramp
        began = time.monotonic()
        error = eventually(lambda: keeping.order(control.table(5000)))
        assert isinstance(error, TimedOut), error
        assert "edge-b" in str(error)
        assert keeping.plane.observe() is None, "no weight grows while one may serve another"
        aborting = time.time()
        keeping.order(control.table(0))
        eventually(lambda: {"gateway", "edge-a"} <= whole.confirmed())
        eventually(edges[1].serves_stable_only)
        stable_only = time.monotonic() - began
        eventually(whole.is_observed)  # by now it cannot send anybody there
        counted_out = time.monotonic() - began
        assert keeping.states()["edge-b"] is Confirmation.AWAY
        assert keeping.plane.in_flight(build("2")) == 0

        hosts.mend("b")
        eventually(whole.all_confirmed)
        got = [ended(load) for load in loads]
        for each in edges:
            assert each.process is not None
            each.process.terminate()
            each.process.wait(90)
        sent = {each.name: sum(told["statuses"].values()) for each, told in zip(edges, got, strict=True)}
        eventually(lambda: {name: control.lines(name) for name in sent} == sent, seconds=90)
        assert {box.name for box in control.runtime.mailboxes if box.is_retired} == set(sent)

        print(f"stable only {stable_only:.1f} s after the cut, done by {counted_out:.1f} s; answers {got}; sent {sent}")
        first, second = got
        assert first["lost"] == second["lost"] == []
        assert set(first["statuses"]) == {"200"}, "who is not cut off has no failed request"
        assert first["builds"]["2"] > 0
        assert second["builds"]["2"] > 0
        assert second["last"]["2"] < aborting, "not after the cut, nor once it was back"


def test_a_hung_gateway_a_host_without_power_and_a_promotion_during_a_cut(hosts: Hosts, short_path: Path) -> None:
    with ExitStack() as stack:
        whole = Installation(hosts, short_path, stack)
        control, (a, b), keeping = whole.control, whole.edges, whole.keeping
        keeping.order(control.table(2000))
        eventually(whole.is_observed)
        loads = [a.call(), b.call()]
        eventually(lambda: all(control.lines(each.name) > 80 for each in (a, b)))

        assert b.process is not None
        agent = psutil.Process(b.process.pid)
        agent.suspend()  # in mid-ramp; its Envoy goes on, and reaches every service
        began = time.monotonic()
        error = eventually(lambda: keeping.order(control.table(5000)))
        assert isinstance(error, TimedOut), error
        assert "edge-b" in str(error)
        assert keeping.plane.observe() is None, "no weight grows while one may serve another"
        keeping.order(control.table(0))
        eventually(lambda: {"gateway", "edge-a"} <= whole.confirmed())
        eventually(b.serves_stable_only)  # by the guard beside it
        stable_only, nobody_after = time.monotonic() - began, time.time() + 0.5
        eventually(whole.is_observed)
        counted_out = time.monotonic() - began
        assert keeping.states()["edge-b"] is Confirmation.AWAY
        assert b.process.wait(60) == -signal.SIGKILL, "the guard ends a process that hangs"
        b.start()  # as systemd does
        eventually(whole.all_confirmed)
        hung = ended(loads[1])
        assert (hung["lost"], set(hung["statuses"])) == ([], {"200"}), "its Envoy served on all the time"
        assert hung["last"]["2"] < nobody_after
        print(f"hung: stable only after {stable_only:.1f} s, counted out after {counted_out:.1f} s; {hung}")

        keeping.order(control.table(2000))
        eventually(whole.is_observed)
        loads[1] = b.call()
        a.lose_power()  # in mid-ramp
        began = time.monotonic()
        eventually(lambda: keeping.states()["edge-a"] is Confirmation.AWAY)
        keeping.order(control.table(5000))
        eventually(whole.is_observed)  # whoever serves nobody holds up nothing
        ramps_on = time.monotonic() - began
        first = ended(loads[0])
        assert set(first["statuses"]) == {"200"}, "each answer before that was one"
        a.start()
        eventually(whole.all_confirmed)
        eventually(lambda: control.lines(a.name) == a.logged())
        unlogged = sum(first["statuses"].values()) - a.logged()
        print(
            f"without power: the ramp went on after {ramps_on:.1f} s; {unlogged} of {first['statuses']} were not logged"
        )
        assert unlogged <= 2 * 20, "what Envoy had not written yet: 100 ms"

        loads[0] = a.call()
        hosts.cut("b")
        promoted = control.table(0, stable="2")
        keeping.order(promoted)
        eventually(whole.is_observed)
        hosts.mend("b")
        eventually(whole.all_confirmed)
        back = time.time()
        there, sent = control.lines(b.name), b.logged()
        eventually(lambda: b.logged() > sent + 80)
        got = [ended(load) for load in loads]
        print(f"promotion during a cut: {got}; {there} lines had come, {b.logged()} in the end")
        assert (got[0]["lost"], set(got[0]["statuses"])) == ([], {"200"}), "who is not cut off has no failed request"
        for each, told in zip((a, b), got, strict=True):
            assert told["last"].get("1", 0.0) < back + 0.5, "only the promoted build answers"
            assert told["last"]["2"] > back
            assert each.process is not None
            each.process.terminate()
            each.process.wait(90)
        eventually(lambda: [control.lines(each.name) for each in (a, b)] == [a.logged(), b.logged()], seconds=90)
