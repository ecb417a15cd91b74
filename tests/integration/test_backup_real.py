"""Backup of a real stack under load; all is destroyed; what comes back serves as before, its open rollout too."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


def _builds_of_users(stack: Stack) -> dict[str, str]:
    """Which build each of 100 users gets: the routes as callers see them."""
    load = Load(stack.urls()["gateway"])
    answers = {f"u-{n}": load.ask(f"u-{n}", 1.5) for n in range(100)}
    assert Counter(status for status, _ in answers.values()) == {200: 100}
    return {unit: headers["x-sluice-build"] for unit, (_, headers) in answers.items()}


def test_everything_is_destroyed_and_the_open_rollout_goes_on() -> None:
    with serving_stack() as stack, tempfile.TemporaryDirectory(prefix="copy-") as place:
        copy = Path(place) / "copy"
        name = stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"]
        stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        stack.run("rollout", "pause", name, "--reason", "a backup")
        users, services = _builds_of_users(stack), _services(stack)
        with Load(stack.urls()["gateway"]).running(threads=2) as load:
            stack.run("backup", str(copy))
            time.sleep(1)
        assert load.failed == 0, load.statuses
        assert stack.run("restore", str(copy), code=1).stderr.count("still run")

        stack.run("down")
        for path in stack.state.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        stack.run("restore", str(copy))
        assert json.loads((copy / "manifest.json").read_text())["head"] in stack.run("verify").stdout
        stack.up()

        view = stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
        assert view["phase"] == "paused"
        assert (_builds_of_users(stack), _services(stack)) == (users, services)
        with Load(stack.urls()["gateway"]).running(threads=2):
            stack.run("rollout", "resume", name)
            assert stack.until(name, lambda view: view["ending"] is not None, seconds=300)["ending"] == "promoted"


def _services(stack: Stack) -> set[str]:
    return {each["name"] for each in stack.ask("status")["programs"] if each["name"].startswith(f"{MODEL}.v")}
