"""Two gateways on a whole stack: one is stopped in mid-ramp, one is killed, and every request is counted once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        running.run("up", "--gateways", "2")
        yield running


def until(question: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not question():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)


def gateways(stack: Stack) -> dict[str, str]:
    return {each["name"]: each["confirmation"] for each in stack.ask("status", code=None)["gateways"]}


def test_a_gateway_that_hangs_in_mid_ramp_holds_up_no_abort_at_the_other(stack: Stack) -> None:
    """`up` has added a gateway to a stack that serves: both serve the stable build."""
    urls = stack.urls()
    loads = {name: Load(urls[name]) for name in ("gateway", "gateway-2")}
    assert {load.ask("u", 1.5)[1].get("x-sluice-build") for load in loads.values()} == {"1"}
    rollout = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
    stack.until(rollout, lambda view: view["weight"] == 20 and view["observed"])
    stack.run("rollout", "pause", rollout, "--reason", "on a slow machine it must not be promoted before the abort")
    with contextlib.ExitStack() as under_load:
        for load in loads.values():
            under_load.enter_context(load.running(2))
        until(lambda: all(load.builds["2"] for load in loads.values()))
        hung = psutil.Process(stack.pid("envoy-2"))
        hung.suspend()
        try:
            until(lambda: gateways(stack)["gateway-2"] == "silent")
            stack.run("rollout", "abort", rollout, "--reason", "one gateway hangs", code=None, seconds=60)
            asked = [f"after-{number}" for number in range(60)]
            until(lambda: {loads["gateway"].ask(unit, 1.5)[1].get("x-sluice-build") for unit in asked} == {"1"}, 30)
            view = stack.ask("rollout", "show", rollout)
            assert not view["observed"], "one of them may still send requests to the candidate"
            assert "gateway-2 is silent" in stack.run("status", code=1).stdout
            assert "gateway-2 is silent" in stack.run("doctor", code=1).stdout
        finally:
            hung.resume()
            stack.run("rollout", "abort", rollout, code=None)  # the test may be run again
        until(lambda: set(gateways(stack).values()) == {"confirmed"})
        until(lambda: {loads["gateway-2"].ask(unit, 1.5)[1].get("x-sluice-build") for unit in asked} == {"1"}, 30)
        killed = psutil.Process(stack.pid("envoy"))
        killed.kill()  # the supervisor starts it again, with the routes that it had
        until(lambda: {loads["gateway"].ask(unit, 1.5)[1].get("x-sluice-build") for unit in asked} == {"1"})
    lost = loads["gateway-2"].errors
    assert all("timed out" in each for each in lost), "its callers waited for it, some for longer than they like"
    until(lambda: set(gateways(stack).values()) == {"confirmed"})
