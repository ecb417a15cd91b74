"""The keeper hangs in mid-ramp: its candidate gets no requests after 15 s, and again when the keeper is back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest

from tests import plain_http
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


def asked(load: Load) -> set[str | None]:
    return {load.ask(f"u-{number}", 1.5)[1].get("x-sluice-build") for number in range(60)}


def until(what, *, seconds: float = 240) -> float:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_candidate_whose_keeper_hangs_gets_no_requests_until_the_keeper_is_back(stack: Stack) -> None:
    """The other programs kill it after 30 s, and a new one brings its routes back; until then the collector acts."""
    load = Load(stack.urls()["gateway"])
    name = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])
    stack.until(name, lambda view: view["weight"] == 20 and view["observed"])
    stack.run("rollout", "pause", name, "--reason", "its weight stays")
    before = stack.ask("rollout", "show", name)
    assert asked(load) == {"1", "2"}
    pids = {each["name"]: int(each["pid"]) for each in stack.ask("status", code=None)["programs"]}
    stopped = psutil.Process(pids["keeper"])
    known = stack.clients()
    bearer = {"authorization": f"Bearer {known['SLUICE_TOKEN']}"}
    with load.running(threads=2):
        stopped.suspend()
        took = until(lambda: asked(load) == {"1"})
        [said] = stack.ask("status", code=1)["unwatched"]
        assert (said["gateway"], "no keeper has renewed" in said["why"]) == ("gateway", True)
        scrape = plain_http.get(f"{known['SLUICE_API']}/metrics", headers=bearer, timeout=30).text
        assert 'sluice_gateway_stable_only{gateway="gateway"} 1.0' in scrape
        back = until(lambda: asked(load) == {"1", "2"})
    print(f"\nstable only after {took:.0f} s, back after {back:.0f} s more: {load.sent} requests, {load.failed} failed")
    assert "no keeper watches" in stack.run("logs", "collector").stdout
    assert (load.failed, load.errors) == (0, [])
    assert stack.ask("status", code=None)["unwatched"] == []
    after = stack.ask("rollout", "show", name)
    assert {key: after[key] for key in ("phase", "weight")} == {key: before[key] for key in ("phase", "weight")}
