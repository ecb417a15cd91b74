"""The keeper's view of all gateways: whatever becomes of the relay, they get their routes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import TimedOut
from sluicegate.services.traffic.table import RouteTable

BUILD = BuildRef(model="m", version="1")
ENDPOINTS = {BUILD: (Endpoint(build=BUILD, host="127.0.0.1", port=1),)}


class Rig:
    """A plane whose relay and gateways write down what they are called for."""

    def __init__(self) -> None:
        self.calls = list[str]()
        self.hangs = False
        runtime = SimpleNamespace(
            ledger=None, clock=None, site=None, envoys={}, cluster_gateways=None, relay=lambda _: self,
            joined=tuple, planes=lambda known: known,
        )  # fmt: skip
        self.plane = GatewayPlane(cast("Any", runtime), lambda: None)
        self.plane.gateways = cast("Any", SimpleNamespace(apply=lambda *_: self.calls.append("gateways")))

    def publish(self, *_: object) -> None:
        self.calls.append("relay")
        if self.hangs:
            raise TimedOut("the relay did not answer")

    def apply(self) -> list[str]:
        self.calls.clear()
        self.plane.apply(RouteTable(), ENDPOINTS)
        return self.calls


def test_gateways_that_have_joined_reach_a_service_before_a_route_leads_there() -> None:
    rig = Rig()
    assert rig.apply() == ["relay", "gateways"]
    assert rig.apply() == ["gateways"], "nothing has changed for the relay"


def test_a_relay_that_hangs_keeps_no_route_from_the_gateways_and_delays_them_once() -> None:
    rig = Rig()
    rig.hangs = True
    for order in (["relay", "gateways"], ["gateways", "relay"], ["gateways", "relay"]):
        with pytest.raises(TimedOut):
            rig.apply()
        assert rig.calls == order
    rig.hangs = False
    assert rig.apply() == ["gateways", "relay"]
    assert rig.apply() == ["gateways"]
