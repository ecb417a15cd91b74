"""The whole stack as a user has it: `sluice up` in a folder of its own, plain MLflow calls, requests from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests import plain_http
from tests.clean_environment import clean_environment
from tests.integration import registering

MODEL = "wine"

PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s}
trigger: {alias: candidate}
metrics:
  errors: {source: status}
gates:
  - {metric: errors, alpha: 0.02, below: 8%}
steps:
  - {weight: 20, min_requests: 60, soak: 10s}
  - {weight: 50, min_requests: 100}
expect: {requests_per_day: 100000}
"""


@dataclass
class Load:
    """Requests from outside, with a record of their own."""

    gateway: str
    statuses: Counter[int] = field(default_factory=Counter)
    builds: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    errors: list[str] = field(default_factory=list)
    """When and how requests came to nothing."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, unit: str, value: float) -> tuple[int, dict[str, str]]:
        body = json.dumps({"inputs": [{"a": value, "b": 0.5}]}).encode()
        headers = {"content-type": "application/json", "x-user-id": unit}
        request = urllib.request.Request(f"{self.gateway}/{MODEL}/predict", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read()
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, {}
        except OSError as error:
            self.errors.append(f"{datetime.now():%H:%M:%S.%f} {error!r}")
            return 0, {}

    def run(self) -> None:
        while not self._stop.is_set():
            self.sent += 1
            status, headers = self.ask(f"u-{self.sent}", (self.sent % 1000) / 1000 + 1)
            self.statuses[status] += 1
            self.builds[headers.get("x-sluice-build", "none")] += 1

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)

    @contextmanager
    def running(self, threads: int = 4) -> Iterator[Load]:
        self._stop.clear()
        workers = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield self
        finally:
            self._stop.set()
            for worker in workers:
                worker.join(timeout=30)


class Stack:
    """One installation in a temporary folder."""

    def __init__(self, state: Path, *, python: Path = Path(sys.executable), cwd: Path | None = None) -> None:
        self.state = state
        self.python = python
        self.cwd = cwd
        self.env = clean_environment() | {"SLUICE_STATE": str(state)}
        self._clients: dict[str, str] = {}

    def run(self, *words: str, code: int | None = 0, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        if words[0] in ("up", "down", "restore"):
            self._clients = {}
        done = subprocess.run(
            [str(self.python.with_name("sluice")), *words], env=self.env, cwd=self.cwd,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if code is not None:
            assert done.returncode == code, (
                f"sluice {' '.join(words)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def ask(self, *words: str, code: int | None = 0, seconds: float = 400) -> Any:
        return json.loads(self.run(*words, "-o", "json", code=code, seconds=seconds).stdout)

    def up(self) -> dict[str, str]:
        self.run("up")
        return self.urls()

    def urls(self) -> dict[str, str]:
        found: dict[str, str] = self.ask("status", code=None)["urls"]
        return found

    def clients(self) -> dict[str, str]:
        """The environment that `sluice env` prints: it stays while a stack is up."""
        if not self._clients:
            lines = self.run("env").stdout.splitlines()
            pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
            self._clients = {name: value.strip("'\"") for name, value in pairs}
        return self._clients

    def register(self, *, failing: float = 0.0, model: str = MODEL) -> str:
        """A new version of the model, by plain MLflow calls in a process of its own."""
        return registering.register(self.python, model, failing, self.env | self.clients(), self.state)

    def prefect(self, method: str, path: str, body: object = None) -> Any:
        """Ask the Prefect server as any client would."""
        clients = self.clients()
        user, _, password = clients["PREFECT_API_AUTH_STRING"].partition(":")
        answer = plain_http.request(
            method, clients["PREFECT_API_URL"] + path, json=body, auth=(user, password), timeout=20
        )
        return answer.raise_for_status().json()

    def run_deployment(self, name: str, parameters: dict[str, Any]) -> str:
        """Run a deployment, as the Prefect UI's Custom Run does; the run's id."""
        deployment = self.prefect("GET", f"/deployments/name/{name}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.prefect("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def until_run(self, run: str, state: str, seconds: float = 120) -> None:
        """Wait until a flow run is in this state."""
        end = time.monotonic() + seconds
        while (seen := self.prefect("GET", f"/flow_runs/{run}")["state_type"]) != state:
            assert time.monotonic() < end, f"flow run is {seen}, not {state}, after {seconds} s"
            time.sleep(1)

    def until(self, name: str, is_done: Callable[[dict[str, Any]], bool], seconds: float = 180) -> dict[str, Any]:
        """Poll a rollout until it is as wanted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            view = self._shown(name)
            if is_done(view):
                return dict(view)
            time.sleep(0.3)
        raise AssertionError(f"not within {seconds} s: {view}\n{self.run('rollout', 'history', name).stdout}")

    def _shown(self, name: str) -> dict[str, Any]:
        """The console's answer, as the command has it; where none comes, the command, which has another way."""
        clients = self.clients()
        with contextlib.suppress(httpx.TransportError):
            answer = plain_http.get(
                f"{clients['SLUICE_API']}/api/v1/rollouts/{name}",
                headers={"authorization": f"Bearer {clients['SLUICE_TOKEN']}"}, timeout=5,
            )  # fmt: skip
            if answer.status_code == httpx.codes.OK:
                return dict(answer.json())
        return dict(self.ask("rollout", "show", name))

    def processes(self) -> list[psutil.Process]:
        """Every process that carries this installation's folder in its environment or command line."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = str(self.state) in " ".join(process.cmdline())
                mine = mine or process.environ().get("SLUICE_STATE") == str(self.state)
                if mine and process.pid != os.getpid():
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def pid(self, program: str) -> int:
        """The pid of a program of the stack."""
        programs = self.ask("status", code=None)["programs"]
        found = next(p["pid"] for p in programs if p["name"] == program)
        return int(found)


@contextmanager
def serving_stack(
    where: Path = Path("/tmp"), plan_text: str = PLAN, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A stack whose model has a stable first build and a plan."""
    with fresh_stack(where, environment) as stack:
        plan = stack.state / "plan.yaml"
        plan.write_text(plan_text)
        stack.register()
        stack.run("apply", "-f", str(plan))
        stack.run("deploy", MODEL, "--build", "1")
        yield stack


@contextmanager
def fresh_stack(where: Path = Path("/tmp"), environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack that is taken down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="sluice-", dir=where) as folder:
        stack = Stack(Path(folder))
        stack.env |= environment or {}
        try:
            stack.up()
            yield stack
        finally:
            stack.run("down", code=None)
            for process in stack.processes():
                process.kill()
