"""Only the process that minds a service's workers is killed, with callers about: before a promotion and after it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest

from sluicegate.registry.words.build import BuildRef, service_name
from tests.integration.stack_rig import MODEL, PLAN, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SLOW_END = PLAN.replace("min_requests: 100}", "min_requests: 100, soak: 6s}") + "bake: 45s\n"
"""The keeper has time to see what was killed before the last step may end."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=SLOW_END) as running:
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


def opened(stack: Stack, version: str) -> datetime:
    """When the present process of a service had read its model."""
    path = next(stack.state.glob(f"**/{name_of(version)}/door.json"))
    assert json.loads(path.read_text())["pid"]
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def moment(stack: Stack, name: str, fact: str) -> datetime:
    found = [each["at"] for each in stack.ask("rollout", "history", name) if each["fact"] == fact]
    return datetime.fromisoformat(found[-1])


def start(stack: Stack) -> tuple[str, str]:
    version = stack.register()
    return version, str(stack.ask("rollout", "start", MODEL, "--build", version)["id"])


def gone(workers: list[psutil.Process]) -> None:
    end = time.monotonic() + 60
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers):
        assert time.monotonic() < end, f"workers live on: {workers}"
        time.sleep(0.2)


def test_killed_in_mid_ramp_nobody_is_turned_away(stack: Stack) -> None:
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        version, name = start(stack)
        stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        workers = kill_parent(stack, version)
        stable = kill_parent(stack, stack.ask("rollout", "show", name)["stable"])
        view = stack.until(name, lambda view: view["ending"] is not None, seconds=300)
        gone([*workers, *stable])
    print(f"\nin mid-ramp, candidate and stable: {load.failed} of {load.sent} failed")
    assert load.failed == 0, load.statuses
    assert view["ending"] == "promoted", view


def test_killed_right_before_the_promotion_it_waits_for_a_ready_service_and_nobody_is_turned_away(stack: Stack) -> None:
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        version, name = start(stack)
        stack.until(name, lambda view: view["weight"] == 50 and view["observed"])
        workers = kill_parent(stack, version)
        killed = datetime.now(UTC)
        view = stack.until(name, lambda view: view["phase"] in ("baking", "ended"), seconds=300)
        gone(workers)
        # every worker of what was promoted just now: there is nobody but the former stable, which is kept warm
        for worker in psutil.Process(stack.pid(name_of(version))).children(recursive=True):
            worker.kill()
        view = stack.until(name, lambda view: view["ending"] is not None, seconds=300)
    print(f"\nright before the promotion, and after it: {load.failed} of {load.sent} failed")
    assert view["ending"] == "promoted", view
    assert killed < opened(stack, version)
    assert load.failed == 0, load.statuses


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
