"""A PostgreSQL that holds the ledger hangs under a whole stack. `-s`: figures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.stack_rig import MODEL, PLAN, Load, Stack
from tests.integration.test_stack_hangs import api, metric
from tests.own_postgres import own_postgres
from tests.stopped import hung

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres, pytest.mark.timeout(600)]


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with own_postgres() as running:
        yield running


@pytest.fixture
def stack(server: tuple[str, int]) -> Iterator[Stack]:
    """A stack whose ledger is there, with a stable build."""
    with tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp") as folder:
        stack = Stack(Path(folder))
        stack.env["SLUICE_LEDGER"] = server[0]
        try:
            stack.up()
            plan = stack.state / "plan.yaml"
            plan.write_text(PLAN)
            stack.register()
            stack.run("apply", "-f", str(plan))
            stack.run("deploy", MODEL, "--build", "1")
            yield stack
        finally:
            stack.run("down", code=None)
            for process in stack.processes():
                process.kill()


def eventually(is_true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def test_while_the_ledger_hangs_callers_are_served_and_everybody_is_told(stack: Stack, server: tuple[str, int]) -> None:
    rollout = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
    stack.run("rollout", "pause", rollout, "--reason", "it must still be there to be aborted when the ledger is back")
    path = f"/api/v1/rollouts/{rollout}"
    ours = {name: stack.pid(name) for name in ("keeper", "collector", "console", "envoy")}
    with Load(stack.urls()["gateway"]).running(threads=2) as load, api(stack) as console:
        console.timeout = httpx.Timeout(60)
        with hung(server[1]):
            answer = console.post(f"{path}/abort", json={"reason": "the ledger hangs"})
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            assert answer.json()["detail"].startswith("nothing was recorded: the ledger")
            told = stack.run("rollout", "abort", rollout, code=6)
            assert "nothing was recorded: the ledger" in told.stderr
            status = stack.ask("status", code=1)
            assert "cannot be used" in status["ledger"]
            ill = {line["check"]: line for line in stack.ask("doctor", code=1) if line["status"] == "fail"}
            waiting = {check for check, line in ill.items() if line["found"].startswith("no answer for")}
            assert {"ledger", "counted"} <= set(ill)
            assert set(ill) - waiting <= {"ledger", "counted", "webhook", "gateway watched"}, (
                "others wait for the ledger at most"
            )
            assert "console" in ill.get("webhook", {"found": "console"})["found"], "MLflow is not blamed"
            assert not any("sluice restore" in line["fix"] for line in ill.values()), "nothing is lost"
            began = time.monotonic()
            page = console.get("/health", headers={"accept": "text/html"})
            print(f"\nHealth came after {time.monotonic() - began:.1f} s")
            assert (page.status_code, "Needs attention" in page.text or "Still being checked" in page.text) == (
                200,
                True,
            )
            assert {metric(console, name)[name] for name in ("sluice_gateway_up", "sluice_ledger_up")} == {0, 1}
            assert metric(console, "sluice_ledger_up") == {"sluice_ledger_up": 0}
        assert {name: stack.pid(name) for name in ours} == ours, "nobody died, nobody was killed"
        eventually(lambda: metric(console, "sluice_ledger_up") == {"sluice_ledger_up": 1}, "the ledger is back")
        eventually(lambda: stack.run("status", code=None).returncode == 0, "all is well")
        facts = [fact["fact"] for fact in stack.ask("rollout", "history", rollout)]
        assert "Aborted" not in facts, "what was not recorded does not happen later"
        assert console.post(f"{path}/abort", json={"reason": "now"}).status_code == 200
        eventually(lambda: console.get(path).json()["observed"], "the abort is in force")
    print(f"\nthe ledger's server hung: {load.failed} of {load.sent} requests failed")
    assert load.failed == 0, (load.statuses, load.errors)
