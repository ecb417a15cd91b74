"""Who stands in for a variation's stable: what the terms say, who may say it, and how it is recorded and shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.collector_lines import line
from sluicegate.registry.audience.connections import Connections, StandIn, Terms, Weighted
from sluicegate.registry.orders.connections_record import connections_of, read
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, SetTerms
from sluicegate.registry.words.access_log import End, parse
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import Forbidden, Refused
from sluicegate.registry.words.roles import Role
from sluicegate.services.telemetry.tally.exposure import expose
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import StandsIn, Target
from tests.doubles.ledger import MemoryLedger
from tests.integration.traffic_rig import build, standing
from tests.unit.test_cli_audiences import NOW, Said, ledger, said
from tests.unit.test_variations import put

__all__ = ["ledger", "said"]
PAGE = Path(__file__).parents[2] / "docs/how-to/send-audiences-to-variations.md"
ENDS = {build(version): Endpoint(build=build(version), host="127.0.0.1", port=9) for version in "123"}


def behind(
    stand_in: StandIn, *, weight: int = 0, ny: str = "2", ends: dict[BuildRef, Endpoint] | None = None, main: str = "ny"
) -> dict[str, StandsIn | None]:
    """Who stands in, by build; everybody is sent to `main`, and `default` is the fallback where `main` is not."""
    there = [standing(), replace(standing(stable=ny, candidate="3", weight=weight), variation="ny")]
    fallback = (Weighted(variation="ny"), Weighted(variation="default", weight=2))
    terms = (Terms(variation="default", stand_in=stand_in), Terms(variation="ny", stand_in=stand_in))
    table = routes(there, ENDS if ends is None else ends, {"delays": Connections(
        model="delays", fallback=fallback if main == "ny" else (Weighted(variation="ny"),), terms=terms
    )})  # fmt: skip
    slices = table.model("delays").audiences[-1].slices
    return {part.target.assigned.build: part.target.stands_in for part in slices}


def test_nobody_stands_in_unless_it_is_said_and_never_a_variation_for_itself() -> None:
    ours = StandsIn(variation="default", build="1", on_errors=False)
    assert behind(StandIn.NEVER) == {"1": None, "2": None}
    assert behind(StandIn.UNREACHABLE) == {"1": None, "2": ours}
    assert behind(StandIn.ERRORS) == {"1": None, "2": replace(ours, on_errors=True)}
    assert behind(StandIn.ERRORS, ny="1") == {"1": None}, "the same build could do no better"
    assert behind(StandIn.ERRORS, ends={build("2"): ENDS[build("2")]}) == {"1": None, "2": None}
    assert behind(StandIn.ERRORS, main="default") == {"2": None}, "it is the fallback"


def test_behind_a_candidate_the_fallback_stands_only_where_errors_are_no_answers() -> None:
    assert behind(StandIn.UNREACHABLE, weight=5000)["3"] is None
    assert behind(StandIn.ERRORS, weight=5000)["3"] == StandsIn(variation="default", build="1", on_errors=True)


def test_after_a_promotion_the_former_stable_answers_who_cannot_reach_the_new_one_while_it_is_kept_warm() -> None:
    def target(former: BuildRef | None, ends: dict[BuildRef, Endpoint]) -> Target:
        (part,) = routes([replace(standing(stable="2"), former=former)], ends).model("delays").audiences[-1].slices
        return part.target

    baking = target(build("1"), ENDS)
    assert baking.stands_in == StandsIn(variation="default", build="1", on_errors=False)
    assert baking.fallback is None, "its errors are answers"
    assert target(None, ENDS).stands_in is None
    assert target(build("1"), {build("2"): ENDS[build("2")]}).stands_in is None, "what runs nowhere answers nobody"


def test_approvers_say_who_stands_in_and_the_record_keeps_it() -> None:
    record = MemoryLedger()
    put(record, "1")
    put(record, "2", "b")

    def order(stand_in: StandIn, role: Role = Role.APPROVER, variation: str = "b") -> bool:
        act = SetTerms(model="m", variation=variation, stand_in=stand_in)
        return give(record, Order(act=act, actor="ada", cause="cli", role=role), NOW).changed

    with pytest.raises(Forbidden, match="who answers when m/b cannot"):
        order(StandIn.ERRORS, Role.OPERATOR)
    with pytest.raises(Refused, match="cannot stand in for itself"):
        order(StandIn.ERRORS, variation="default")
    assert [order(StandIn.ERRORS), order(StandIn.ERRORS), order(StandIn.NEVER)] == [True, False, True]
    assert order(StandIn.UNREACHABLE)
    kept = connections_of(record, "m")
    assert kept is not None
    assert kept.terms_of("b").stand_in is StandIn.UNREACHABLE
    document = record.applied("traffic", "m")
    assert document is not None
    older = {**document.body, "terms": [{"variation": "b", "by_name": True}]}
    assert read(older).terms == (Terms(variation="b", by_name=True),)


def test_a_request_that_was_stood_in_for_failed_its_stable_and_its_answer_is_nobody_s() -> None:
    stood_in = parse(line("a", upstream="7", attempts=2, stand_in="default"))
    exposure = expose(stood_in, 60)
    assert exposure is not None
    assert (stood_in.end, stood_in.end.is_failure, exposure.is_answered) == (End.STOOD_IN, True, False)
    passed_over = parse(line("a", upstream="7", attempts=1, stand_in="default"))
    assert passed_over.end is End.STOOD_IN
    failed_too = parse(line("a", upstream="7", attempts=2, status=500, stand_in="default"))
    assert failed_too.end is End.SERVER_ERROR
    with pytest.raises(ValueError, match="stand_in is 3"):
        parse(line("a", stand_in=3))


def test_the_page_shows_what_the_command_prints(ledger, said: Said) -> None:
    printed = said("variation set fraud b --stand-in unreachable")
    assert f"$ sluice variation set fraud b --stand-in unreachable\n{printed}" in PAGE.read_text()
    assert "stood in for" in said("variation list fraud")
