"""The control pod's containers as real processes, with PostgreSQL and Prefect: they start, answer, beat and stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.integration.cluster_rig import NAMESPACE, Cluster, cluster, container, until
from tests.integration.prefect_rig import PrefectServer, prefect_server
from tests.own_postgres import own_postgres

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(600)]
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture
def pod(short_path: Path, prefect: PrefectServer) -> Iterator[Cluster]:
    with own_postgres() as (url, _):
        settings = {
            "SLUICE_LEDGER": url, "SLUICE_TELEMETRY": url, "SLUICE_STORE": "s3://bucket/bentos",
            "MLFLOW_TRACKING_URI": NOBODY, **prefect.environment,
        }  # fmt: skip
        with cluster(short_path, settings) as running:
            yield running


@contextmanager
def containers(pod: Cluster, *roles: str) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    with ExitStack() as stack:
        running = {role: stack.enter_context(pod.running(role)) for role in roles}
        for role, process in running.items():
            until(
                lambda role=role, it=process: it.poll() is not None or pod.is_alive(role),
                lambda role=role: pod.said(role),
            )
            assert process.poll() is None, pod.said(role)
        yield running


def ask(pod: Cluster, path: str, *, host: str = "localhost", token: str | None = None) -> httpx.Response:
    headers = {"host": host} | ({"authorization": f"Bearer {token}"} if token else {})
    return plain_http.get(f"http://127.0.0.1:{pod.port}{path}", headers=headers, timeout=30)


def test_a_control_pod_from_start_to_stop(pod: Cluster, prefect: PrefectServer) -> None:
    with containers(pod, "keeper", "console") as running:
        readiness = container("sluicegate-control", "console")["readinessProbe"]["httpGet"]
        assert ask(pod, readiness["path"], host=readiness["httpHeaders"][0]["value"]).status_code == 200
        admin = pod.keys["admin_token"]
        assert ask(pod, "/api/v1/overview").status_code == 401
        for host in ("sluicegate-console", f"sluicegate-console.{NAMESPACE}.svc"):
            assert ask(pod, "/api/v1/overview", host=host, token=admin).status_code == 200
        assert ask(pod, "/api/v1/overview", host="elsewhere.example.com", token=admin).status_code == 400

        def registered() -> bool:
            there = prefect.ask("POST", "/deployments/filter", {"limit": 50})
            return {"canary", "watch"} <= {each["name"] for each in there}

        until(registered, lambda: pod.said("keeper"))
        [pool] = prefect.ask("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": ["sluice"]}}})
        job = pool["base_job_template"]["job_configuration"]["job_manifest"]
        assert (pool["type"], job["metadata"]["namespace"]) == ("kubernetes", NAMESPACE)

        done = subprocess.run(
            [Path(sys.executable).with_name("sluice"), "doctor", "--cluster", "-o", "json"], env=pod.environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = {each["check"]: each["status"] for each in json.loads(done.stdout)}
        assert {found[check] for check in ("cluster", "rights", "telemetry", "keepers", "prefect deployments")} == {
            "pass"
        }
        assert (found["mlflow answers"], found["prefect work pool"]) == (
            "fail",
            "fail",
        )  # none answers, no worker polls

        for process in running.values():
            process.send_signal(signal.SIGTERM)
        assert running["keeper"].wait(45) == 0
        assert running["console"].wait(45) in (0, -signal.SIGTERM)  # uvicorn ends itself by the signal that it got


def test_a_container_that_was_killed_starts_again_in_the_same_folder(pod: Cluster) -> None:
    with containers(pod, "keeper") as running:
        running["keeper"].kill()
        running["keeper"].wait()
    before = (pod.state / "secrets" / "state_token").read_text()
    beat = pod.state / "run" / "beats" / "keeper"
    beat.unlink()
    with containers(pod, "keeper"):
        assert (pod.state / "secrets" / "state_token").read_text() == before


def test_one_that_hangs_is_not_alive(pod: Cluster) -> None:
    with containers(pod, "console") as running:
        running["console"].send_signal(signal.SIGSTOP)
        until(lambda: not pod.is_alive("console", silent=3), lambda: "the probe takes it for alive")
        running["console"].send_signal(signal.SIGCONT)
        until(lambda: pod.is_alive("console", silent=3), lambda: pod.said("console"))


def test_two_containers_that_start_at_once_agree(pod: Cluster) -> None:
    codes = [
        subprocess.Popen(
            pod.command("flow", "cat", str(pod.state / "secrets" / "state_token")),
            env=pod.environment, stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    said = {process.communicate()[0] for process in codes}
    assert len(said) == 1
    assert said.pop().strip()


def test_a_flow_runs_with_what_it_needs(pod: Cluster) -> None:
    program = (
        "from sluicegate.flows.wiring.runtime import current_runtime as r;"
        "print(r().keys.check_key, r().settings.cluster, r().prefect.base_url);"
        "import os; print(len(os.listdir()), 'files in the folder that Prefect copies')"
    )
    done = subprocess.run(
        pod.command("flow", "python3", "-c", program), env=pod.environment | {"PATH": _path()}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    told, copied = done.stdout.splitlines()
    assert told.split() == [pod.keys["check_key"], NAMESPACE, f"{pod.settings['PREFECT_API_URL']}/"], done.stderr
    assert copied == "0 files in the folder that Prefect copies"


def _path() -> str:
    import os

    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.parametrize("missing", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL", "SLUICE_STORE", "SLUICE_LEDGER"])
def test_what_is_missing_is_named_at_once(short_path: Path, missing: str) -> None:
    settings = {
        "SLUICE_LEDGER": "postgresql://h/l", "SLUICE_TELEMETRY": "postgresql://h/t", "SLUICE_STORE": "s3://bucket/x",
        "MLFLOW_TRACKING_URI": NOBODY, "PREFECT_API_URL": NOBODY,
    }  # fmt: skip
    del settings[missing]
    with cluster(short_path, settings) as pod:
        began = time.monotonic()
        done = subprocess.run(pod.command("keeper"), env=pod.environment, capture_output=True, text=True, check=False)
        assert (done.returncode, missing in done.stderr, "fix:" in done.stderr) == (2, True, True), done.stderr
        assert time.monotonic() - began < 60


def test_a_key_that_is_missing_is_named(short_path: Path) -> None:
    settings = {
        "SLUICE_LEDGER": "postgresql://h/l", "SLUICE_TELEMETRY": "postgresql://h/t", "SLUICE_STORE": "s3://bucket/x",
        "MLFLOW_TRACKING_URI": NOBODY, "PREFECT_API_URL": NOBODY,
    }  # fmt: skip
    with cluster(short_path, settings) as pod:
        (short_path / "keys" / "session_secret").unlink()
        done = subprocess.run(pod.command("keeper"), env=pod.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "session_secret" in done.stderr
        assert "sluice cluster keys" in done.stderr
