"""A shadow from start to end on the whole stack: compared on copies, ended by itself, handed over to a canary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600)]
PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s}
metrics:
  errors: {source: status}
  moved: {source: disagreement, prediction: {column: probability}}
gates:
  - {metric: errors, alpha: 0.02, below: 8%}
shadow:
  sample: 50
  max_time: 10m
  slices: [x-user-id]
  gates:
    - {metric: moved, below: 5%, alpha: 0.02}
  guardrails:
    - {metric: errors, alpha: 0.01}
  then: canary
steps:
  - {weight: 20, min_requests: 60}
expect: {requests_per_day: 100000}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        plan = running.state / "shadow.yaml"
        plan.write_text(PLAN)
        running.run("apply", "-f", str(plan))
        yield running


def test_an_equal_candidate_is_compared_unseen_and_then_rolled_out(stack: Stack) -> None:
    version = stack.register()
    with Load(stack.urls()["gateway"]).running() as load:
        shadow = stack.ask("rollout", "start", MODEL, "--build", version, "--strategy", "shadow")["id"]
        ended = stack.until(shadow, lambda view: view["ending"])
        served = set(load.builds)
        settled = stack.until(shadow, lambda view: view["settled"])
        follower = stack.until(MODEL, lambda view: view["cause"] == f"shadow:{shadow}")
        stack.until(follower["id"], lambda view: view["ending"] or view["phase"] == "baking")
    assert (ended["ending"], load.failed) == ("concluded", 0)
    assert served == {"1"}
    told = stack.ask("shadow", "show", shadow)
    assert told["coverage"]["pairs"]["agree"] >= 50
    assert "differ" not in told["coverage"]["pairs"]
    assert told["columns"][0]["kind"] == "number"
    assert settled["strategy"] == "shadow"


def test_a_failing_candidate_is_refused_unseen(stack: Stack) -> None:
    version = stack.register(failing=0.4)
    with Load(stack.urls()["gateway"]).running() as load:
        shadow = stack.ask("rollout", "start", MODEL, "--build", version, "--strategy", "shadow")["id"]
        ended = stack.until(shadow, lambda view: view["ending"])
    assert (ended["ending"], load.failed) == ("aborted", 0)
    assert version not in load.builds
    assert "errors" in ended["reason"]
