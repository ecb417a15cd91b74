"""Prefect's real Kubernetes worker, as the manifests start it: each flow run is a Job, and it does nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.install.flow_jobs import base_job_template
from sluicegate.services.cluster.install.manifests import manifests
from sluicegate.services.cluster.kinds import Kind
from sluicegate.services.host.prefect_setup.server import ensure_pool
from tests.clean_environment import clean_environment
from tests.doubles.api_server import ApiServer
from tests.integration.cluster_rig import INSTALLATION, NAMESPACE, container, until, write_kubeconfig
from tests.integration.prefect_rig import AUTH, PrefectServer, prefect_server
from tests.kubernetes_standard import MINOR_VERSIONS, restricted_errors, schema_errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
JOB = Kind(name="Job", plural="jobs", group="batch")


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[PrefectServer]:
    (tmp_path / "prefect").mkdir()
    with prefect_server(tmp_path / "prefect") as running:
        yield running


def started(prefect: PrefectServer) -> str:
    """A flow run of a deployment in our pool, due now; its id."""
    flow = prefect.ask("POST", "/flows/", {"name": "canary"})["id"]
    deployment = {"name": "canary", "flow_id": flow, "work_pool_name": "sluice", "entrypoint": "a.b"}
    made = prefect.ask("POST", "/deployments/", deployment)["id"]
    run = prefect.ask("POST", f"/deployments/{made}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    return str(run["id"])


def test_a_flow_run_is_a_job_and_the_worker_uses_the_rights_that_it_has(tmp_path: Path, prefect: PrefectServer) -> None:
    ensure_pool(prefect.environment, base_job_template(INSTALLATION))
    ensure_pool(prefect.environment, base_job_template(INSTALLATION))  # as another keeper does
    told = container("sluicegate-worker", "worker")
    with ApiServer() as server:
        write_kubeconfig(tmp_path / "kubeconfig", server)
        environment = clean_environment() | prefect.environment | {
            each["name"]: each["value"] for each in told["env"]
            if "value" in each and each["name"] not in ("HOME", "PREFECT_HOME", "SLUICE_STATE")
        }  # fmt: skip
        command = [each for each in told["command"] if each != "--with-healthcheck"]
        assert command[0] == "prefect"
        log = (tmp_path / "worker.log").open("ab")
        worker = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment | {"KUBECONFIG": str(tmp_path / "kubeconfig")},
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            api, said = Api(server.access(), NAMESPACE), lambda: (tmp_path / "worker.log").read_text()[-3000:]
            run = started(prefect)
            until(lambda: bool(api.select(JOB, {"prefect.io/flow-run-id": run}).items), said)
            [job] = api.select(JOB, {"prefect.io/flow-run-id": run}).items
            _is_as_it_should(job)
            until(lambda: prefect.ask("GET", f"/flow_runs/{run}")["infrastructure_pid"] is not None, said)
            asked = [each for each in server.asked if "labelSelector" not in each]
        finally:
            worker.kill()  # asked to end it waits for runs that nobody carries out here
            worker.wait()
            log.close()
    paths = [each.split()[1].partition("?")[0] for each in asked]
    assert all(re.fullmatch(rf"/apis/batch/v1/namespaces/{NAMESPACE}/jobs(/[^/]+)?", path) for path in paths), asked
    [role] = [
        each for each in manifests(INSTALLATION) if each["kind"] == "Role" and "worker" in each["metadata"]["name"]
    ]
    [rule] = role["rules"]
    assert rule["resources"] == ["jobs"]
    assert ({each.split()[0] for each in asked}, rule["verbs"]) == ({"POST"}, ["create"])


def _is_as_it_should(job: Any) -> None:
    pod = job["spec"]["template"]["spec"]
    [one] = pod["containers"]
    assert [*one["command"], *one["args"]] == ["sluice", "cluster", "run", "flow", "prefect", "flow-run", "execute"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("sluicegate-flow", False)
    assert list(restricted_errors(pod)) == []
    assert AUTH not in str(job), "a password is in the Job"
    env = {each["name"]: each for each in one["env"]}
    assert env["PREFECT_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"]["name"] == "sluicegate-connections"
    assert {"SLUICE_CLUSTER", "SLUICE_STATE", "PREFECT__FLOW_RUN_ID"} <= env.keys()
    plain = {name: job[name] for name in ("apiVersion", "kind", "spec")}
    found = {error for minor in MINOR_VERSIONS for error in schema_errors(plain, minor)}
    assert all("parallelism" in each or "completions" in each for each in found), found  # see flow_jobs.py
