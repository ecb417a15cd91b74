"""Containers of an installation on Kubernetes as processes of this machine: the same commands and settings."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sluicegate.services.cluster.install.drawn_keys import keys_secret
from sluicegate.services.cluster.install.flow_jobs import TEMPLATE, base_job_template
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.manifests import manifests
from sluicegate.services.cluster.kinds import Object
from tests.clean_environment import clean_environment
from tests.doubles.api_server import ADMIN, ApiServer

NAMESPACE = "ml"
INSTALLATION = Installation(image="registry.example.com/sluicegate:1.0", namespace=NAMESPACE)
PATIENCE = 120.0


@dataclass
class Cluster:
    """What pods see: two mounted folders, one of state, and settings."""

    root: Path
    api: ApiServer
    settings: Mapping[str, str]
    port: int
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def environment(self) -> dict[str, str]:
        told = container("sluicegate-control", "keeper")["env"]
        return clean_environment() | {
            **{each["name"]: each["value"] for each in told if each["name"].startswith("SLUICE_") and "value" in each},
            **self.settings,
            "SLUICE_CLUSTER": NAMESPACE,
            "SLUICE_STATE": str(self.state),
            "KUBECONFIG": str(self.root / "kubeconfig"),
        }

    def command(self, role: str, *more: str) -> list[str]:
        mounts = ("--keys", str(self.root / "keys"), "--flows", str(self.root / "flows"), "--port", str(self.port))
        return [str(Path(sys.executable).with_name("sluice")), "cluster", "run", *mounts, role, *more]

    @contextmanager
    def running(self, role: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.root / f"{role}.log").open("ab")
        process = subprocess.Popen(self.command(role), env=self.environment | settings, stdout=log, stderr=log)
        log.close()
        try:
            yield process
        finally:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for each in (process, *children):
                with suppress(psutil.Error, ProcessLookupError):
                    each.kill()
            process.wait()

    def said(self, role: str) -> str:
        return (self.root / f"{role}.log").read_text(errors="replace")[-4000:]

    def probe(self, program: str, *, silent: int = 20) -> list[str]:
        """The liveness probe of a container, as its manifest has it."""
        command = [*container("sluicegate-control", program)["livenessProbe"]["exec"]["command"]]
        assert command[0] == "python3"
        command[-1] = command[-1].replace("/state/sluicegate", str(self.state)).replace(">20", f">{silent}")
        return [sys.executable, *command[1:]]

    def is_alive(self, program: str, *, silent: int = 20) -> bool:
        done = subprocess.run(self.probe(program, silent=silent), capture_output=True, check=False)
        return done.returncode == 0


def container(deployment: str, name: str) -> Object:
    """A container as the manifests have it."""
    [found] = [
        each
        for thing in manifests(INSTALLATION)
        if thing["kind"] == "Deployment" and thing["metadata"]["name"] == deployment
        for each in thing["spec"]["template"]["spec"]["containers"]
        if each["name"] == name
    ]
    return found


@contextmanager
def cluster(root: Path, settings: Mapping[str, str]) -> Iterator[Cluster]:
    """Mounts as the kubelet makes them, and an API server."""
    drawn = keys_secret(INSTALLATION)["stringData"]
    for name, text in drawn.items():
        path = root / "keys" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o440)
    (root / "flows").mkdir()
    (root / "flows" / TEMPLATE).write_text(json.dumps(base_job_template(INSTALLATION)))
    with ApiServer() as api, socket.socket() as free:
        write_kubeconfig(root / "kubeconfig", api)
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        yield Cluster(root=root, api=api, settings=settings, port=port, keys=drawn)


def write_kubeconfig(path: Path, api: ApiServer, token: str = ADMIN) -> None:
    """By which kubectl, and Prefect's worker, would reach it."""
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": NAMESPACE}}],
        "clusters": [{"name": "it", "cluster": {"server": api.url}}],
        "users": [{"name": "it", "user": {"token": token}}],
    }  # fmt: skip
    path.write_text(json.dumps(config))


def until(so: Callable[[], bool], why: Callable[[], str], *, seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, why()
        time.sleep(0.2)
