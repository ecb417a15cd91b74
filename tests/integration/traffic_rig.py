"""Starts real Envoys and small upstreams for tests, and ends them by their own handles."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.access_log import LogLine, parse
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.traffic.envoy.plane import Envoy
from tests import plain_http

UPSTREAM = Path(__file__).with_name("traffic_upstream.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(check, *, seconds: float = 100.0):
    """The first truthy answer of `check`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if answer := check():
                return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class Upstream:
    """One small service process."""

    def __init__(self, build: BuildRef) -> None:
        self.endpoint = Endpoint(build=build, host="127.0.0.1", port=free_port())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, str(UPSTREAM), str(self.endpoint.port), self.endpoint.build.version]
        self.process = subprocess.Popen(command)

    @contextlib.contextmanager
    def another_worker(self) -> Iterator[None]:
        """A second process that answers on the same port."""
        command = [sys.executable, str(UPSTREAM), str(self.endpoint.port), self.endpoint.build.version]
        process = subprocess.Popen(command)
        try:
            listening = f":{self.endpoint.port:04X} 00000000:0000 0A"
            eventually(lambda: Path("/proc/net/tcp").read_text().count(listening) == 2)
            yield
        finally:
            end(process)

    def wait(self) -> None:
        eventually(lambda: self.mode("ok"))

    def mode(self, answer: str, **more: object) -> bool:
        url = f"http://{self.endpoint.address}/-/mode"
        return plain_http.post(url, json={"answer": answer, **more}).status_code == 200

    def kill(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None


class Gateway:
    """A real Envoy under test."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.plane = Envoy(folder, port=free_port(), **options)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.plane.prepare()
        self.restart()

    def restart(self) -> None:
        """Run the command on the files that are there."""
        self.process = subprocess.Popen(self.plane.command())
        eventually(lambda: plain_http.get(f"{self.plane.url}/-/ready").status_code in (200, 503))

    def kill(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.plane.url, timeout=60, verify=False, **options)

    def lines(self, count: int) -> list[LogLine]:
        """The exposures in the log, once there are at least `count`."""
        return eventually(lambda: len(rows := self._logged("live", is_shadow=False)) >= count and rows)

    def shadow_lines(self, count: int) -> list[LogLine]:
        """The copies in the shadow log, once there are at least `count`."""
        return eventually(lambda: len(rows := self._logged("shadow", is_shadow=True)) >= count and rows)

    def _logged(self, listener: str, *, is_shadow: bool) -> list[LogLine]:
        files = sorted(self.plane.logs.glob(f"{listener}*.jsonl"))
        rows = [parse(line) for file in files for line in file.read_text().splitlines()]
        return [row for row in rows if row.assigned and row.is_shadow is is_shadow]


@contextlib.contextmanager
def upstreams(*builds: BuildRef) -> Iterator[dict[str, Upstream]]:
    services = {build.version: Upstream(build) for build in builds}
    try:
        for service in services.values():
            service.start()
        for service in services.values():
            service.wait()
        yield services
    finally:
        for service in services.values():
            service.kill()


@contextlib.contextmanager
def gateway(folder: Path, **options: object) -> Iterator[Gateway]:
    running = Gateway(folder, **options)
    try:
        running.start()
        yield running
    finally:
        running.kill()


def build(version: str, model: str = "delays") -> BuildRef:
    return BuildRef(model=model, version=version)


def standing(
    *, weight: int = 0, epoch: int = 1, stable: str = "1", candidate: str = "2", model: str = "delays",
    unit: str | None = "x-user-id", retry: bool = True, timeout: str = "30s", rollout: str = "r-7",
    is_shadow: bool = False,
) -> Standing:  # fmt: skip
    tried = weight if not is_shadow else 0
    copied = Shadowing(build=build(candidate, model), share=weight, rollout=rollout, epoch=epoch, segments=("x-state",))
    return Standing(
        model=model, variation="default", stable=build(stable, model), unit=unit,
        serve=Serve(retry=retry, timeout=timeout),
        candidate=build(candidate, model) if tried else None, weight=tried,
        rollout=rollout if tried else None, epoch=epoch, shadows=(copied,) if weight and is_shadow else (),
    )  # fmt: skip
