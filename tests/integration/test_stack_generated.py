"""A service without callers, on the whole stack: generated requests alone find a broken candidate, and end."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests import plain_http
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack
from tests.integration.traffic_rig import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s, capture: {features: full, share: 100%}}
metrics:
  errors: {source: status}
gates:
  - {metric: errors, alpha: 0.02, below: 8%}
generate: {rate: 50/s}
steps:
  - {weight: 20, soak: 1h}
expect: {requests_per_day: 100000}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=PLAN) as running:
        yield running


def programs(stack: Stack) -> set[str]:
    return {each["name"] for each in stack.ask("status", code=None)["programs"]}


def captures(stack: Stack) -> int:
    file = stack.state / "captures.jsonl"
    stack.run("captures", "export", MODEL, "--to", str(file), code=None)
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_broken_candidate_that_no_caller_meets_is_taken_back(stack: Stack) -> None:
    known = stack.clients()
    load = Load(known["SLUICE_GATEWAY"])
    for number in range(100):
        assert load.ask(f"u{number}", 1 + number / 100)[0] == 200
    eventually(lambda: captures(stack) == 100)
    assert "generator" not in programs(stack)

    name = stack.ask("rollout", "start", MODEL, "--build", stack.register(failing=0.5))["id"]
    stack.until(name, lambda view: view["weight"] == 20 and "so far" in view["generated"])
    view = stack.until(name, lambda view: view["ending"] is not None and view["settled"])
    assert (view["ending"], view["weight"]) == ("aborted", 0)
    assert view["reason"].startswith("errors failed: ")
    eventually(lambda: "generator" not in programs(stack))
    time.sleep(2)
    sent = stack.ask("rollout", "show", name)["generated"]
    time.sleep(2)
    assert stack.ask("rollout", "show", name)["generated"] == sent, "it went on"
    assert captures(stack) == 100, "what we sent ourselves was captured"

    answer = plain_http.get(
        f"{known['SLUICE_API']}/metrics", headers={"authorization": f"Bearer {known['SLUICE_TOKEN']}"}
    )
    exposed = [line for line in answer.text.splitlines() if line.startswith("sluice_telemetry_total")]
    assert any('what="exposures"' in line and line.endswith(" 100.0") for line in exposed), exposed
