"""A variation by its name: where it is allowed, what the record says, and how it is asked for and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.audience.connections import Connections, Terms
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, SetTerms
from sluicegate.registry.words.errors import Forbidden, Refused, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.client.asking import question
from sluicegate.services.traffic.envoy.named_routes import named_routes
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import ModelRoute
from tests.doubles.ledger import MemoryLedger
from tests.doubles.plane import by_name
from tests.integration.traffic_rig import build, standing
from tests.unit.test_cli_audiences import NOW, Said, ledger, said
from tests.unit.test_variations import put

__all__ = ["ledger", "said"]
PAGE = Path(__file__).parents[2] / "docs/how-to/send-audiences-to-variations.md"


def route(*terms: Terms, weight: int = 0) -> ModelRoute:
    connections = Connections(model="delays", terms=terms)
    return routes([standing(weight=weight)], {}, {"delays": connections}).model("delays")


def refusals(model: ModelRoute) -> list[str]:
    """What the gateway answers itself, each status and text once."""
    answers = [each["direct_response"] for each in named_routes(model) if "direct_response" in each]
    return list(dict.fromkeys(f"{each['status']}: {each['body']['inline_string']}" for each in answers))


def test_who_asks_by_name_gets_stable_outside_of_any_comparison_also_where_a_candidate_has_everything() -> None:
    opened = route(Terms(variation="default", by_name=True), weight=10_000)
    assert by_name(opened, "default") == build("1")
    (named,) = opened.named
    assert named.target is not None
    assert (named.target.assigned.rollout, named.target.assigned.weight, named.target.fallback) == (None, 0, None)


def test_what_is_not_allowed_or_not_there_says_so_and_what_is() -> None:
    closed, unknown = refusals(route())
    assert "403: callers may not ask for delays/default by name" in closed
    assert "sluice variation set delays default --by-name" in closed
    assert unknown.startswith("404: ")
    assert "no variation may be asked for by name" in unknown
    (unknown,) = refusals(route(Terms(variation="default", by_name=True)))
    assert "variations that may be asked for by name: default" in unknown


def test_terms_are_recorded_once_and_survive_what_is_said_of_audiences() -> None:
    record = MemoryLedger()
    put(record, "1")
    put(record, "2", "b")

    def order(by_name: bool, variation: str = "b", role: Role = Role.OPERATOR) -> bool:
        act = SetTerms(model="m", variation=variation, by_name=by_name)
        return give(record, Order(act=act, actor="ada", cause="cli", role=role), NOW).changed

    assert [order(True), order(True), order(False), order(True)] == [True, False, True, True]
    kept = connections_of(record, "m")
    assert kept is not None
    assert kept.terms == (Terms(variation="b", by_name=True),)
    with pytest.raises(Forbidden):
        order(False, role=Role.VIEWER)
    with pytest.raises(Refused, match="m/c holds no build"):
        order(True, "c")


def test_the_command_says_what_holds_and_the_page_shows_what_it_printed(ledger, said: Said) -> None:
    printed = said("variation set fraud b --by-name")
    assert f"$ sluice variation set fraud b --by-name\n{printed}" in PAGE.read_text()
    listed = said("variation list fraud")
    assert f"$ sluice variation list fraud\n{listed}" in PAGE.read_text()
    with pytest.raises(UsageError, match="name at least one property"):
        said("variation set fraud b")
    said("variation set fraud b --not-by-name")
    assert "by name" not in said("variation list fraud")


def test_the_client_asks_by_name_on_the_path_of_the_variation() -> None:
    asked = question("a b", [{"x": 1}], metadata=None, unit=None, hashed=None, variation="b", params=None)
    assert asked.ask.path == "/a%20b/variations/b/predict"
    plain = question("a b", [{"x": 1}], metadata=None, unit=None, hashed=None, variation=None, params=None)
    assert plain.ask.path == "/a%20b/predict"
