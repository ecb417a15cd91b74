"""A whole stack on a small disk that is filled under load, for real, and freed again. `-s` prints what happened."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.stack_rig import MODEL, PLAN, Load, serving_stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system"),
]
LONG = PLAN.replace("min_requests: 60", "min_requests: 1000000")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    small = Path("/tmp") / f"sluice-disk-{os.getpid()}"  # sockets need a short path
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", small], check=False).returncode:
        small.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        yield small
    finally:
        subprocess.run(["umount", "-l", small], check=True)
        small.rmdir()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Whatever becomes free is taken at once."""
    ballast, stop = disk / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while not stop.is_set():
                try:
                    file.write(b"x" * 4096)
                except OSError:
                    stop.wait(0.005)

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        stop.set()
        filling.join()
        ballast.unlink()


def is_in_force(console: httpx.Client, rollout: str) -> bool:
    try:
        view = console.get(f"/api/v1/rollouts/{rollout}").raise_for_status().json()
    except httpx.HTTPError:
        return False
    return view["ending"] == "aborted" and view["observed"]


def test_an_abort_is_in_force_or_says_that_it_is_not_and_all_goes_on_when_there_is_space_again(disk: Path) -> None:
    with serving_stack(disk, LONG) as stack:
        rollout = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
        stack.until(rollout, lambda view: view["weight"] == 20 and view["observed"])
        clients, gateway = stack.clients(), stack.urls()["gateway"]
        headers = {"authorization": f"Bearer {clients['SLUICE_TOKEN']}"}
        load = Load(gateway)
        with httpx.Client(base_url=clients["SLUICE_API"], headers=headers, timeout=60, trust_env=False) as console:
            with load.running(threads=2):
                with filled(disk):
                    time.sleep(8)
                    answer = console.post(f"/api/v1/rollouts/{rollout}/abort", json={"reason": "the disk is full"})
                    print(f"\nabort on a full disk: {answer.status_code}")
                    assert answer.status_code in (200, 503), answer.text
                    if answer.status_code == 200:
                        until(lambda: builds(load) == {"1"} or not is_in_force(console, rollout), "it says how it is")
                        print(f"on the wire while it is full: {builds(load) == {'1'}}")
                    status = stack.ask("status", code=None)
                    assert {"keeper", "collector", "console"} <= {each["name"] for each in status["programs"]}
                if answer.status_code == 503:
                    answer = console.post(f"/api/v1/rollouts/{rollout}/abort", json={"reason": "once more"})
                    assert answer.status_code == 200, answer.text
                until(lambda: is_in_force(console, rollout), "in force once there is space")
                assert builds(load) == {"1"}
            print(f"{load.failed} of {load.sent} requests failed")
            assert load.failed == 0, load.statuses
            until(lambda: stack.ask("status", code=None)["up"], "every program works")
            until(lambda: unread(console) == 0, "every line that was written is counted")


def unread(console: httpx.Client) -> float:
    lines = console.get("/metrics").text.splitlines()
    return next(float(line.split(" ")[1]) for line in lines if line.startswith("sluice_collector_unread_bytes "))


def builds(load: Load) -> set[str | None]:
    return {load.ask(f"u-{n}", 1.5)[1].get("x-sluice-build") for n in range(60)}


def until(is_true: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.5)
