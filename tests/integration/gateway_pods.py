"""A cluster of gateways for tests: an API server in memory, agents with real Envoys as processes, a keeper's side."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import TimedOut
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken, made_from
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.cluster.gateways import RENEW_EVERY, ClusterGateways
from sluicegate.services.cluster.kinds import CONFIG_MAP, ENDPOINT_SLICE, Object
from sluicegate.services.cluster.names import Component, build_name, labels
from sluicegate.services.cluster.rights import Role
from sluicegate.services.cluster.table_map import sheet_of
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.gateways import Gateways
from sluicegate.services.traffic.joined import Joined
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.table import RouteTable, refuse_older
from tests import plain_http
from tests.doubles.api_server import ApiServer
from tests.integration.traffic_rig import eventually, free_port

AGENT = Path(__file__).with_name("gateway_pod_process.py")
NAMESPACE = "models"
LIMITS = Limits(connect=0.5, whole=1.0, watch=10.0, grace=1.0)


def slices(endpoints: Endpoints) -> list[Object]:
    """The EndpointSlices of these builds, as the controller writes them."""
    return [
        {
            "metadata": {
                "name": f"{build_name(build)}-x",
                "labels": {**labels(Component.SERVICE, build), "kubernetes.io/service-name": build_name(build)},
            },
            "addressType": "IPv4",
            "ports": [{"name": f"p{port}", "port": port, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": [each.host], "conditions": {"ready": True}} for each in places if each.port == port
            ],
        }
        for build, places in endpoints.items()
        for port in {each.port for each in places}
    ]


class Pod:
    """One gateway pod: what is in its emptyDir stays while its container is killed and started again."""

    def __init__(
        self, server: ApiServer, folder: Path, name: str, *, unwatched: float = 15.0, greeting: float = 2.5
    ) -> None:
        """`greeting`: seconds for which it waits for a keeper's first word before it starts with stable alone."""
        self.name, self.folder, self._server = name, folder / name, server
        self.mounted = folder / f"{name}-table"
        self.mounted.mkdir(parents=True, exist_ok=True)
        self.port, self.unwatched, self.greeting = free_port(), unwatched, greeting
        self.process: subprocess.Popen[bytes] | None = None
        self.envoy = Envoy(self.folder, port=self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = server.url

    def start(self) -> None:
        said = {
            "url": self.api_url, "token": GATEWAY, "namespace": NAMESPACE, "folder": str(self.folder),
            "port": self.port, "name": self.name, "mounted": str(self.mounted), "unwatched": self.unwatched,
            "beat_every": 0.3, "greeting": self.greeting,
        }  # fmt: skip
        self.process = subprocess.Popen([sys.executable, str(AGENT), json.dumps(said)])

    def taken(self) -> object:
        """The EndpointSlices that it has taken up."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.folder.parent / f"{self.name}-taken.json").read_text())
        return None

    def wait(self) -> None:
        """Until Envoy answers, with routes or without."""
        eventually(lambda: plain_http.get(f"{self.url}/-/ready").status_code in (200, 503))

    def kill(self) -> None:
        """End everything in it, at once."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                agent = psutil.Process(self.process.pid)
                agent.suspend()  # it starts no other Envoy meanwhile, which nobody would end
                for child in agent.children(recursive=True):
                    child.kill()
            self.process.kill()
            self.process.wait()
            self.process = None
            eventually(self.envoy.is_away)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The agent hangs; Envoy serves on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Line:
    """The way to the API server, which can be cut: then nothing goes through, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._to, self._is_cut, self._is_over = port, False, False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True

    def mend(self) -> None:
        self._is_cut = False

    def end(self) -> None:
        self._is_over = True
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_over:
                one, _ = self._listening.accept()
                other = socket.create_connection(("127.0.0.1", self._to))
                for source, target in ((one, other), (other, one)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self._is_cut and not self._is_over:
                    time.sleep(0.01)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


class Quick(Joined):
    """As the keeper has it, with less patience."""

    away = 4.5

    def is_away(self) -> bool:
        return self._silence() > self.away


class Keeper:
    """The keeper's side, as a DataPlane: what its next looks do is done here."""

    def __init__(
        self,
        server: ApiServer,
        pods: Sequence[Pod],
        name: str = "keeper",
        *,
        away: float = 4.5,
        unwatched: float = 15.0,
    ) -> None:
        self._server, self._pods, self._away = server, pods, away
        api = Api(server.access(CONTROL), NAMESPACE, limits=LIMITS)
        self.gateways = ClusterGateways(
            api, keeper=name, unwatched=unwatched, forgotten=6.0, refuse_older=refuse_older,
            wall=lambda: datetime.now(UTC),
        )  # fmt: skip
        self.several = Gateways({}, lambda: datetime.now(UTC), patience=30)
        self._planes: dict[str, Quick] = {}
        self.watches = False
        self.stop = threading.Event()
        for loop in (self.gateways.hear, self.gateways.renew, self._look):
            threading.Thread(target=loop, args=(self.stop,), daemon=True).start()

    def _look(self, stop: threading.Event) -> None:
        while not stop.wait(0.1):
            if self.watches:
                for box in self.gateways.boxes():
                    box.renew()

    def follow(self) -> None:
        """Go by the gateways that there are."""
        boxes = {box.name: box for box in self.gateways.boxes()}
        if boxes.keys() != self._planes.keys():
            kept = {name: self._planes.get(name) for name in boxes}
            self._planes = {
                name: kept[name] or Quick(box, unwatched=15.0, patience=7.0, quiet=3.0) for name, box in boxes.items()
            }
            for each in self._planes.values():
                each.away = self._away
            self.several.follow(self._planes)

    def place(self, endpoints: Endpoints) -> None:
        """Be the controller of EndpointSlices."""
        place, wanted = self._server.place(ENDPOINT_SLICE, NAMESPACE), slices(endpoints)
        for index, each in enumerate(wanted):
            each["metadata"]["name"] += str(index)
        there = {each["metadata"]["name"]: each for each in self._server.objects.select(place, "")}
        for each in wanted:
            name = each["metadata"]["name"]
            if name not in there:
                self._server.objects.create(place, each)
            elif any(there[name][part] != each[part] for part in ("ports", "endpoints")):
                self._server.objects.replace(place, name, there[name] | each)
        for name in there.keys() - {each["metadata"]["name"] for each in wanted}:
            self._server.objects.delete(place, name)

    def _present(self) -> FencingToken:
        """From which state of the ledger the present routes were made."""
        there = self._server.objects.select(self._server.place(CONFIG_MAP, NAMESPACE), "")
        return made_from(sheet_of(there[0]) or "") if there else BEFORE_ALL

    def settle(self) -> None:
        """Wait until every gateway that runs has taken up the EndpointSlices, and said what came of it."""
        there = self._server.objects.select(self._server.place(ENDPOINT_SLICE, NAMESPACE), "")
        wanted = sorted([each["metadata"]["name"], each["metadata"]["resourceVersion"]] for each in there)
        running = [pod for pod in self._pods if pod.process is not None]
        eventually(lambda: all(pod.taken() == wanted for pod in running))
        beats = [each.beat for pod in running if (each := self.gateways.known_of(pod.name)) is not None]
        eventually(
            lambda: not {each.beat for pod in running if (each := self.gateways.known_of(pod.name))} & set(beats)
        )

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        self.follow()
        if not table.made_from.is_older_than(self._present()):  # no pod moves because of a keeper that is refused
            self.place(endpoints)
            self.settle()
        self.watches = True
        for _ in range(3):
            try:
                self.several.apply(table, endpoints)
                return
            except TimedOut:
                continue
        self.several.apply(table, endpoints)

    def renew(self) -> None:
        """Note that it watches, and wait until every gateway has heard so."""
        before = self.renewed_at()
        self.watches = True
        eventually(lambda: self.renewed_at() != before)

    def renewed_at(self) -> float | None:
        times = [pod.envoy.renewed_at() for pod in self._pods]
        return None if None in times else min(times)

    def go_stable_only(self) -> bool:
        """What the switch of each gateway does when no keeper watches."""
        self.watches = False
        time.sleep(RENEW_EVERY + 0.5)  # until then they hear of its last look
        gone = [pod.envoy.go_stable_only() for pod in self._pods]
        for pod in self._pods:
            Mark(pod.folder, pod.name, lambda: datetime.now(UTC)).put("the test is the switch")
        wanted = [pod.envoy.observe() for pod in self._pods]
        eventually(lambda: self.observe() == wanted[0])
        return any(gone)

    def observe(self) -> str | None:
        """What all serve; words of one or the other may be on their way, on a machine under load for seconds."""
        until = time.monotonic() + 60
        while (found := self.several.observe()) is None and time.monotonic() < until:
            if not any(pod.process for pod in self._pods):
                return None
            time.sleep(0.05)
        return found

    def back(self) -> None:
        """Wait until every gateway that was started again has said what it serves, and was heard to be watched."""
        if self.watches:
            eventually(lambda: not any(Mark(pod.folder, "", lambda: datetime.now(UTC)).read() for pod in self._pods))
        eventually(lambda: all(self._serves(pod) == pod.envoy.observe() for pod in self._pods))

    def _serves(self, pod: Pod) -> str | None:
        heard = self.gateways.known_of(pod.name)
        return None if heard is None else heard.report.serves

    def in_flight(self, build: BuildRef) -> int | None:
        return self.several.in_flight(build)

    def end(self) -> None:
        self.stop.set()


CONTROL, GATEWAY = "control-token", "gateway-token"


@contextlib.contextmanager
def cluster(folder: Path, count: int, **options: float) -> Iterator[tuple[ApiServer, list[Pod]]]:
    """An API server, and so many gateway pods that run."""
    with ApiServer() as server:
        server.tokens |= {CONTROL: Role.CONTROL, GATEWAY: Role.GATEWAY}
        server.watch_second = 0.3
        pods = [Pod(server, folder, f"gateway-{number}", **options) for number in range(1, count + 1)]
        try:
            for pod in pods:
                pod.start()
            yield server, pods
        finally:
            for pod in pods:
                pod.kill()
