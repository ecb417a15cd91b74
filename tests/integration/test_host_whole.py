"""The whole machine by its command: up, doctor, a killed supervisor, down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.keys import load_keys
from sluicegate.services.host.programs.supervising import Supervisor
from tests.integration.host_rig import eventually, is_alive, state_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROGRAMS = {"mlflow", "prefect", "worker", "envoy", "console", "collector", "keeper"}


@pytest.fixture(scope="module")
def folder() -> Iterator[StateFolder]:
    with state_folder() as made:
        yield made


def sluice(folder: StateFolder, *arguments: str, code: int = 0) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder.root),
        "SLUICE_STATE": str(folder.root),
    }
    command = (sys.executable, "-c", "from sluicegate.flows.cli.app import main; main()", *arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def status(folder: StateFolder, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sluice(folder, "status", "-o", "json", code=code))
    return found


def counted(folder: StateFolder) -> dict[str, int]:
    """How many processes each program has that no other process of ours is the parent of."""
    supervisor = Supervisor(folder, load_keys(folder.secrets).state_token)
    groups = supervisor.processes()
    groups.pop("supervisord")
    mine = {name: {each.pid for each in group} for name, group in groups.items()}
    return {name: sum(each.ppid() not in mine[name] for each in group) for name, group in groups.items()}


def test_a_machine_lives_and_dies_as_a_whole(folder: StateFolder) -> None:
    urls = json.loads(sluice(folder, "up", "--timeout", "600", "-o", "json"))["urls"]
    first = status(folder)
    assert first["urls"] == urls
    assert {each["name"] for each in first["programs"]} == PROGRAMS
    assert [each for each in json.loads(sluice(folder, "doctor", "-o", "json")) if each["status"] != "pass"] == []

    sluice(folder, "up")
    assert {each["name"]: each["pid"] for each in status(folder)["programs"]} == {
        each["name"]: each["pid"] for each in first["programs"]
    }

    os.kill(first["supervisor"], signal.SIGKILL)
    eventually(lambda: not is_alive(first["supervisor"]), "its end")
    assert set(status(folder, code=6)["survivors"]) == PROGRAMS
    sluice(folder, "up", "--timeout", "600")
    assert all(is_alive(each["pid"]) for each in first["programs"]), "every program kept its process"
    watched = "each survivor, and who watches it for the new supervisor"
    assert counted(folder) == dict.fromkeys(PROGRAMS, 2), watched
    assert status(folder)["urls"] == urls

    supervisor = Supervisor(folder, load_keys(folder.secrets).state_token)
    pids = [each.pid for group in supervisor.processes().values() for each in group]
    sluice(folder, "down")
    assert not any(is_alive(pid) for pid in pids)
    assert supervisor.processes() == {}
    status(folder, code=6)
