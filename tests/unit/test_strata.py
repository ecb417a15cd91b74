"""Strata that widen where little traffic comes: what is kept, what waits, and that only sizes decide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.strata import widened
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.verdict import Look

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400
BUCKET = 300


def side(bucket: int, *, epoch: int = 1, weight: int = 5000) -> tuple[Stratum, int]:
    return Stratum(epoch=epoch, bucket=bucket), weight


def test_neighbours_join_until_there_are_enough_rows_of_both_builds() -> None:
    sizes = {side(0): (9, 0), side(1): (12, 0), side(2): (0, 1), side(3): (4, 4), side(4): (30, 2)}
    assert widened(sizes) == {side(0): side(0), side(1): side(0), side(2): side(0), side(4): side(4)}


def test_what_was_drawn_with_another_chance_is_never_joined() -> None:
    few = {side(0): (9, 9), side(1, weight=1000): (9, 9), side(0, epoch=2): (9, 9)}
    assert widened(few) == {}
    assert widened(few | {side(5, epoch=2): (2, 1)}) == {
        side(0, epoch=2): side(0, epoch=2),
        side(5, epoch=2): side(0, epoch=2),
    }


def test_a_large_stratum_without_one_build_is_not_joined_to_others() -> None:
    assert widened({side(0): (100, 0), side(1): (5, 5), side(2): (5, 5)}) == {side(1): side(1), side(2): side(1)}


@pytest.mark.parametrize("alone", [side(0, weight=0), side(-1), side(0, weight=10_000)])
def test_where_the_chance_is_not_known_a_stratum_is_compared_alone_and_at_once(alone: tuple[Stratum, int]) -> None:
    other = (Stratum(epoch=1, bucket=alone[0].bucket - 1), alone[1])
    assert widened({alone: (1, 1), other: (2, 0)}) == {alone: alone}


def plan(weight: float, *, unit: str | None = None) -> Plan:
    return Plan.model_validate(
        {
            "model": "m", "metrics": {"errors": {"source": "status"}}, "steps": [{"weight": weight}], "unit": unit,
            "gates": [{"metric": "errors", "margin": "20%"}], "expect": {"requests_per_day": 200},
        }
    )  # fmt: skip


def rollout(per_day: int, weight: float, *, by_unit: bool, requests: int = 1_000) -> Iterator[list[TallyRow]]:
    """Cumulative rows after each hundred requests; of units, each comes once."""
    rng = np.random.default_rng(per_day)
    times = np.sort(rng.integers(0, requests * DAY // per_day, requests)) // BUCKET * BUCKET
    mine, events = rng.random(requests) < weight / 100, rng.random(requests) < 0.1
    for end in range(100, requests + 1, 100):
        rows = []
        for bucket in np.unique(times[:end]):
            for arm in Arm:
                here = (times[:end] == bucket) & (mine[:end] == (arm is Arm.CANDIDATE))
                n, x = int(here.sum()), int((here & events[:end]).sum())
                units = UnitSums.from_unit(1, 1).times(x) + UnitSums.from_unit(0, 1).times(n - x)
                rows.append(
                    TallyRow(
                        metric="errors",
                        stratum=Stratum(epoch=1, bucket=int(bucket)),
                        weight=int(weight * 100),
                        arm=arm,
                        tally=Tally.from_events(n, x),
                        units=units if by_unit else None,
                    )
                )
        yield rows


@pytest.mark.parametrize("weight", [5, 50])
@pytest.mark.parametrize("per_day", [20, 200, 5_000])
@pytest.mark.parametrize("by_unit", [False, True], ids=["rows", "units"])
def test_nine_tenths_of_the_information_are_kept_at_any_traffic(per_day: int, weight: float, by_unit: bool) -> None:
    asked = plan(weight, unit="x-user" if by_unit else None)
    looks: list[Look] = []
    rows: list[TallyRow] = []
    for rows in rollout(per_day, weight, by_unit=by_unit):
        look = gate.next_look(
            rollout="r", plan=asked, gate=asked.gates[0], guardrail=False, step=0, looks=looks, rows=rows, watermark=0,
            at=AT,
        )  # fmt: skip
        looks += [look] if look is not None else []
    n = [sum(row.tally.n for row in rows if row.arm is arm) for arm in Arm]
    kept = looks[-1].verdict.information / (n[0] * n[1] / sum(n))
    assert kept >= 0.9


def test_only_sizes_decide_how_far_a_stratum_widens() -> None:
    """The same sizes with other values are judged at the same looks with the same information."""

    def information(flip: bool) -> list[float]:
        looks: list[Look] = []
        for rows in rollout(200, 50, by_unit=False):
            seen = [
                row if not flip else TallyRow(
                    metric=row.metric, stratum=row.stratum, weight=row.weight, arm=row.arm,
                    tally=Tally.from_events(row.tally.n, row.tally.n - row.tally.total),
                )
                for row in rows
            ]  # fmt: skip
            look = gate.next_look(
                rollout="r", plan=plan(50), gate=plan(50).gates[0], guardrail=False, step=0, looks=looks, rows=seen,
                watermark=0, at=AT,
            )  # fmt: skip
            looks += [look] if look is not None else []
        return [look.verdict.information for look in looks]

    assert information(False) == information(True) != []
