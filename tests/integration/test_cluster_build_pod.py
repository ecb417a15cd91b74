"""A build's pod without Kubernetes: its containers' own commands and environments, as the Deployment says them.

Both containers are processes here, /bento is a folder, port 3000 a free one, and the termination message a file. The
model, the bento, the store and BentoML are real.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build, BuildRef, Endpoint
from sluicegate.services.bento.asking import ask
from sluicegate.services.bento.packer import Packer
from sluicegate.services.bento.readiness import probe
from sluicegate.services.bento.stores.folder import FolderObjects
from sluicegate.services.bento.stores.shared import SharedStore
from sluicegate.services.cluster.objects import Kit, deployment
from tests.integration.bento_models import logged_models
from tests.integration.traffic_rig import eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REF = BuildRef(model="delays", version="1")
SERVE = Serve.model_validate({"timeout": "8s"})
KIT = Kit(image="ours:1", connections="sluicegate-connections")
BODY = json.dumps({"inputs": [{"carrier": "AA", "distance": 700, "hour": 6}]}).encode()


@dataclass
class Pod:
    """One pod's containers, one after the other, as processes."""

    folder: Path
    store: Path
    spec: dict[str, Any]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(build=REF, host="127.0.0.1", port=self.port)

    @property
    def last_words(self) -> str:
        """What Kubernetes would show as the reason."""
        path = self.folder / "termination-log"
        return path.read_text() if path.exists() else ""

    def fetch(self) -> subprocess.CompletedProcess[str]:
        command, environment = self._here(self.spec["initContainers"][0])
        environment["SLUICE_STORE"] = str(self.store)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)

    def start(self) -> None:
        command, environment = self._here(self.spec["containers"][0])
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def answers(self) -> bool:
        try:
            return ask(self.endpoint, "GET", "/readyz", None, 5)[0] == 200
        except OSError:
            return False

    def _here(self, container: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        said = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        command = [sys.executable if part == "python3" else self._place(part) for part in container["command"]]
        return command, {"PATH": os.environ["PATH"]} | {name: self._place(value) for name, value in said.items()}

    def _place(self, text: str) -> str:
        text = text.replace("/dev/termination-log", str(self.folder / "termination-log"))
        if text == "3000":
            return str(self.port)
        return str(self.folder) + text if text.startswith("/bento") else text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return logged_models(tmp_path_factory.getbasetemp())["delays"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Packed]:
    """A store that a worker put a bento into."""
    home = tmp_path_factory.mktemp("worker")
    shared = SharedStore(FolderObjects(home / "store"), home=home / "bento", owner=lambda: "ours")
    packer = Packer(home / "bento", clock=lambda: datetime.now(UTC), shared=shared)
    return home / "store", packer.pack(Build(ref=REF, source="models:/delays/1"), model, serve=SERVE)


@pytest.fixture
def pod(tmp_path: Path, packed: tuple[Path, Packed]) -> Iterator[Pod]:
    pod = made(tmp_path, *packed)
    try:
        yield pod
    finally:
        if pod.process is not None:
            for process in (*pod.workers(), psutil.Process(pod.process.pid)) if pod.process.poll() is None else ():
                process.kill()
            pod.process.wait()


def made(folder: Path, store: Path, packed: Packed, serve: Serve = SERVE) -> Pod:
    (folder / "bento").mkdir()
    return Pod(folder, store, deployment(REF, packed, serve, KIT)["spec"]["template"]["spec"])


def serving(pod: Pod) -> Pod:
    fetched = pod.fetch()
    assert fetched.returncode == 0, fetched.stderr
    pod.start()
    eventually(pod.answers, seconds=120)
    return pod


def test_a_pod_fetches_its_bento_serves_it_and_drains(pod: Pod, packed: tuple[Path, Packed]) -> None:
    store, bento = packed
    pod.fetch()
    pod.start()
    refused = []
    while not pod.answers():
        assert pod.process is not None
        assert pod.process.poll() is None, (pod.folder / "log").read_text()
        try:
            ask(pod.endpoint, "GET", "/livez", None, 60)
        except ConnectionRefusedError:
            refused.append(1)
    assert refused, "who came before the model was read was refused"
    example = SharedStore(FolderObjects(store), home=pod.folder, owner=str).example(bento)
    assert example is not None
    assert probe(pod.endpoint, example) is None
    status, headers, _ = ask(pod.endpoint, "POST", "/predict", BODY, 30)
    assert (status, headers["x-sluice-build"]) == (200, "delays/1")
    assert drained(pod) == []


def drained(pod: Pod) -> list[str]:
    """What went wrong for callers that were being answered when the pod was told to end."""
    wrong: list[str] = []
    asked = threading.Barrier(5)

    def call() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=60)
        connection.request("POST", "/predict", json.dumps({"inputs": json.loads(BODY)["inputs"] * 20_000}))
        asked.wait()
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            wrong.append(f"status {answer.status}")

    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    asked.wait()
    eventually(lambda: any(each.cpu_times().user > 0 for each in pod.workers()))
    assert pod.process is not None
    pod.process.send_signal(signal.SIGTERM)
    for each in callers:
        each.join()
    assert pod.process.wait(60) == 0
    return wrong


def test_a_worker_that_is_killed_is_followed_by_another_and_who_comes_meanwhile_is_refused(pod: Pod) -> None:
    serving(pod)
    [worker] = pod.workers()
    seconds = 31  # a worker that ended sooner has not begun to answer, and the pod ends
    eventually(lambda: datetime.now(UTC).timestamp() - worker.create_time() > seconds, seconds=60)
    worker.kill()
    worker.wait()
    eventually(lambda: not pod.answers(), seconds=30)
    eventually(pod.answers, seconds=120)


def test_a_bento_that_is_not_what_was_packed_is_not_served(
    pod: Pod, packed: tuple[Path, Packed], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    fetched = made(other, packed[0], replace(packed[1], model_digest="0" * 64)).fetch()
    assert fetched.returncode == 1
    assert "is not in the store" in fetched.stderr
    assert "Traceback" not in fetched.stderr
    [archive] = (packed[0] / "bentos").rglob("*.tar")
    whole = archive.read_bytes()
    try:
        archive.write_bytes(
            whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
        )
        spoilt = pod.fetch()
    finally:
        archive.write_bytes(whole)
    assert spoilt.returncode == 1
    assert "differs from what was packed" in spoilt.stderr


def test_a_model_that_cannot_be_loaded_ends_the_pod_with_the_reason(pod: Pod, packed: tuple[Path, Packed]) -> None:
    assert pod.fetch().returncode == 0
    [described] = (pod.folder / "bento" / "store" / "models").rglob("MLmodel")
    described.write_text("flavors: {python_function: {loader_module: no_such_module}}\n")
    pod.start()
    assert pod.process is not None
    assert pod.process.wait(120) == 1
    assert "no_such_module" in pod.last_words
