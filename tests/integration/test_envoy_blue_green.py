"""A switch of all requests and back through a real Envoy, under load, also while the candidate is dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.rollout.standing import standings
from sluicegate.services.client import Client
from sluicegate.services.telemetry.tally.exposure import Exposure, expose
from sluicegate.services.traffic.routes import routes
from tests import giving as orders
from tests.acceptance.test_blue_green import GATED, Switch
from tests.integration.traffic_load import load
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


class Served(Switch):
    """The ledger's routes in a real gateway."""

    def __init__(self, envoy: Gateway, services: dict[str, Upstream]) -> None:
        super().__init__(GATED, errors=0.0)
        self.envoy, self.ends = envoy, {each.endpoint.build: (each.endpoint,) for each in services.values()}

    def follows(self) -> None:
        """The gateway comes to serve what the ledger asks for."""
        table = routes(standings(self.ledger.rollouts()), self.ends)
        self.envoy.plane.apply(table, self.ends)
        eventually(lambda: self.envoy.plane.observe() == table.version)
        if not self.rollout.is_ended:
            self.serves()


def on_trial(envoy: Gateway) -> list[Exposure]:
    found = (expose(line, 300) for line in envoy.lines(1))
    return [each for each in found if each is not None and each.is_judged]


def test_nobody_fails_at_the_switch_nor_at_the_switch_back_nor_while_the_candidate_is_dead(
    envoy: Gateway, services: dict[str, Upstream]
) -> None:
    given = Served(envoy, services)
    given.follows()
    with load(envoy.plane.url, http2=False) as seen:
        eventually(lambda: seen.builds.get("1", 0) > 300)
        assert set(seen.builds) == {"1"}
        with Client(envoy.plane.url) as client:
            assert client.predict("delays", [{"a": 1}], variation="default/preview").build == "2"
        given.ticks()
        given.follows()
        asked = seen.builds["1"]
        eventually(lambda: seen.builds.get("2", 0) > 300)
        at_switch = seen.builds["1"] - asked
        assert at_switch <= 8, "what was under way, and no more"
        services["2"].kill()
        eventually(lambda: seen.builds["1"] > asked + at_switch + 300)
        orders.abort(given.ledger, given.name, actor="ada", reason="it is dead", now=given.now)
        given.follows()
        eventually(lambda: seen.builds["1"] > asked + at_switch + 600)
    assert given.rollout.ending is Ending.ABORTED
    assert (seen.failed, seen.errors) == (0, [])
    counted = eventually(lambda: [each for each in on_trial(envoy) if each.is_error])
    assert len(counted) >= 290, "what stable answered for it counts against the candidate"
    assert {(each.arm, each.weight, each.served) for each in counted} == {("candidate", 10_000, "1")}


def test_the_preview_is_a_path_of_its_own_and_tells_what_answered(
    envoy: Gateway, services: dict[str, Upstream]
) -> None:
    given = Served(envoy, services)
    given.follows()
    with envoy.client() as client:
        answer = client.post("/delays/variations/default/preview/predict", json={}, headers={"x-user-id": "u"})
        told = {name: value for name, value in answer.headers.items() if name.startswith("x-sluice-")}
        assert told == {"x-sluice-build": "2", "x-sluice-variation": "default", "x-sluice-reason": "name"}
        assert client.post("/delays/variations/default/predict", json={}).status_code == 403
        services["2"].mode("fail")
        failed = client.post("/delays/variations/default/preview/predict", json={})
        assert failed.status_code >= 500, "nobody stands in for it"
        assert not on_trial(envoy)
        orders.abort(given.ledger, given.name, actor="ada", reason="no", now=given.now)
        given.follows()
        gone = client.post("/delays/variations/default/preview/predict", json={})
        assert gone.status_code == 404
