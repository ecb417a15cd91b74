"""Doors: which build a trigger points at, and that looking twice orders once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.plan.fields import Trigger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.rollout.triggers import cause, triggered
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable
from sluicegate.services.keeper.catalog_watch import LET_GO, look_at_catalog
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

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


def watched(trigger: dict | None = None, **values: object) -> MemoryLedger:
    """A ledger with a stable build and an applied plan that a trigger belongs to."""
    ledger = MemoryLedger()
    plan = apply(ledger, trigger, **values)
    request = Giver(actor="ada", cause="cli")
    first = orders.deploy(ledger, plan=plan, version="1", request=request, now=NOW).rollout
    for seq, fact in enumerate((Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1")), start=2):
        ledger.append(first.id, seq, fact, NOW)
    orders.complete(ledger, first.id, NOW)
    return ledger


def apply(ledger: MemoryLedger, trigger: dict | None = None, **values: object) -> Plan:
    document = {"model": "m", "steps": [{"weight": 10}], "trigger": trigger or {"alias": "candidate"}} | values
    plan = Plan.model_validate(document)
    applied = Applied(kind="plan", name="m/default", body=plan.document(), digest=plan.digest, actor="ada", at=NOW)
    ledger.apply(applied)
    return plan


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


LATER = NOW + timedelta(minutes=1)
TAG = {"tag": {"deploy": "yes"}}
TAGGED = build("2", tags={"deploy": "yes"})
STAGE = {"stage": "Production"}


def aborted(ledger: MemoryLedger, shelf: Shelf) -> None:
    """Its trigger's version was tried and aborted."""
    (name,) = look_at_catalog(ledger, shelf, NOW)
    orders.abort(ledger, name, actor="ada", reason="no", now=NOW)
    look_at_catalog(ledger, shelf, NOW)


def test_an_aborted_version_is_not_started_again_by_a_changed_plan() -> None:
    ledger, shelf = watched(TAG), Shelf(build("1"), TAGGED)
    aborted(ledger, shelf)
    apply(ledger, TAG, bake="5m")
    assert look_at_catalog(ledger, shelf, LATER) == ()
    apply(ledger, {"tag": {"deploy": "yes"}, "replan": True}, bake="6m")
    assert len(look_at_catalog(ledger, shelf, LATER)) == 1


def test_an_aborted_version_is_not_started_by_a_trigger_that_came_later() -> None:
    ledger, shelf = watched(TAG), Shelf(build("1"), replace(TAGGED, stage="Production"))
    aborted(ledger, shelf)
    apply(ledger, STAGE)
    assert look_at_catalog(ledger, shelf, LATER) == ()


def test_an_aborted_version_is_started_again_once_its_tags_change_and_not_by_our_own() -> None:
    ledger, shelf = watched(TAG), Shelf(build("1"), TAGGED)
    aborted(ledger, shelf)
    shelf.found = (build("1"), build("2", tags={"deploy": "yes", "sluice.ending": "aborted"}))
    assert look_at_catalog(ledger, shelf, LATER) == ()
    shelf.found = (build("1"), build("2", tags={"deploy": "yes", "fixed": "true"}))
    (again,) = look_at_catalog(ledger, shelf, LATER)
    orders.abort(ledger, again, actor="ada", reason="no", now=LATER + timedelta(seconds=1))
    assert look_at_catalog(ledger, shelf, LATER + timedelta(minutes=1)) == ()


def test_an_alias_taken_away_and_given_again_is_a_change() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    aborted(ledger, shelf)
    shelf.found = (build("1"), build("2"))
    assert look_at_catalog(ledger, shelf, LATER) == ()
    shelf.found = (build("1"), CANDIDATE)
    assert len(look_at_catalog(ledger, shelf, LATER)) == 1


def test_a_change_while_it_was_under_way_does_not_start_it_again() -> None:
    ledger, shelf = watched(TAG), Shelf(build("1"), TAGGED)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    shelf.found = (build("1"), build("2", tags={"deploy": "yes", "reviewed": "true"}))
    look_at_catalog(ledger, shelf, LATER)
    orders.abort(ledger, name, actor="ada", reason="no", now=LATER + timedelta(seconds=1))
    assert look_at_catalog(ledger, shelf, LATER + timedelta(seconds=2)) == ()


def test_a_crash_between_seeing_and_ordering_makes_nothing_news_again() -> None:
    ledger, shelf = watched(), Shelf(build("1"))
    look_at_catalog(ledger, shelf, NOW)
    shelf.found = (build("1"), CANDIDATE)
    seen = {key: ledger.recall(key) for key in ["sight:m/default:alias:candidate"]}
    (name,) = look_at_catalog(ledger, shelf, LATER)
    sighting = ledger.recall("sight:m/default:alias:candidate")
    assert sighting is not None
    assert sighting != seen["sight:m/default:alias:candidate"]
    orders.abort(ledger, name, actor="ada", reason="no", now=LATER)
    assert look_at_catalog(ledger, shelf, LATER + timedelta(minutes=1)) == ()


def test_a_version_moved_to_production_carries_the_stages_from_before_the_move() -> None:
    ledger, shelf = watched(STAGE), Shelf(build("1", stage="Production"), build("2", stage="Staging"))
    assert look_at_catalog(ledger, shelf, NOW) == ()
    shelf.found = (build("1", stage="Archived"), build("2", stage="Production"))
    (name,) = look_at_catalog(ledger, shelf, LATER)
    assert ledger.rollout(name).requested.former_stages == {"1": "Production", "2": "Staging"}


@pytest.mark.parametrize(
    ("policy", "expected"), [("abort", Phase.ENDED), ("pause", Phase.PAUSED), ("ignore", Phase.LAUNCHING)]
)
def test_what_follows_when_the_alias_is_taken_away_is_in_the_plan(policy: str, expected: Phase) -> None:
    ledger, shelf = watched(on_withdrawn=policy), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    shelf.found = (build("1", aliases=frozenset({"candidate"})), build("2"))
    look_at_catalog(ledger, shelf, LATER)
    assert ledger.rollout(name).phase is Phase.LAUNCHING, "it might be set again at once"
    look_at_catalog(ledger, shelf, LATER + LET_GO)
    assert ledger.rollout(name).phase is expected
    if policy == "pause":
        orders.resume(ledger, name, actor="ada", reason="I want it", now=LATER + LET_GO)
        look_at_catalog(ledger, shelf, LATER + 3 * LET_GO)
        assert ledger.rollout(name).phase is Phase.LAUNCHING


def test_an_alias_taken_away_and_given_back_at_once_changes_nothing() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    for at in (LATER, LATER + timedelta(hours=1)):
        shelf.found = (build("1"), build("2"))
        assert look_at_catalog(ledger, shelf, at) == ()
        shelf.found = (build("1"), CANDIDATE)
        assert look_at_catalog(ledger, shelf, at + timedelta(seconds=1)) == ()
    assert [each.id for each in ledger.rollouts()][1:] == [name]
    assert ledger.rollout(name).phase is Phase.LAUNCHING


def test_a_rollout_ends_with_its_reason_when_its_version_is_deleted() -> None:
    ledger, shelf = watched(on_withdrawn="ignore"), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    shelf.found = (build("1"),)
    look_at_catalog(ledger, shelf, LATER)
    gone = ledger.rollout(name)
    assert (gone.ending, gone.reason, gone.actor) == (Ending.ABORTED, "m v2 was deleted from MLflow", "mlflow")


def test_a_registry_that_lost_the_whole_model_takes_nothing_back() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    shelf.found = ()
    look_at_catalog(ledger, shelf, LATER)
    assert not ledger.rollout(name).is_ended


def test_an_alias_that_moves_on_to_a_newer_version_is_a_newer_candidate_and_no_withdrawal() -> None:
    ledger, shelf = watched(), Shelf(build("1"), CANDIDATE)
    (name,) = look_at_catalog(ledger, shelf, NOW)
    shelf.found = (build("1"), build("2"), build("3", aliases=frozenset({"candidate"})))
    (newer,) = look_at_catalog(ledger, shelf, LATER)
    assert (ledger.rollout(name).phase, ledger.rollout(newer).phase) == (Phase.LAUNCHING, Phase.QUEUED)


def test_what_a_person_started_by_name_needs_no_trigger() -> None:
    ledger, shelf = watched(), Shelf(build("1"), build("2"))
    plan = apply(ledger)
    request = Giver(actor="ada", cause="cli")
    name = orders.start(ledger, plan=plan, version="2", request=request, now=NOW).rollout.id
    look_at_catalog(ledger, shelf, NOW)
    assert not ledger.rollout(name).is_ended
