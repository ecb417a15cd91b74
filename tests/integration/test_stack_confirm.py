"""Labels that come after the promotion, on the whole stack: late harm takes the build back by itself, alias and all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from sluicegate.services.client import Client
from tests import plain_http
from tests.integration.stack_rig import MODEL, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s}
metrics:
  errors: {source: status}
  repaid: {source: outcome, outcome: repaid, score: outcome, worse: lower, range: [0, 1], matures_after: 2s}
gates:
  - {metric: errors, alpha: 0.01, below: 20%}
steps:
  - {weight: 50, min_requests: 20}
confirm: {metric: repaid, margin: 5%, holdout: 30, max_time: 10m}
expect: {requests_per_day: 100000}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=PLAN) as running:
        yield running


def lend(client: Client, units: Iterator[int], many: int) -> set[str]:
    """Requests and their labels: whoever the new build serves does not repay. Who answered."""
    builds = set()
    for _ in range(many):
        answer = client.predict(MODEL, [{"a": 1.9, "b": 0.5}], unit=f"u-{next(units)}")
        builds.add(answer.build)
        client.feedback(answer[0].id, "repaid", value=int(answer.build == "1"))
    client.flush()
    return builds


def test_late_harm_after_a_promotion_rolls_back_by_itself(stack: Stack) -> None:
    known, units = stack.clients(), count()
    name = stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"]
    with Client(known["SLUICE_GATEWAY"], known["SLUICE_TOKEN"], console=known["SLUICE_API"], timeout=30) as client:
        while stack.ask("rollout", "show", name)["phase"] not in ("confirming", "ended"):
            for _ in range(50):
                client.predict(MODEL, [{"a": 1.9, "b": 0.5}], unit=f"u-{next(units)}")
        view = stack.ask("rollout", "show", name)
        assert (view["phase"], view["confirmation"], view["weight"]) == ("confirming", "confirming", 70), view
        stack.until(name, lambda view: view["settled"] and view["observed"])
        assert {row["build"]: row["desired"] for row in stack.ask("overview")} == {"1": 30, "2": 70}
        assert alias(stack) == "2"
        assert lend(client, units, 40) == {"1", "2"}
        while (view := stack.ask("rollout", "show", name))["phase"] == "confirming":
            lend(client, units, 100)
        assert (view["ending"], view["weight"]) == ("aborted", 0)
        assert view["reason"].startswith("taken back after the promotion: repaid failed: repaid is")
        stack.until(name, lambda view: view["settled"] and view["observed"])
        assert lend(client, units, 30) == {"1"}
    assert alias(stack) == "1"
    assert "taken back after the promotion" in stack.run("report", name).stdout


def alias(stack: Stack) -> str:
    """The version that MLflow calls champion."""
    known = stack.clients()
    auth = (known["MLFLOW_TRACKING_USERNAME"], known["MLFLOW_TRACKING_PASSWORD"])
    path = "/api/2.0/mlflow/registered-models/alias"
    answer = plain_http.get(
        known["MLFLOW_TRACKING_URI"] + path, params={"name": MODEL, "alias": "champion"}, auth=auth, timeout=30,
    )  # fmt: skip
    return str(answer.raise_for_status().json()["model_version"]["version"])
