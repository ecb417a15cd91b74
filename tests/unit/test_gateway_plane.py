"""The keeper's view of all gateways: whatever becomes of the relay, they get their routes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import TimedOut
from sluicegate.registry.words.gateway_report import GatewayReport
from sluicegate.services.traffic.table import RouteTable

BUILD = BuildRef(model="m", version="1")
ENDPOINTS = {BUILD: (Endpoint(build=BUILD, host="127.0.0.1", port=1),)}


class Rig:
    """A plane whose relay and gateways write down what they are called for."""

    def __init__(self) -> None:
        self.calls = list[str]()
        self.boxes = list[Any]()
        self.hangs, self.let_in = False, frozenset[str]()
        runtime = SimpleNamespace(
            ledger=None, clock=None, site=None, envoys={}, cluster_gateways=None, relay=lambda _: self,
            joined=lambda: self.boxes, planes=lambda known: known,
        )  # fmt: skip
        self.plane = GatewayPlane(cast("Any", runtime), lambda: None)
        self.plane.gateways = cast("Any", SimpleNamespace(apply=lambda *_: self.calls.append("gateways")))

    def publish(self, _: object, addresses: frozenset[str], __: object) -> None:
        self.let_in = addresses
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


def test_a_gateway_is_known_at_the_relay_also_if_its_console_is_behind_a_proxy() -> None:
    rig = Rig()
    for report in (
        GatewayReport(address="10.0.0.9", own_address="10.0.0.6"),
        GatewayReport(address="10.0.0.9", own_address=None),
        GatewayReport(address="10.0.0.7", own_address="192.168.0.2"),  # address translation stands between
    ):
        rig.boxes.append(SimpleNamespace(report=lambda report=report: report))
    rig.apply()
    assert rig.let_in == {"10.0.0.9", "10.0.0.6", "10.0.0.7", "192.168.0.2"}


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
