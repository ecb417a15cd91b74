"""Freezes: when they hold, in their own zone; nothing starts or advances in one, and what stops still does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.documents.documents import read_documents
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Choice, needs_driver
from sluicegate.registry.rollout.facts import FreezeOverridden, Observed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.freeze import Freeze, in_force
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.errors import InvalidDocument, Refused
from sluicegate.registry.words.metric import TallyRow
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

WEEKEND = Freeze.model_validate(
    {
        "name": "weekend",
        "zone": "Europe/Berlin",
        "windows": [{"cron": "0 16 * * fri", "lasts": "64h"}],
        "reason": "rest",
    }
)
YEAR_END = Freeze.model_validate(
    {"name": "year-end", "zone": "Europe/Berlin", "windows": [{"from": "2026-12-20", "until": "2027-01-02T06:00"}]}
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("freeze", "moment", "until"),
    [
        (WEEKEND, "2026-07-03T13:59:59", None),
        (WEEKEND, "2026-07-03T14:00", "2026-07-06T06:00"),
        (WEEKEND, "2026-07-06T05:59:59", "2026-07-06T06:00"),
        (WEEKEND, "2026-07-06T06:00", None),
        (WEEKEND, "2026-12-04T14:30", None),
        (WEEKEND, "2026-12-04T15:00", "2026-12-07T07:00"),
        (YEAR_END, "2026-12-19T22:59", None),
        (YEAR_END, "2026-12-19T23:00", "2027-01-02T05:00"),
        (YEAR_END, "2027-01-02T05:00", None),
    ],
)
def test_a_window_holds_in_its_own_zone_summer_and_winter(freeze: Freeze, moment: str, until: str | None) -> None:
    found = in_force([freeze], "m", at(moment))
    assert (found.until if found else None) == (at(until) if until else None)


def test_a_freeze_holds_the_models_it_names() -> None:
    only = WEEKEND.model_copy(update={"models": ("delays", "fraud-*")})
    moment = at("2026-07-04T12:00")
    held = {model: in_force([only], model, moment) is not None for model in ("delays", "fraud-eu", "wine")}
    assert held == {"delays": True, "fraud-eu": True, "wine": False}


def test_it_is_applied_like_any_document_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "freeze.yaml"
    file.write_text(
        "kind: freeze\nname: weekend\nzone: Europe/Berlin\nreason: rest\n"
        'windows: [{cron: "0 16 * * fri", lasts: 64h}]\n'
    )
    (found,) = read_documents([file])
    assert (found.kind, found.name, found.digest) == ("freeze", "weekend", WEEKEND.digest)
    assert Freeze.model_validate(found.body) == WEEKEND


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('windows: [{cron: "61 * * * *", lasts: 1h}]', "cron expression"),
        ('windows: [{cron: "0 16 * * fri"}]', "cron and lasts, or from and until"),
        ("windows: [{from: 2026-12-20, until: 2026-12-19}]", "until is not after from"),
        ("windows: [{from: 2026-12-20T00:00Z, until: 2026-12-21}]", "local time"),
        ("zone: Europe/Atlantis", "not a time zone"),
        ("window: []", "did you mean windows"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, wrong: str, said: str) -> None:
    file = tmp_path / "freeze.yaml"
    file.write_text(f"kind: freeze\nname: x\n{wrong}\n")
    with pytest.raises(InvalidDocument) as refused:
        read_documents([file])
    assert said in str(refused.value)
    assert f"{file}:3" in str(refused.value)


NOW = at("2026-07-03T12:00")
FROZEN = at("2026-07-04T12:00")
AFTER = at("2026-07-06T06:00")
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}]})
WHO = Giver(actor="ada", cause="cli")


class NoTallies:
    """Telemetry that has seen enough requests and nothing else: the plan has no gates."""

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        return 0, ()

    def progress(self, rollout: str, epoch: int) -> int:
        return 1000

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        return None


def frozen_world() -> tuple[MemoryLedger, Rollout]:
    """A ledger with a freeze and a rollout at its first step, approved."""
    ledger = MemoryLedger()
    applied = Applied(kind="freeze", name="weekend", body=WEEKEND.document(), digest="d", actor="ada", at=NOW)
    ledger.apply(applied)
    first = orders.deploy(ledger, plan=PLAN, version="1", request=WHO, now=NOW).rollout
    ready(ledger, first.id)
    orders.complete(ledger, first.id, NOW)
    name = ready(ledger, orders.start(ledger, plan=PLAN, version="2", request=WHO, now=NOW).rollout.id)
    for fact in (StepEntered(step=0, weight=1000, actor="d", reason="ready"), Observed(epoch=1, version="x")):
        orders.append(ledger, name, lambda _, fact=fact: fact, NOW)
    return ledger, orders.approve(ledger, name, actor="ada", reason="fine", now=NOW)


def ready(ledger: MemoryLedger, name: str) -> str:
    facts: Sequence[Packed | Ready] = (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x"))
    for fact in facts:
        orders.append(ledger, name, lambda _, fact=fact: fact, NOW)
    return name


def test_nothing_advances_in_a_freeze_and_it_goes_on_right_after() -> None:
    ledger, rollout = frozen_world()
    seen = tick(ledger, NoTallies(), rollout.id, FROZEN, Authority.ADVANCE)
    assert (seen.rollout.step, seen.decision.choice) == (0, Choice.HOLD)
    assert "the freeze weekend (rest) lasts until 2026-07-06 06:00 UTC" in seen.decision.reason
    assert not needs_driver(seen.rollout, seen.decision), "no process waits for the end of it"
    assert "freeze weekend" in str(rollout_view(read_for_views(ledger, [seen.rollout])[0], FROZEN).waits_for)
    assert tick(ledger, NoTallies(), rollout.id, AFTER, Authority.ADVANCE).rollout.step == 1


def test_a_candidate_that_got_ready_gets_no_traffic_in_a_freeze() -> None:
    ledger, rollout = frozen_world()
    orders.abort(ledger, rollout.id, actor="ada", reason="no", now=NOW)
    name = ready(ledger, orders.start(ledger, plan=PLAN, version="3", request=WHO, now=NOW).rollout.id)
    seen = tick(ledger, NoTallies(), name, FROZEN, Authority.ADVANCE)
    assert (seen.rollout.phase, seen.rollout.weight) == (Phase.LAUNCHING, 0)
    assert not needs_driver(seen.rollout, seen.decision)
    assert tick(ledger, NoTallies(), name, AFTER, Authority.ADVANCE).rollout.weight == 1000


def test_nothing_starts_or_is_promoted_in_a_freeze() -> None:
    ledger, rollout = frozen_world()
    queued = orders.start(ledger, plan=PLAN, version="3", request=WHO, now=NOW).rollout
    for order in (
        lambda: orders.start(ledger, plan=PLAN, version="4", request=WHO, now=FROZEN),
        lambda: orders.promote(ledger, rollout.id, actor="ada", reason="now", now=FROZEN),
    ):
        with pytest.raises(Refused, match="freeze weekend") as refused:
            order()
        assert "Abort and rollback work" in str(refused.value)
    orders.abort(ledger, rollout.id, actor="ada", reason="no", now=FROZEN)
    assert orders.begin(ledger, ledger.rollout(queued.id), FROZEN).phase is Phase.QUEUED
    assert orders.begin(ledger, ledger.rollout(queued.id), AFTER).phase is Phase.LAUNCHING


def test_an_override_lets_one_rollout_through_until_the_freeze_ends() -> None:
    ledger, rollout = frozen_world()
    why = {"actor": "ada", "reason": "customers are down"}
    orders.override_freeze(ledger, rollout.id, **why, now=FROZEN)
    again = orders.override_freeze(ledger, rollout.id, **why, now=FROZEN)
    told = [each.fact for each in ledger.entries(rollout.id) if isinstance(each.fact, FreezeOverridden)]
    assert [(fact.actor, fact.reason, fact.freeze) for fact in told] == [("ada", "customers are down", "weekend")]
    assert again.seq == ledger.rollout(rollout.id).seq, "twice is once"
    (said,) = (each for each in timeline(ledger.entries(rollout.id)) if each.fact == "FreezeOverridden")
    assert said.text == "freeze weekend overridden for this rollout until 2026-07-06 06:00 UTC"
    assert (said.actor, said.why) == ("ada", "customers are down")
    assert tick(ledger, NoTallies(), rollout.id, FROZEN, Authority.ADVANCE).rollout.step == 1
    next_weekend = FROZEN + timedelta(days=7)
    with pytest.raises(Refused, match="freeze weekend"):
        orders.promote(ledger, rollout.id, actor="ada", reason="now", now=next_weekend)
    assert orders.promote(ledger, rollout.id, actor="ada", reason="now", now=FROZEN).phase is Phase.BAKING


def test_an_override_begins_what_is_queued_and_no_other() -> None:
    ledger, rollout = frozen_world()
    queued = orders.start(ledger, plan=PLAN, version="3", request=WHO, now=NOW).rollout
    orders.abort(ledger, rollout.id, actor="ada", reason="no", now=FROZEN)
    with pytest.raises(Refused, match="repeat the command with --override-freeze"):
        orders.start(ledger, plan=PLAN, version="4", request=WHO, now=FROZEN)
    after = orders.override_freeze(ledger, queued.id, actor="ada", reason="hotfix", now=FROZEN)
    assert after.phase is Phase.LAUNCHING


def test_a_start_with_a_reason_goes_through_and_asked_twice_is_one() -> None:
    ledger, rollout = frozen_world()
    orders.abort(ledger, rollout.id, actor="ada", reason="no", now=FROZEN)
    through = replace(WHO, override_freeze="hotfix")
    for _ in range(2):
        started = orders.start(ledger, plan=PLAN, version="3", request=through, now=FROZEN).rollout
        assert started.phase is Phase.LAUNCHING
    facts = [type(each.fact).__name__ for each in ledger.entries(started.id)]
    assert facts == ["Requested", "FreezeOverridden", "Begun"]
    ready(ledger, started.id)
    assert tick(ledger, NoTallies(), started.id, FROZEN, Authority.ADVANCE).rollout.weight == 1000


def test_a_start_that_waited_in_the_queue_is_let_through_by_asking_again() -> None:
    ledger, rollout = frozen_world()
    queued = orders.start(ledger, plan=PLAN, version="3", request=WHO, now=NOW).rollout
    orders.abort(ledger, rollout.id, actor="ada", reason="no", now=FROZEN)
    through = replace(WHO, override_freeze="hotfix")
    again = orders.start(ledger, plan=PLAN, version="3", request=through, now=FROZEN)
    assert (again.created, again.rollout.id, again.rollout.phase) == (False, queued.id, Phase.LAUNCHING)


def test_what_no_freeze_holds_has_nothing_to_override() -> None:
    ledger, rollout = frozen_world()
    with pytest.raises(Refused, match="no freeze is in force"):
        orders.override_freeze(ledger, rollout.id, actor="ada", reason="x", now=NOW)
    through = replace(WHO, override_freeze="in case")
    started = orders.start(ledger, plan=PLAN, version="3", request=through, now=NOW).rollout
    assert [type(each.fact).__name__ for each in ledger.entries(started.id)] == ["Requested"]


def test_what_stops_works_in_a_freeze() -> None:
    ledger, rollout = frozen_world()
    for order in (orders.pause, orders.resume, orders.approve):
        order(ledger, rollout.id, actor="ada", reason="x", now=FROZEN)
    orders.promote(ledger, rollout.id, actor="ada", reason="x", now=AFTER)
    again = at("2026-07-11T12:00")
    back = orders.roll_back(
        ledger, model="m", variation="default", version=None, reason="x", request=WHO, now=again
    ).rollout
    ready(ledger, back.id) if back.packed is None else orders.append(
        ledger, back.id, lambda _: Ready(version="1"), again
    )
    assert orders.complete(ledger, back.id, again).phase is Phase.BAKING
    assert (
        orders.abort(ledger, back.id, actor="ada", reason="x", now=again + timedelta(seconds=1)).ending
        is Ending.ABORTED
    )
