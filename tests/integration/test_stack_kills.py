"""kill -9 of each process in mid-ramp, one at a time: the right outcome each time, and clients see next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


def kill(pid: int) -> None:
    psutil.Process(pid).kill()


def kill_program(name: str) -> Callable[[Stack, dict], None]:
    return lambda stack, view: kill(stack.pid(name))


def kill_flow(stack: Stack, view: dict) -> None:
    worker = psutil.Process(stack.pid("worker"))
    runs = [child for child in worker.children(recursive=True) if child.is_running()]
    assert runs, "no flow run is alive"
    for run in runs:
        run.kill()


def kill_candidate(stack: Stack, view: dict) -> None:
    kill(stack.pid(f"{MODEL}.v{view['candidate']}"))


def kill_worker_and_flow(stack: Stack, view: dict) -> None:
    worker = psutil.Process(stack.pid("worker"))
    for process in [*worker.children(recursive=True), worker]:
        process.kill()


def kill_mlflow_and_prefect(stack: Stack, view: dict) -> None:
    for name in ("mlflow", "prefect"):
        kill(stack.pid(name))


@pytest.mark.parametrize(
    ("victim", "failures"),
    [
        (kill_program("keeper"), 0),
        (kill_flow, 0),
        (kill_worker_and_flow, 0),
        (kill_program("collector"), 0),
        (kill_program("console"), 0),
        (kill_program("envoy"), None),
        (kill_candidate, 0),
        pytest.param(kill_mlflow_and_prefect, 0, marks=pytest.mark.soak),
    ],
    ids=["keeper", "flow", "worker-and-flow", "collector", "console", "envoy", "candidate", "mlflow-and-prefect"],
)
def test_a_rollout_survives(stack: Stack, victim: Callable[[Stack, dict], None], failures: int | None) -> None:
    version = stack.register()
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        name = stack.ask("rollout", "start", MODEL, "--build", version)["id"]
        view = stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        time.sleep(1)
        victim(stack, view)
        view = stack.until(name, lambda view: view["ending"] is not None, seconds=240)
    expected = {"promoted"} if victim is not kill_candidate else {"promoted", "aborted"}
    assert view["ending"] in expected, view
    if failures is not None:
        assert load.failed == failures, load.statuses
    facts = [fact["fact"] for fact in stack.ask("rollout", "history", name)]
    assert facts.count("Promoted") + facts.count("Aborted") == 1
    assert facts.count("StepEntered") <= 2


def test_after_kill_of_the_supervisor_nothing_runs_twice(stack: Stack) -> None:
    supervisor = stack.ask("status")["supervisor"]
    kill(int(supervisor))
    time.sleep(1)
    stack.run("up")
    commands = [" ".join(process.cmdline()) for process in stack.processes()]
    for needle in (
        "sluicegate.flows.wiring.processes keeper",
        "sluicegate.flows.wiring.processes collector",
        "sluicegate.flows.wiring.processes console",
        "envoy -c",
    ):
        assert sum(needle in command for command in commands) == 1, (needle, commands)
    load = Load(stack.urls()["gateway"])
    assert load.ask("u-1", 1.9)[0] == 200


def test_down_leaves_no_process(stack: Stack) -> None:
    stack.run("down")
    assert stack.processes() == []
