"""A rollout on which no driver works, on the whole stack: it says why, and is driven once it can be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.stack_rig import MODEL, Stack, serving_stack
from tests.integration.traffic_rig import eventually

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


def prefect(stack: Stack, method: str, path: str, body: object = None) -> httpx.Response:
    """Ask Prefect, again where its SQLite is busy."""
    clients = stack.clients()
    user, _, password = clients["PREFECT_API_AUTH_STRING"].partition(":")
    with httpx.Client(base_url=clients["PREFECT_API_URL"], auth=(user, password), timeout=60, trust_env=False) as http:
        for _ in range(20):
            answer = http.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
    return answer.raise_for_status()


def deployments(stack: Stack) -> list[dict[str, Any]]:
    return list(prefect(stack, "POST", "/deployments/filter", {}).json())


def check(stack: Stack, name: str) -> dict[str, Any]:
    findings = stack.ask("doctor", code=None)
    return next(dict(each) for each in findings if each["check"] == name)


def passes(stack: Stack, name: str) -> None:
    """Wait until the check passes: on a busy machine Prefect may answer too late at first."""
    eventually(lambda: check(stack, name)["status"] == "pass", seconds=60)


def start(stack: Stack) -> str:
    stack.run("rollout", "abort", MODEL, code=None)  # what a first run of the test left
    return str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])


def end(stack: Stack, rollout: str) -> None:
    stack.run("rollout", "abort", rollout)
    stack.until(rollout, lambda view: view["settled"] and view["no_driver"] is None)


def test_deployments_that_were_deleted_are_made_again_and_the_rollout_is_driven(stack: Stack) -> None:
    passes(stack, "prefect deployments")
    names = {each["name"] for each in deployments(stack)}
    for each in deployments(stack):
        prefect(stack, "DELETE", f"/deployments/{each['id']}")
    finding = check(stack, "prefect deployments")
    assert finding["status"] == "fail"
    assert "canary" in finding["found"]
    rollout = start(stack)
    missing = "Prefect does not have the deployment canary/canary"
    stack.until(rollout, lambda view: missing in (view["no_driver"] or ""), seconds=60)
    driven = stack.until(rollout, lambda view: view["phase"] == "running", seconds=240)
    assert driven["no_driver"] is None
    eventually(lambda: {each["name"] for each in deployments(stack)} == names, seconds=120)  # made one after another
    passes(stack, "prefect deployments")
    end(stack, rollout)


def test_a_work_pool_that_starts_no_run_is_said(stack: Stack) -> None:
    prefect(stack, "PATCH", "/work_pools/sluice", {"is_paused": True})
    assert check(stack, "prefect work pool")["status"] == "fail"
    rollout = start(stack)
    stack.until(rollout, lambda view: "Prefect does not start its run" in (view["no_driver"] or ""))
    prefect(stack, "PATCH", "/work_pools/sluice", {"is_paused": False})
    stack.until(rollout, lambda view: view["phase"] == "running" and view["no_driver"] is None)
    passes(stack, "prefect work pool")
    end(stack, rollout)


def test_a_prefect_that_hangs_is_said_and_no_abort_waits_for_it(stack: Stack) -> None:
    server = psutil.Process(stack.pid("prefect"))
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        rollout = start(stack)
        stack.until(rollout, lambda view: "Prefect does not answer" in (view["no_driver"] or ""))
        stack.run("rollout", "abort", rollout)
        ended = stack.until(rollout, lambda view: view["ending"] == "aborted" and view["observed"], seconds=30)
        assert ended["weight"] == 0
        assert "no driver is at work" in stack.run("explain", rollout).stdout, "MLflow is not told yet, and why"
    finally:
        for process in family:
            process.resume()
    stack.until(rollout, lambda view: view["settled"] and view["no_driver"] is None)
