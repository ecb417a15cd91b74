"""Blue/green on the whole stack: previewed, approved, switched, judged on everything, promoted or switched back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sluicegate.services.client import Client, NoSuchModel
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack
from tests.integration.test_stack_confirm import alias
from tests.integration.traffic_rig import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PLAN = """\
kind: plan
model: wine
strategy: blue-green
unit: x-user-id
serve: {timeout: 30s}
trigger: {alias: candidate}
metrics:
  errors: {source: status}
gates:
  - {metric: errors, alpha: 0.02, below: 8%}
approval: true
bake: 15s
expect: {requests_per_day: 100000}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=PLAN) as running:
        yield running


@contextmanager
def previewed(stack: Stack, *, failing: float = 0.0) -> Iterator[tuple[str, str, Load]]:
    """A candidate that waits for approval while callers ask; its rollout, its version, and what they saw."""
    version = stack.register(failing=failing)
    name = stack.ask("rollout", "start", MODEL, "--build", version)["id"]
    view = stack.until(name, lambda view: view["needs_person"])
    assert (view["strategy"], view["phase"], view["weight"]) == ("blue-green", "launching", 0)
    assert "requires a person's approval before the switch" in view["waits_for"]
    assert view["preview"] == "/wine/variations/default/preview/predict"
    load = Load(stack.clients()["SLUICE_GATEWAY"])
    try:
        with load.running(threads=2):
            yield name, version, load
    finally:
        if stack.ask("rollout", "show", name)["needs_person"]:  # so that the test can be run again
            stack.run("rollout", "abort", name, "--reason", "the test failed")


def preview(client: Client) -> str | None:
    """The build that answers the preview; None until the gateway knows of it."""
    try:
        return client.predict(MODEL, [{"a": 1.9, "b": 0.5}], variation="default/preview").build
    except NoSuchModel:
        return None


def test_what_is_good_is_promoted_after_the_bake_and_what_is_bad_goes_back_and_no_caller_fails(stack: Stack) -> None:
    known, stable = stack.clients(), alias(stack)
    with previewed(stack) as (name, good, load), Client(known["SLUICE_GATEWAY"], known["SLUICE_TOKEN"]) as client:
        assert eventually(lambda: preview(client)) == good
        stack.run("rollout", "approve", name, "--reason", "the preview is fine")
        stack.until(name, lambda view: view["weight"] == 100 and view["observed"])
        shown = stack.run("rollout", "show", name, "-o", "table").stdout
        assert "BLUE-GREEN RUNNING  step 1/1  weight 100 %" in shown
        assert alias(stack) == stable, "it is on trial, and not trusted"
        view = stack.until(name, lambda view: view["phase"] in ("baking", "ended") and view["settled"])
    assert (view["ending"] or view["phase"]) in ("promoted", "baking"), view
    assert alias(stack) == good
    assert set(load.builds) == {stable, good}
    assert (load.failed, load.errors) == (0, [])

    with previewed(stack, failing=0.3) as (name, _, load):
        stack.run("rollout", "approve", name, "--reason", "it looked fine")
        view = stack.until(name, lambda view: view["ending"] is not None and view["settled"])
    assert (view["ending"], view["weight"]) == ("aborted", 0)
    assert "shown not to stay below 8 %" in view["reason"]
    assert alias(stack) == good
    assert (load.failed, load.errors) == (0, [])

    load = Load(stack.clients()["SLUICE_GATEWAY"])
    with load.running(threads=2):
        for replicas, answering in ((2, {f"wine v{good}": {"answering": 2, "of": 2}}), (1, {})):
            stack.run("scale", MODEL, "--replicas", str(replicas), "--reason", "a rush, and its end")
            eventually(lambda seen=answering: stack.ask("status", code=None)["replicas"] == seen, seconds=120)
    assert set(load.builds) == {good}
    assert (load.failed, load.errors) == (0, [])
