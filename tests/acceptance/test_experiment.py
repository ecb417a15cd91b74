"""Given an experiment of three variations, when requests come, then …: real ledger, routes, gates; nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluicegate.flows.stages.experiment import follow
from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.readout import experiment_readout
from sluicegate.registry.rollout.decision import Choice
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Refused, TargetBusy
from tests import giving as orders
from tests.experiment_lab import EQUAL, PLAN, WHO, Lab, plan
from tests.giving import connect


def test_nobody_is_assigned_before_all_variations_can_begin() -> None:
    lab = Lab().starts()
    assert set(lab.all_units(500).values()) == {"default"}
    first, second = lab.group
    tick(lab.ledger, lab, first.id, lab.now, Authority.ADVANCE)
    assert set(lab.all_units(500).values()) == {"default"}
    tick(lab.ledger, lab, second.id, lab.now, Authority.ADVANCE)
    assert set(lab.all_units(500).values()) == {"default", "b", "c"}


def test_its_time_runs_from_when_the_last_variation_is_served() -> None:
    lab = Lab(plan=plan(soak="1d")).starts()
    first, second = (each.id for each in lab.group)
    tick(lab.ledger, lab, first, lab.now, Authority.ADVANCE)
    lab.serves()
    lab.now += timedelta(days=15)
    alone = tick(lab.ledger, lab, first, lab.now, Authority.ADVANCE)
    assert (alone.decision.choice, alone.rollout.phase) == (Choice.HOLD, Phase.RUNNING), "it has not begun"
    tick(lab.ledger, lab, second, lab.now, Authority.ADVANCE)
    lab.serves()
    lab.now += timedelta(days=13)
    waits = tick(lab.ledger, lab, first, lab.now, Authority.ADVANCE).decision
    assert (waits.choice, waits.wait) == (Choice.HOLD, timedelta(days=1))
    lab.now += timedelta(days=1)
    lab.ticks()
    assert {each.ending for each in lab.group} == {Ending.CONCLUDED}


def test_only_a_driver_lets_it_begin_and_not_before_its_time() -> None:
    lab = Lab(plan=plan(starts="2026-01-02T00:00:00Z")).starts()
    lab.ticks()
    assert {each.phase for each in lab.group} == {Phase.LAUNCHING}
    waits = tick(lab.ledger, lab, lab.group[0].id, lab.now, Authority.ADVANCE).decision
    assert waits.is_long_wait, "no process need sit it out"
    lab.now += timedelta(days=1)
    lab.ticks(Authority.STOP)
    assert {each.phase for each in lab.group} == {Phase.LAUNCHING}
    lab.ticks()
    assert {each.phase for each in lab.group} == {Phase.RUNNING}


def test_units_are_shared_as_the_weights_say_and_those_held_out_are_not_counted() -> None:
    lab = Lab(plan=plan(variations={"default": 1, "b": 1, "c": 2}, holdout=20)).begins()
    slices = lab.table().model("m").audiences[-1].slices
    counted = {part.target.assigned.variation: part.size for part in slices if part.target.assigned.rollout}
    assert counted == {"default": 2000, "b": 2000, "c": 4000}
    (held_out,) = [part for part in slices if part.target.assigned.rollout is None]
    assert (held_out.size, held_out.target.assigned.variation) == (2000, "default")
    assert {each.requested.variation: each.weight for each in lab.group} == {"b": 5000, "c": 6667}


def test_a_unit_keeps_its_variation_whatever_weights_are_applied_meanwhile() -> None:
    lab = Lab().begins()
    before = lab.all_units()
    shares = {name: list(before.values()).count(name) / len(before) for name in ("default", "b", "c")}
    assert all(0.3 < share < 0.37 for share in shares.values()), shares
    weighted = (Weighted(variation="default", weight=9), Weighted(variation="c", weight=1))
    connect(lab.ledger, Connections(model="m", fallback=weighted), "ada", lab.now)
    assert lab.all_units() == before


def test_two_experiments_share_units_independently() -> None:
    lab = Lab().begins()
    first = lab.all_units()
    orders.conclude(lab.ledger, lab.group[0].requested.experiment or "", actor="ada", reason="enough", now=lab.now)
    lab.begins()
    second = lab.all_units()
    stayed = sum(first[unit] == second[unit] for unit in first) / len(first)
    assert stayed == pytest.approx(1 / 3, abs=0.04)


def test_the_better_variation_wins_the_equal_one_does_not_and_time_alone_promotes_nobody() -> None:
    lab = Lab(loss=EQUAL | {"b": 0.75}).begins().runs(12_000)
    assert lab.comparison("b").has_passed
    assert not any(each.is_ended for each in lab.group), "c goes on, so b does"
    lab.now += timedelta(days=14)
    lab.ticks()
    assert {each.ending for each in lab.group} == {Ending.CONCLUDED}
    said = experiment_readout(read_for_readout(lab.ledger, lab.group))
    assert (said.winner, said.is_over) == ("b", True)
    b, c = said.compared
    assert (b.answer, c.answer) == ("PASS", "UNDECIDED")
    assert b.low is not None
    assert b.high is not None
    assert b.low < -0.25 < b.high < 0
    assert set(lab.all_units(500).values()) == {"default"}
    assert orders.stable(lab.ledger, "m", "default") == "1"


def test_it_ends_as_soon_as_every_variation_has_reached_the_goal_and_the_best_wins() -> None:
    lab = Lab(loss={"default": 1.0, "b": 0.7, "c": 0.5}).begins().runs(30_000)
    assert {each.ending for each in lab.group} == {Ending.CONCLUDED}
    assert experiment_readout(read_for_readout(lab.ledger, lab.group)).winner == "c"


def test_it_lasts_as_long_as_it_shall_even_when_all_is_clear() -> None:
    lab = Lab(loss={"default": 1.0, "b": 0.5, "c": 0.5}, plan=plan(soak="1d")).begins().runs(6_000)
    assert all(each.has_passed and not each.is_ended for each in lab.group)
    lab.now += timedelta(days=1)
    lab.ticks()
    assert all(each.is_ended for each in lab.group)


def test_a_harmful_variation_is_stopped_alone_and_its_units_are_not_counted_for_the_control() -> None:
    lab = Lab(errors={"c": 0.2}).begins()
    before = lab.all_units()
    lab.runs(20_000)
    assert lab.comparison("c").ending is Ending.ABORTED
    assert "errors" in lab.comparison("c").reason
    assert lab.comparison("b").phase is Phase.RUNNING
    after = lab.all_units()
    assert after == {unit: "default" if variation == "c" else variation for unit, variation in before.items()}
    slices = lab.table().model("m").audiences[-1].slices
    counted = {part.target.assigned.variation: part.size for part in slices if part.target.assigned.rollout}
    assert counted == {"default": 3334, "b": 3333}


def test_the_keeper_alone_stops_harm() -> None:
    lab = Lab(errors={"c": 0.5}).begins()
    for _ in range(40):
        lab.flows(200)
        lab.ticks(Authority.STOP)
    assert lab.comparison("c").ending is Ending.ABORTED


def test_a_worse_variation_fails_and_is_stopped() -> None:
    lab = Lab(loss=EQUAL | {"c": 1.6}).begins().runs(20_000)
    assert lab.comparison("c").ending is Ending.ABORTED
    assert experiment_readout(read_for_readout(lab.ledger, lab.group)).winner is None


def test_a_variation_that_was_stopped_wins_nothing_however_good_it_was() -> None:
    lab = Lab(loss=EQUAL | {"b": 0.6}).begins().runs(4_000)
    assert experiment_readout(read_for_readout(lab.ledger, lab.group)).winner == "b"
    orders.abort(lab.ledger, lab.comparison("b").id, actor="ada", reason="it leaks", now=lab.now)
    assert experiment_readout(read_for_readout(lab.ledger, lab.group)).winner is None


def test_a_promoted_variation_takes_the_controls_place_and_the_experiment_is_over() -> None:
    lab = Lab().begins()
    placed = orders.promote(lab.ledger, lab.comparison("b").id, actor="ada", reason="I like it", now=lab.now)
    assert (placed.requested.strategy, placed.requested.version, placed.requested.variation) == (
        "replace",
        "2",
        "default",
    )
    assert placed.packed is not None, "the bento is known, so nothing is packed"
    assert {each.ending for each in lab.group} == {Ending.CONCLUDED}
    lab.readies(placed.id, "2")
    assert orders.stable(lab.ledger, "m", "default") == "2"
    assert lab.asks("u1").build == BuildRef(model="m", version="2")
    again = orders.promote(lab.ledger, lab.comparison("b").id, actor="ada", reason="twice", now=lab.now)
    assert again.is_ended


def test_the_policy_promotes_only_a_variation_that_reached_the_goal_and_only_once() -> None:
    lab = Lab(loss=EQUAL | {"b": 0.7}, plan=plan(then="promote", variations={"default": 1, "b": 1})).begins()
    assert follow(lab.ledger, lab.group[0], lab.now) is None
    lab.runs(30_000)
    placed = follow(lab.ledger, lab.group[0], lab.now)
    assert placed is not None
    assert (placed.requested.version, placed.requested.actor) == ("2", "policy")
    assert follow(lab.ledger, lab.group[0], lab.now) is None
    equal = Lab(plan=plan(then="promote", variations={"default": 1, "b": 1})).begins().runs(4_000)
    equal.now += timedelta(days=14)
    equal.ticks()
    assert equal.group[0].is_ended
    assert follow(equal.ledger, equal.group[0], equal.now) is None


def test_another_build_in_the_control_ends_it_and_in_a_variation_ends_that_one() -> None:
    lab = Lab().begins().runs(1_000)
    other = Plan.model_validate({"model": "m", "variation": "c", "unit": "x-user-id", "steps": [{"weight": 10}]})
    put = orders.deploy(lab.ledger, plan=other, version="9", at_once="urgent", request=WHO, now=lab.now).rollout
    lab.readies(put.id, "9")
    assert "c" not in set(lab.all_units(500).values()), "its units are taken back at once"
    lab.ticks()
    assert "is v9 now, not v3" in lab.comparison("c").reason


def test_nobody_rolls_out_inside_an_experiment_and_an_audience_has_one() -> None:
    lab = Lab().begins()
    canary = Plan.model_validate(PLAN)
    with pytest.raises(TargetBusy, match="takes part in experiment"):
        orders.start(lab.ledger, plan=canary, version="9", request=WHO, now=lab.now)
    with pytest.raises(TargetBusy, match="uses the audience default already"):
        orders.start_experiment(lab.ledger, plan=plan(max_time="7d"), request=WHO, now=lab.now)
    before = lab.ledger.rollouts()
    again = orders.start_experiment(lab.ledger, plan=lab.plan, request=WHO, now=lab.now)
    assert [each.created for each in again] == [False, False]
    assert lab.ledger.rollouts() == before


def test_what_cannot_be_compared_is_refused_before_anything_is_recorded() -> None:
    lab = Lab()
    for broken, says in (
        (plan(variations={"default": 1, "nobody": 1}), "holds no build"),
        (plan(audience="nowhere"), "not connected"),
        (Plan.model_validate({"model": "m", "steps": [{"weight": 10}]}), "describes no experiment"),
    ):
        with pytest.raises(Refused, match=says):
            orders.start_experiment(lab.ledger, plan=broken, request=WHO, now=lab.now)
    assert lab.group == ()


def test_an_experiment_over_an_audience_leaves_everybody_else_alone() -> None:
    lab = Lab(plan=plan(audience="ny"))
    ny = Audience(name="ny", condition=Match(header="state", operator=Operator.EXACT, operands=("New York",)))
    connected = Connections(model="m", ordered=(Connection(audience=ny, weighted=(Weighted(variation="default"),)),))
    connect(lab.ledger, connected, "ada", lab.now)
    lab.begins()
    assert {lab.asks(f"u{n}").variation for n in range(60)} == {"default"}
    assert {lab.asks(f"u{n}", state="New York").variation for n in range(60)} == {"default", "b", "c"}


def test_rows_that_do_not_come_in_their_shares_win_nothing() -> None:
    """Without units each request is assigned by itself, and the control's lines get lost."""
    lost = Plan.model_validate(
        {**PLAN, "unit": None, "ab": PLAN["ab"] | {"variations": {"default": 1, "b": 1}, "soak": "1d"}}
    )  # type: ignore[operator]
    lab = Lab(loss=EQUAL | {"b": 0.7}, plan=lost, lost=0.3).begins().runs(6_000)
    lab.now += timedelta(days=14)
    lab.ticks()
    assert all(each.is_ended for each in lab.group)
    said = experiment_readout(read_for_readout(lab.ledger, lab.group))
    assert said.winner is None
    assert said.compared[0].answer in ("UNDECIDED", "NO DATA")
    assert "share" in lab.group[0].judgements["loss"].reason
