"""How many gateways there are, what they are called, and what is seen of all of them together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sluicegate.registry.words.sight import Blindness, Sight, combined_sight
from sluicegate.services.host.installation import Site, envoy_of, gateway_names, is_gateway
from sluicegate.services.host.machine import port_owners
from sluicegate.services.traffic.envoy.gateway_stats import added

AT = datetime(2026, 11, 30, tzinfo=UTC)


def test_the_first_gateway_keeps_its_name_folder_and_port() -> None:
    assert gateway_names(3) == ("gateway", "gateway-2", "gateway-3")
    assert [envoy_of(each) for each in gateway_names(2)] == ["envoy", "envoy-2"]
    assert dict(port_owners(2)) == {
        "mlflow": "mlflow", "prefect": "prefect", "gateway": "envoy", "gateway-2": "envoy-2", "console": "console",
    }  # fmt: skip
    assert [is_gateway(each) for each in ("gateway", "gateway-2", "gateway-x", "gateways", "console")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_site_names_each_gateway() -> None:
    site = Site(state="/s", ports={"mlflow": 1, "prefect": 2, "gateway": 3, "gateway-2": 4, "console": 5})
    assert site.gateways() == {"gateway": 3, "gateway-2": 4}
    assert site.urls()["gateway-2"] == "http://127.0.0.1:4"


def test_one_blind_gateway_makes_all_blind() -> None:
    blind = Sight(served=10, uncounted=9, blind=Blindness(since=AT, reason="its log is unread"))
    later = Sight(blind=Blindness(since=AT + timedelta(seconds=9), reason="it does not answer"))
    well = Sight(served=100)
    assert combined_sight({"gateway": blind}) == blind
    both = combined_sight({"gateway": well, "gateway-2": blind, "gateway-3": later})
    assert (both.served, both.uncounted) == (110, 9)
    assert both.blind == Blindness(since=AT, reason="gateway-2: its log is unread; gateway-3: it does not answer")
    assert combined_sight({"gateway": well, "gateway-2": well}) == Sight(served=200)


def test_figures_of_several_gateways_are_added_and_the_youngest_ones_uptime_is_told() -> None:
    figures = [{"answers.2xx": 5.0, "uptime_seconds": 90.0}, {"answers.2xx": 7.0, "uptime_seconds": 3.0}]
    assert added(figures) == {"answers.2xx": 12.0, "uptime_seconds": 3.0}
