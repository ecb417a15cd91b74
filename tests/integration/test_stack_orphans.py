"""Only the process that minds a service's workers is killed, with callers about: before a promotion and after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from sluicegate.registry.words.build import BuildRef, service_name
from tests.integration.stack_rig import MODEL, PLAN, Load, Stack, serving_stack

RECORDS = "records"
pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]
ASKED = PLAN.replace("min_requests: 100}", "min_requests: 100, approval: true}") + "bake: 1h\n"
"""Whether it is promoted is a person's word, so that the test says when."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=ASKED) as running:
        yield running


def name_of(version: str) -> str:
    return service_name(BuildRef(model=MODEL, version=version))


def kill_parent(stack: Stack, version: str) -> list[psutil.Process]:
    """Kill it alone; the workers that it leaves."""
    parent = psutil.Process(stack.pid(name_of(version)))
    workers = parent.children(recursive=True)
    assert workers
    parent.kill()
    return workers


def successor(stack: Stack, version: str, former: int) -> psutil.Process:
    """The process that follows, as soon as it runs: it is stopped before it has read its model."""
    end = time.monotonic() + 60
    while (pid := recorded(stack, version)) in (former, None):
        assert time.monotonic() < end, "nobody follows"
        time.sleep(0.02)
    process = psutil.Process(pid)
    process.suspend()
    return process


def recorded(stack: Stack, version: str) -> int | None:
    """The pid that a service left when it started last."""
    try:
        return int(json.loads(next(stack.state.glob(f"**/{RECORDS}/{name_of(version)}")).read_text())["pid"])
    except (StopIteration, ValueError):
        return None


def approve(stack: Stack, name: str) -> None:
    stack.run("rollout", "approve", name, "--reason", "it is good")


def start(stack: Stack) -> tuple[str, str]:
    version = stack.register()
    return version, str(stack.ask("rollout", "start", MODEL, "--build", version)["id"])


def gone(workers: list[psutil.Process]) -> None:
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers))


def until(is_so: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def test_killed_in_mid_ramp_nobody_is_turned_away(stack: Stack) -> None:
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        version, name = start(stack)
        view = stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        workers = [*kill_parent(stack, version), *kill_parent(stack, view["stable"])]
        stack.until(name, lambda view: view["weight"] == 50 and view["observed"], seconds=300)
        gone(workers)
    print(f"\nin mid-ramp, candidate and stable: {load.failed} of {load.sent} failed")
    assert load.failed == 0, load.statuses
    stack.run("rollout", "abort", name, "--reason", "the next test")


def test_an_abort_finds_a_stable_whose_process_was_killed_just_then(stack: Stack) -> None:
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        version, name = start(stack)
        view = stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        workers = [*kill_parent(stack, view["stable"]), *kill_parent(stack, version)]
        stack.run("rollout", "abort", name, "--reason", "enough")
        stack.until(name, lambda view: view["ending"] == "aborted" and view["observed"], seconds=60)
        gone(workers)
    print(f"\nan abort while both were killed: {load.failed} of {load.sent} failed")
    assert load.failed == 0, load.statuses


def test_right_before_the_promotion_it_waits_and_after_it_the_former_stable_answers(stack: Stack) -> None:
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        version, name = start(stack)
        view = stack.until(name, lambda view: view["needs_person"] and view["weight"] == 50, seconds=300)
        pid = stack.pid(name_of(version))
        workers = kill_parent(stack, version)
        follows = successor(stack, version, pid)
        try:
            approve(stack, name)
            waits = f"the candidate v{version} has no service that is ready"
            stack.until(name, lambda view: waits in (view["waits_for"] or ""))
            time.sleep(5)  # a driver ticks every second
            held = stack.ask("rollout", "show", name)
            assert (held["phase"], held["weight"]) == ("running", 50), held
            assert all(each.is_running() for each in workers), "they answer until somebody else does"
        finally:
            follows.resume()
        stack.until(name, lambda view: view["phase"] == "baking" and view["observed"], seconds=300)
        gone(workers)
        until(lambda: load.ask("u", 1.5)[1].get("x-sluice-build") == version)
        for worker in psutil.Process(stack.pid(name_of(version))).children(recursive=True):
            worker.kill()  # every one: there is nobody but the former stable, which is kept warm
        until(lambda: load.ask("u", 1.5)[1].get("x-sluice-build") == view["stable"])
        until(lambda: load.ask("u", 1.5)[1].get("x-sluice-build") == version)
    print(f"\nright before the promotion, and after it: {load.failed} of {load.sent} failed")
    assert load.failed == 0, load.statuses
