"""Doors: which build a trigger points at, and that looking twice orders once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from registry import orders
from registry.build import Build, BuildRef
from registry.doors import cause, triggered
from registry.errors import CatalogUnavailable
from registry.facts import Packed, Ready
from registry.ledger import Applied
from registry.ledger.memory import MemoryLedger
from registry.orders import Request
from registry.plan import Plan, Trigger
from services.keeper.doors import look_at_catalog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def build(version: str, **fields: object) -> Build:
    return Build(ref=BuildRef(model="m", version=version), source=f"models:/m-{version}", **fields)


@pytest.mark.parametrize(
    ("trigger", "builds", "expected"),
    [
        ({"alias": "candidate"}, [build("1"), build("2", aliases=frozenset({"candidate"}))], "2"),
        ({"alias": "candidate"}, [build("1", aliases=frozenset({"champion"}))], None),
        ({"stage": "Production"}, [build("9", stage="Production"), build("10", stage="Production")], "10"),
        ({"stage": "Production"}, [build("1", stage="Archived")], None),
        ({"tag": {"deploy": "yes"}}, [build("3", tags={"deploy": "yes"}), build("4", tags={"deploy": "no"})], "3"),
        ({"tag": {"deploy": "yes"}}, [], None),
    ],
)
def test_a_trigger_points_at_the_newest_build_that_fits(trigger: dict, builds: list, expected: str | None) -> None:
    found = triggered(Trigger.model_validate(trigger), builds)
    assert (found.ref.version if found else None) == expected


def test_the_cause_names_the_trigger() -> None:
    assert cause(Trigger(alias="candidate")) == "alias:candidate"
    assert cause(Trigger(stage="Production")) == "stage:Production"
    assert cause(Trigger(tag={"deploy": "yes"})) == "tag:deploy=yes"


class Shelf:
    """A catalog in memory that can be away."""

    def __init__(self, *builds: Build) -> None:
        self.found: tuple[Build, ...] = builds
        self.is_away = False

    def builds(self, model: str) -> tuple[Build, ...]:
        if self.is_away:
            raise CatalogUnavailable("MLflow does not answer.")
        return self.found


def watched() -> MemoryLedger:
    """A ledger with a stable build and an applied plan that a trigger belongs to."""
    ledger = MemoryLedger()
    values = {"model": "m", "steps": [{"weight": 10}], "trigger": {"alias": "candidate"}}
    plan = Plan.model_validate(values)
    applied = Applied(kind="plan", name="m/default", body=plan.document(), digest=plan.digest, actor="ada", at=NOW)
    ledger.apply(applied)
    request = Request(actor="ada", cause="cli")
    first = orders.deploy(ledger, plan=plan, version="1", request=request, now=NOW).rollout
    for seq, fact in enumerate((Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1")), start=2):
        ledger.append(first.id, seq, fact, NOW)
    orders.complete(ledger, first.id, NOW)
    return ledger


CANDIDATE = build("2", aliases=frozenset({"candidate"}))


def test_a_new_candidate_is_ordered_once_however_often_it_is_seen() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    assert len(look_at_catalog(ledger, shelf, NOW)) == 1
    assert look_at_catalog(ledger, shelf, NOW) == ()
    assert [r.requested.cause for r in ledger.rollouts()] == ["cli", "alias:candidate"]


def test_an_aborted_candidate_stays_aborted_though_its_alias_stays() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    orders.abort(ledger, name, actor="ada", reason="no", now=NOW)
    assert look_at_catalog(ledger, shelf, NOW) == ()


def test_a_catalog_that_cannot_be_read_is_not_a_change() -> None:
    ledger, shelf = watched(), Shelf(CANDIDATE)
    shelf.is_away = True
    with pytest.raises(CatalogUnavailable):
        look_at_catalog(ledger, shelf, NOW)
    assert len(ledger.rollouts()) == 1


def test_a_candidate_older_than_stable_is_refused_once_and_remembered() -> None:
    ledger = watched()
    shelf = Shelf(build("0", aliases=frozenset({"candidate"})))
    assert look_at_catalog(ledger, shelf, NOW) == ()
    assert "older" in str(ledger.recall("door:m/default"))
