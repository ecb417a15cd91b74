"""Settle: what MLflow is told at each ending, over the catalog in memory; never about a newer candidate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sluicegate.flows.stages.settle import settle
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable
from tests import giving as orders
from tests.doubles.catalog import MemoryCatalog
from tests.doubles.ledger import MemoryLedger
from tests.experiment_lab import PLAN, Lab
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")


class Shop:
    """A catalog with three versions and a rollout of the second under way."""

    def __init__(self, trigger: dict | None = None) -> None:
        self.catalog, self.ledger = MemoryCatalog(), MemoryLedger()
        for _ in range(3):
            self.catalog.register("m")
        values = {"model": "m", "steps": [{"weight": 10}], "trigger": trigger or {"alias": "candidate"}}
        self.plan = Plan.model_validate(values)
        first = orders.deploy(self.ledger, plan=self.plan, version="1", request=WHO, now=NOW).rollout
        self._launch(first.id)
        self.first = orders.complete(self.ledger, first.id, NOW)
        second = orders.start(self.ledger, plan=self.plan, version="2", request=WHO, now=NOW).rollout
        self._launch(second.id)
        seq = self.ledger.rollout(second.id).seq + 1
        entered = StepEntered(step=0, weight=1000, actor="policy", reason="ready")
        self.second = self.ledger.append(second.id, seq, entered, NOW)

    def _launch(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
            rollout = self.ledger.rollout(name)
            if isinstance(fact, Ready):
                fact = replace(fact, version=rollout.requested.version)
            self.ledger.append(name, rollout.seq + 1, fact, NOW)

    def aliases(self, version: str) -> set[str]:
        return set(self.catalog.build(ref(version)).aliases)

    def promoted(self) -> Rollout:
        return orders.promote(self.ledger, self.second.id, actor="ada", reason="sure", now=NOW)

    def aborted(self) -> Rollout:
        return orders.abort(self.ledger, self.second.id, actor="ada", reason="no", now=NOW)


def ref(version: str) -> BuildRef:
    return BuildRef(model="m", version=version)


def test_a_comparison_that_ends_moves_neither_alias_nor_stage() -> None:
    lab, catalog = Lab(plan=TRIGGERED).begins(), MemoryCatalog()
    for _ in range(3):
        catalog.register("m")
    for alias in ("champion-b", "candidate"):
        catalog.set_alias(ref("2"), alias)
    orders.abort(lab.ledger, lab.comparison("b").id, actor="ada", reason="no", now=NOW)
    settle(catalog, lab.comparison("b"), "champion")
    assert set(catalog.build(ref("2")).aliases) == {"champion-b", "candidate"}
    assert catalog.build(ref("2")).tags["sluice.ending"] == "aborted"


TRIGGERED = Plan.model_validate(PLAN | {"trigger": {"alias": "candidate"}})


def test_a_first_build_becomes_the_champion() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    assert shop.aliases("1") == {"champion"}
    assert shop.catalog.build(ref("1")).tags["sluice.ending"] == "established"


def test_a_promotion_moves_the_champion_and_takes_the_triggers_alias_away() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    shop.catalog.set_alias(ref("2"), "candidate")
    changes = settle(shop.catalog, shop.promoted(), "champion")
    assert (shop.aliases("1"), shop.aliases("2")) == (set(), {"champion"})
    assert "alias candidate removed" in changes
    assert settle(shop.catalog, shop.ledger.rollout(shop.second.id), "champion")[0] == "alias champion -> v2"


def test_an_alias_that_has_moved_on_to_a_newer_candidate_is_left_alone() -> None:
    shop = Shop()
    shop.catalog.set_alias(ref("2"), "candidate")

    class Moving:
        """The catalog, in which somebody moves the alias while we write."""

        def __getattr__(self, name: str) -> object:
            return getattr(shop.catalog, name)

        def set_alias(self, build: BuildRef, alias: str) -> None:
            shop.catalog.set_alias(build, alias)
            shop.catalog.set_alias(ref("3"), "candidate")

    settle(Moving(), shop.promoted(), "champion")
    assert shop.aliases("3") == {"candidate"}


def test_an_abort_leaves_the_champion_and_says_why_on_the_version() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    shop.catalog.set_alias(ref("2"), "candidate")
    settle(shop.catalog, shop.aborted(), "champion")
    assert (shop.aliases("1"), shop.aliases("2")) == ({"champion"}, set())
    tags = shop.catalog.build(ref("2")).tags
    assert (tags["sluice.ending"], tags["sluice.reason"], tags["sluice.actor"]) == ("aborted", "no", "ada")


def test_a_rollout_that_was_aborted_in_the_queue_tells_its_version_and_touches_no_other() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    shop.catalog.set_alias(ref("3"), "candidate")
    queued = orders.start(shop.ledger, plan=shop.plan, version="3", request=WHO, now=NOW).rollout
    assert queued.phase is Phase.QUEUED
    gone = orders.abort(shop.ledger, queued.id, actor="ada", reason="not this one", now=NOW)
    changes = settle(shop.catalog, gone, "champion")
    assert "alias candidate removed" in changes
    assert [shop.aliases(version) for version in ("1", "2", "3")] == [{"champion"}, set(), set()]
    told = shop.catalog.build(ref("3")).tags
    assert {key: told[f"sluice.{key}"] for key in ("rollout", "ending", "reason", "actor")} == {
        "rollout": gone.id, "ending": "aborted", "reason": "not this one", "actor": "ada",
    }  # fmt: skip
    assert not shop.catalog.build(ref("2")).tags, "the one under way is told nothing"
    assert not shop.ledger.rollout(shop.second.id).is_ended


def test_a_version_that_waited_for_its_stage_in_the_queue_gets_its_former_one_back() -> None:
    shop = Shop({"stage": "Production"})
    shop.catalog.transition_stage(ref("1"), "Production", archive_existing=False)
    shop.catalog.transition_stage(ref("3"), "Production", archive_existing=True)
    seen = Sighting(version="3", former={"1": "Production", "3": "Staging"})
    asked = Giver(actor="mlflow", cause="stage:Production", by_name=False, sighting=seen)
    queued = orders.start(shop.ledger, plan=shop.plan, version="3", request=asked, now=NOW).rollout
    settle(shop.catalog, orders.abort(shop.ledger, queued.id, actor="ada", reason="no", now=NOW), "champion")
    assert {v: shop.catalog.build(ref(v)).stage for v in ("1", "2", "3")} == {
        "1": "Production", "2": "None", "3": "Staging",
    }  # fmt: skip


def test_an_abort_while_baking_gives_the_champion_back() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    settle(shop.catalog, shop.promoted(), "champion")
    aborted = shop.aborted()
    assert not aborted.settled
    settle(shop.catalog, aborted, "champion")
    assert (shop.aliases("1"), shop.aliases("2")) == ({"champion"}, set())


def test_with_stages_the_earlier_version_is_archived() -> None:
    shop = Shop({"stage": "Production"})
    shop.catalog.transition_stage(ref("1"), "Production", archive_existing=False)
    settle(shop.catalog, shop.promoted(), "champion")
    stages = {build.ref.version: build.stage for build in shop.catalog.builds("m")}
    assert stages == {"1": "Archived", "2": "Production", "3": "None"}


def moved_to_production(*, archive: bool) -> Shop:
    """Somebody moved version 2 from Staging to Production, and a rollout of it is under way."""
    shop = Shop({"stage": "Production"})
    shop.catalog.transition_stage(ref("1"), "Production", archive_existing=False)
    shop.catalog.transition_stage(ref("2"), "Production", archive_existing=archive)
    former = {"2": "Staging"} | ({"1": "Production"} if archive else {})
    shop.second = replace(shop.second, requested=replace(shop.second.requested, former_stages=former))
    return shop


def stages(shop: Shop) -> dict[str, str]:
    return {build.ref.version: build.stage for build in shop.catalog.builds("m")}


def ended(rollout: Rollout, like: Rollout) -> Rollout:
    """How it ended, with the stages it came with."""
    return replace(like, requested=rollout.requested)


@pytest.mark.parametrize("archive", [False, True])
def test_after_an_abort_the_version_is_back_in_its_former_stage_and_stable_in_production(archive: bool) -> None:
    shop = moved_to_production(archive=archive)
    changes = settle(shop.catalog, ended(shop.second, shop.aborted()), "champion")
    assert stages(shop) == {"1": "Production", "2": "Staging", "3": "None"}
    assert "v2 back in Staging" in changes
    tags = shop.catalog.build(ref("2")).tags
    assert (tags["sluice.ending"], tags["sluice.reason"]) == ("aborted", "no")


def test_an_abort_while_baking_brings_the_earlier_version_back_from_the_archive() -> None:
    shop = moved_to_production(archive=False)
    settle(shop.catalog, ended(shop.second, shop.promoted()), "champion")
    assert stages(shop)["1"] == "Archived"
    settle(shop.catalog, ended(shop.second, shop.aborted()), "champion")
    assert stages(shop) == {"1": "Production", "2": "Staging", "3": "None"}


def test_a_version_that_somebody_moved_on_meanwhile_stays_there() -> None:
    shop = moved_to_production(archive=False)
    shop.catalog.transition_stage(ref("2"), "Archived", archive_existing=False)
    settle(shop.catalog, ended(shop.second, shop.aborted()), "champion")
    assert stages(shop)["2"] == "Archived"


def test_the_version_says_where_its_rollout_can_be_seen() -> None:
    shop = Shop()
    settle(shop.catalog, shop.aborted(), "champion", seen_at={"console": "http://here/rollouts/x", "mlflow": "there"})
    tags = shop.catalog.build(ref("2")).tags
    assert tags["sluice.console"] == "http://here/rollouts/x"
    assert "sluice.mlflow" not in tags


def test_a_version_that_was_deleted_is_left_alone() -> None:
    shop = Shop()
    aborted = shop.aborted()
    assert "is not in MLflow any more" in settle(MemoryCatalog(), aborted, "champion")[0]


def test_a_registry_that_is_away_is_told_later() -> None:
    shop = Shop()
    shop.catalog.reachable = False
    with pytest.raises(CatalogUnavailable):
        settle(shop.catalog, shop.promoted(), "champion")


def variation(shop: Shop, name: str, version: str) -> Rollout:
    """A first build in another variation of the model."""
    plan = shop.plan.model_copy(update={"variation": name})
    first = orders.deploy(shop.ledger, plan=plan, version=version, request=WHO, now=NOW).rollout
    shop._launch(first.id)
    return orders.complete(shop.ledger, first.id, NOW)


def test_other_variations_have_a_champion_of_their_own() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    settle(shop.catalog, variation(shop, "b", "3"), "champion")
    assert (shop.aliases("1"), shop.aliases("3")) == ({"champion"}, {"champion-b"})


def test_champion_and_stages_follow_the_fallback_variation() -> None:
    shop = Shop({"stage": "Production"})
    settle(shop.catalog, shop.first, "champion", fallback="b")
    assert shop.aliases("1") == {"champion-default"}
    assert shop.catalog.build(ref("1")).stage == "None"
    settle(shop.catalog, variation(shop, "b", "3"), "champion", fallback="b")
    assert shop.aliases("3") == {"champion"}
    assert shop.catalog.build(ref("3")).stage == "Production"


def test_an_undeployed_build_is_nobodys_champion() -> None:
    shop = Shop()
    settle(shop.catalog, shop.first, "champion")
    settle(shop.catalog, variation(shop, "b", "3"), "champion")
    gone = orders.undeploy(shop.ledger, model="m", variation="b", actor="ada", reason="over", now=NOW)
    assert settle(shop.catalog, gone, "champion")[0] == "alias champion-b removed"
    assert (shop.aliases("1"), shop.aliases("3")) == ({"champion"}, set())
