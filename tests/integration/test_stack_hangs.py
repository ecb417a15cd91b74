"""What hangs on a whole stack: servers, our own programs, a supervisor that was killed, an upgrade. `-s`: figures."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack
from tests.stopped import hung

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


def api(stack: Stack) -> httpx.Client:
    clients = stack.clients()
    headers = {"authorization": f"Bearer {clients['SLUICE_TOKEN']}"}
    return httpx.Client(base_url=clients["SLUICE_API"], headers=headers, timeout=20, trust_env=False)


def metric(console: httpx.Client, name: str) -> dict[str, float]:
    lines = console.get("/metrics").text.splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith(name)}


def ramping(stack: Stack) -> str:
    name = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
    stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
    return name


def until_in_force(console: httpx.Client, rollout: str) -> float:
    """Seconds until the data plane reports what was ordered."""
    began = time.monotonic()
    while not console.get(f"/api/v1/rollouts/{rollout}").json()["observed"]:
        assert time.monotonic() - began < 60, "an abort waits for what hangs"
        time.sleep(0.02)
    return time.monotonic() - began


def test_an_abort_waits_for_no_server_that_hangs(stack: Stack) -> None:
    """MLflow, Prefect, its worker and the process supervisor are all stopped in mid-ramp, and stay so."""
    rollout = ramping(stack)
    status = stack.ask("status")
    victims = [each["pid"] for each in status["programs"] if each["name"] in ("mlflow", "prefect", "worker")]
    with api(stack) as console, hung(*victims), hung_alone(status["supervisor"]):
        time.sleep(12)  # every thread of the keeper has met one of them
        began = time.monotonic()
        answer = console.post(f"/api/v1/rollouts/{rollout}/abort", json={"reason": "everything hangs"})
        assert answer.status_code == 200, answer.text
        until_in_force(console, rollout)
        print(f"\nabort with every server hung: in force {time.monotonic() - began:.2f} s after it was sent")
        load = Load(status["urls"]["gateway"])
        builds = {load.ask(f"u-{n}", 1.5)[1].get("x-sluice-build") for n in range(60)}
        assert builds == {"1"}
    stack.until(rollout, lambda view: view["settled"])


@contextmanager
def hung_alone(pid: int) -> Iterator[None]:
    """This process does nothing meanwhile, its children go on."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.parametrize("victims", [("keeper", "console"), ("collector",)], ids=" and ".join)
def test_programs_of_ours_that_hang_are_seen_and_started_anew(stack: Stack, victims: tuple[str, ...]) -> None:
    """The collector hangs as soon as keeper and console are back: neither has seen it beat."""
    pids = {name: stack.pid(name) for name in victims}
    for pid in pids.values():
        psutil.Process(pid).suspend()
    began, silence = time.monotonic(), dict[str, float]()
    while True:
        status = stack.ask("status", code=None)
        now = {each["name"]: each["pid"] for each in status["programs"]}
        assert set(status["silent"]) <= set(victims)
        if not status["silent"] and all(now[name] not in (None, pids[name]) for name in victims):
            break
        assert time.monotonic() - began < 200, "nobody restarts them"
        time.sleep(0.5)
    print(f"\n{' and '.join(victims)} hung: seen, killed and back after {time.monotonic() - began:.0f} s")
    while time.monotonic() - began < 200:
        with api(stack) as console, contextlib.suppress(httpx.HTTPError):
            silence = metric(console, "sluice_silence_seconds")
            if len(silence) == 3 and max(silence.values()) < 20:
                return
        time.sleep(0.5)
    raise AssertionError(f"they are back and do not beat: {silence}")


def test_a_supervisor_that_was_killed_costs_no_request(stack: Stack) -> None:
    before = stack.ask("status")
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        time.sleep(2)
        psutil.Process(before["supervisor"]).kill()
        time.sleep(2)
        began = time.monotonic()
        stack.run("up")
        took = time.monotonic() - began
        time.sleep(2)
    print(f"\nsupervisor killed, then up ({took:.1f} s): {load.failed} of {load.sent} requests failed")
    assert load.failed == 0, (load.statuses, load.errors)
    assert all(psutil.pid_exists(each["pid"]) for each in before["programs"]), "all were adopted"
    assert stack.ask("status")["up"]


def test_an_upgrade_needs_no_down_and_costs_no_request(stack: Stack) -> None:
    """Another Envoy: it takes over from the one that serves, and our own programs are restarted; three times."""
    before = {each["name"]: each["pid"] for each in stack.ask("status")["programs"]}
    with Load(stack.urls()["gateway"]).running(threads=3) as load:
        for _ in range(3):
            binary = stack.state / f"another-envoy-{time.time_ns()}"
            binary.symlink_to(_envoy())
            time.sleep(1)
            stack.env["ENVOY_BIN"] = str(binary)
            stack.run("up")
            time.sleep(2)
    print(f"\nup with another Envoy, three times: {load.failed} of {load.sent} requests failed")
    assert load.failed == 0, (load.statuses, load.errors)
    envoys = [process for process in stack.processes() if process.exe() == str(_envoy())]
    assert [process.cmdline()[0] for process in envoys] == [str(binary)]
    after = {each["name"]: each["pid"] for each in stack.ask("status")["programs"]}
    assert after[f"{MODEL}.v1"] == before[f"{MODEL}.v1"], "stable is left alone"
    assert stack.ask("status")["up"]


def _envoy() -> Path:
    from sluicegate.services.traffic.envoy.plane import find_binary

    return Path(os.path.realpath(find_binary()))
