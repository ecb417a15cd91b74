"""`sluice cluster conform` on a real installation: it says what held, what did not, and leaves nothing behind."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.stack_rig import Stack, fresh_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with fresh_stack() as stack:
        yield stack


def conform(stack: Stack, code: int, seconds: float) -> dict[str, dict[str, object]]:
    done = stack.run("cluster", "conform", "--timeout", f"{seconds:g}", "--output", "json", code=code)
    return {each["check"]: each for each in json.loads(done.stdout)}


def is_empty(stack: Stack) -> bool:
    rollouts = stack.ask("rollout", "list")
    services = [each for each in stack.ask("status", code=None)["programs"] if "conformance" in each["name"]]
    return all(each["ending"] for each in rollouts) and not services


def test_an_installation_that_works_holds_and_nothing_is_left(stack: Stack) -> None:
    checks = conform(stack, 0, 300)
    print(json.dumps(checks, indent=1))
    assert len(checks) == 7
    assert all(each["held"] for each in checks.values())
    until = time.monotonic() + 60
    while not is_empty(stack):
        assert time.monotonic() < until, "a service of it still runs"
        time.sleep(0.5)


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
    assert not checks["goes on"]["held"]
