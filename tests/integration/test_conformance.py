"""`sluice cluster conform` on a real installation: it says what held, what did not, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.integration.stack_rig import Stack, fresh_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with fresh_stack() as stack:
        yield stack


@contextmanager
def conforming(stack: Stack, until: str) -> Iterator[subprocess.Popen[str]]:
    """One that has got so far."""
    command = [str(stack.python.with_name("sluice")), "cluster", "conform", "--timeout", "300"]
    with subprocess.Popen(
        command, env=stack.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while until not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            assert "git" not in said.lower(), said
            yield process
        finally:
            process.kill()


def conform(stack: Stack, code: int, seconds: float) -> dict[str, dict[str, object]]:
    done = stack.run("cluster", "conform", "--timeout", f"{seconds:g}", "--output", "json", code=code)
    return {each["check"]: each for each in json.loads(done.stdout)}


def models(stack: Stack) -> list[str]:
    known = stack.clients()
    answer = httpx.get(
        f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/search", params={"max_results": 100},
        auth=(known["MLFLOW_TRACKING_USERNAME"], known["MLFLOW_TRACKING_PASSWORD"]), trust_env=False,
    )  # fmt: skip
    return [each["name"] for each in answer.raise_for_status().json().get("registered_models", ())]


def wait_until_empty(stack: Stack) -> None:
    until = time.monotonic() + 60
    while not is_empty(stack):
        assert time.monotonic() < until, "a service of it still runs"
        time.sleep(0.5)


def is_empty(stack: Stack) -> bool:
    rollouts = stack.ask("rollout", "list")
    services = [each for each in stack.ask("status", code=None)["programs"] if "conformance" in each["name"]]
    return all(each["ending"] for each in rollouts) and not services


def test_an_installation_that_works_holds_and_nothing_is_left(stack: Stack) -> None:
    checks = conform(stack, 0, 300)
    print(json.dumps(checks, indent=1))
    assert len(checks) == 7
    assert all(each["passed"] for each in checks.values())
    wait_until_empty(stack)


@pytest.mark.soak
def test_what_one_that_was_killed_has_left_is_removed_by_the_next_and_named(stack: Stack) -> None:
    with conforming(stack, until="a build is packed and served") as first:
        first.kill()
    assert not is_empty(stack)
    checks = conform(stack, 0, 300)
    print(json.dumps(checks, indent=1))
    left = checks["what an earlier run left is removed"]
    assert (left["passed"], "all of sluicegate-conformance-" in left["result"]) == (True, True)
    wait_until_empty(stack)


@pytest.mark.soak
def test_one_that_is_stopped_removes_what_it_made_and_nothing_of_another(stack: Stack) -> None:
    with conforming(stack, until="a build is packed and served") as one:
        with conforming(stack, until="MLflow takes builds") as two:
            two.terminate()
            assert two.wait(60) == 128 + signal.SIGTERM
        assert one.poll() is None
        assert len(models(stack)) == 1, "the one that goes on is no rest"
        one.terminate()
        one.wait(60)
    assert not models(stack)
    wait_until_empty(stack)


@pytest.mark.soak
def test_one_whose_gateway_hangs_when_the_candidate_gets_requests_does_not_hold(stack: Stack) -> None:
    envoy, over = psutil.Process(stack.pid("envoy")), threading.Event()

    def hang() -> None:
        """Once a candidate answers."""
        while not over.wait(0.2):
            under_way = [each for each in stack.ask("rollout", "list") if each["phase"] == "running"]
            if under_way and under_way[0]["observed"]:
                envoy.suspend()
                return

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        checks = conform(stack, 1, 40)
    finally:
        over.set()
        thread.join()
        envoy.resume()
    print(json.dumps(checks, indent=1))
    assert not checks["goes on"]["passed"]
