"""The gate where units return: judged by unit, from the sums that telemetry tells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.verdict import Answer, Look, Verdict

PLAN = Plan.model_validate(
    {
        "model": "m", "unit": "x-user-id", "steps": [{"weight": 50}], "expect": {"requests_per_day": 20000},
        "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
        "gates": [{"metric": "p99", "alpha": 0.05, "margin": "20%"}],
        "guardrails": [{"metric": "errors", "alpha": 0.05}],
    }
)  # fmt: skip
BY_ROW = PLAN.model_copy(update={"unit": None})
FIRST = Stratum(epoch=1, bucket=600)


def rows_of(
    arm: Arm, rates: Sequence[float], rows_each: int, *, metric: str = "errors", stratum: Stratum = FIRST, seed: int = 1
) -> TallyRow:
    """Units with these rates of events, and some rows each."""
    x = np.random.default_rng(seed).binomial(rows_each, np.array(rates))
    units = sum((UnitSums.from_unit(float(each), rows_each) for each in x), UnitSums())
    n, events = rows_each * len(rates), float(x.sum())
    tally = Tally.from_events(n, events)
    return TallyRow(metric=metric, stratum=stratum, weight=5000, arm=arm, tally=tally, units=units)


def look(rows: Sequence[TallyRow], looks: Sequence[Look] = (), *, plan: Plan = PLAN) -> Look | None:
    return gate.next_look(
        rollout="r", plan=plan, gate=plan.guardrails[0], guardrail=True, step=0, looks=looks, rows=rows, watermark=0,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def judged(rows: Sequence[TallyRow], *, plan: Plan = PLAN) -> Verdict:
    found = look(rows, plan=plan)
    assert found is not None
    return found.verdict


FEW_LOUD = [
    rows_of(Arm.STABLE, [0.02] * 20, 200), rows_of(Arm.CANDIDATE, [0.02] * 19 + [0.9], 200),
]  # fmt: skip
"""One unit that always fails: an accident of the draw, not harm."""


def test_one_loud_unit_is_one_voice_by_unit_and_harm_by_row() -> None:
    assert judged(FEW_LOUD).answer is Answer.UNDECIDED
    assert judged(FEW_LOUD).details == ("judged by unit: 20 of stable, 20 of the candidate",)
    assert judged(FEW_LOUD, plan=BY_ROW).answer is Answer.FAIL
    assert judged([dataclasses.replace(row, units=None) for row in FEW_LOUD]).answer is Answer.FAIL


def test_harm_to_many_units_fails() -> None:
    rows = [rows_of(Arm.STABLE, [0.05] * 200, 5), rows_of(Arm.CANDIDATE, [0.2] * 200, 5)]
    verdict = judged(rows)
    assert verdict.answer is Answer.FAIL
    assert verdict.low is not None
    assert verdict.low >= 0


def test_looks_hold_what_is_new_of_units_and_their_verdicts_come_again() -> None:
    early = [rows_of(Arm.STABLE, [0.05] * 200, 2, seed=2), rows_of(Arm.CANDIDATE, [0.05] * 200, 2, seed=3)]
    later = [rows_of(Arm.STABLE, [0.05] * 200, 5, seed=2), rows_of(Arm.CANDIDATE, [0.05] * 200, 5, seed=3)]
    first = look(early)
    assert first is not None
    second = look(later, [first])
    assert second is not None
    told = {row.arm: row.units for row in second.rows}
    assert told == {row.arm: now.units - row.units for row, now in zip(early, later, strict=True)
                    if row.units is not None and now.units is not None}  # fmt: skip
    stored = [look_from_json(look_to_json(each)) for each in (first, second)]
    again = gate.verdict(plan=PLAN, gate=PLAN.guardrails[0], guardrail=True, step=0, looks=stored)
    assert again == second.verdict
    assert look(later, [first, second]) is None


def test_units_of_a_cohort_that_has_no_row_of_its_own_are_judged() -> None:
    """Units met in an earlier epoch: their rows are tallied in another stratum than they belong to."""
    here = [rows_of(Arm.STABLE, [0.05] * 200, 5), rows_of(Arm.CANDIDATE, [0.05] * 200, 5)]
    returned = [
        dataclasses.replace(rows_of(arm, [rate] * 200, 5, stratum=Stratum(epoch=2, bucket=-1)), tally=Tally())
        for arm, rate in ((Arm.STABLE, 0.05), (Arm.CANDIDATE, 0.3))
    ]
    assert judged(here).answer is Answer.UNDECIDED
    assert judged([*here, *returned]).answer is Answer.FAIL


def test_new_units_must_come_in_the_shares_of_the_weights_and_others_need_not() -> None:
    lost = [rows_of(Arm.STABLE, [0.05] * 400, 2), rows_of(Arm.CANDIDATE, [0.05] * 250, 2)]
    verdict = judged(lost)
    assert verdict.answer is Answer.NO_DATA
    assert "shares" in verdict.reason
    even = [rows_of(Arm.STABLE, [0.05] * 300, 2), rows_of(Arm.CANDIDATE, [0.05] * 300, 2)]
    others = [dataclasses.replace(row, stratum=Stratum(epoch=1, bucket=-1)) for row in lost]
    assert judged([*even, *others]).answer is Answer.UNDECIDED


@pytest.mark.parametrize("broken", [UnitSums(xx=math.nan), UnitSums(size=-9999), UnitSums(n=-9999)])
def test_sums_of_units_that_cannot_be_true_hold(broken: UnitSums) -> None:
    rows = [rows_of(Arm.STABLE, [0.05] * 200, 5), rows_of(Arm.CANDIDATE, [0.9] * 200, 5)]
    assert rows[0].units is not None
    bad = [dataclasses.replace(rows[0], units=rows[0].units + broken), rows[1]]
    good = [dataclasses.replace(row, stratum=Stratum(epoch=2, bucket=0))
            for row in (rows_of(Arm.STABLE, [0.05] * 200, 5), rows_of(Arm.CANDIDATE, [0.05] * 200, 5))]  # fmt: skip
    verdict = judged([*bad, *good])
    assert verdict.answer is Answer.NO_DATA
    assert "are impossible" in verdict.reason


def test_moved_thresholds_are_judged_by_unit() -> None:
    """Sixty slow requests against twenty are a difference; three slow units against one are none."""
    stable = rows_of(Arm.STABLE, [0.0] * 297 + [1.0] * 3, 20, metric="p99")
    candidate = rows_of(Arm.CANDIDATE, [0.0] * 297 + [1.0] * 3, 20, metric="p99")
    one = rows_of(Arm.CANDIDATE, [0.0] * 299 + [1.0], 20, metric="p99>0.2")
    even = rows_of(Arm.STABLE, [0.01] * 300, 20, metric="p99")
    calm = rows_of(Arm.CANDIDATE, [0.001] * 300, 20, metric="p99>0.2")

    def answer(stable: TallyRow, moved: TallyRow, *, plan: Plan) -> Answer:
        found = gate.next_look(
            rollout="r", plan=plan, gate=plan.gates[0], guardrail=False, step=0, looks=(),
            rows=[stable, candidate, moved], watermark=0, at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        assert found is not None
        return found.verdict.answer

    assert answer(even, calm, plan=PLAN) is Answer.PASS
    assert answer(stable, one, plan=BY_ROW) is Answer.PASS
    assert answer(stable, one, plan=PLAN) is Answer.UNDECIDED


def test_a_look_leaves_out_what_did_not_change() -> None:
    still = [rows_of(arm, [0.05] * 200, 2, stratum=Stratum(epoch=1, bucket=0)) for arm in Arm]
    first = look(still)
    assert first is not None
    moved = [rows_of(arm, [0.05] * 200, 2) for arm in Arm]
    second = look([*still, *moved], [first])
    assert second is not None
    assert {row.stratum for row in second.rows} == {FIRST}


def test_a_rate_below_a_share_says_that_it_is_counted_by_row() -> None:
    gates = [{"metric": "errors", "alpha": 0.05, "below": "20%"}]
    metrics = {"errors": {"source": "status"}}
    below = Plan.model_validate(PLAN.model_dump() | {"metrics": metrics, "gates": gates, "guardrails": []})
    rows = [rows_of(Arm.STABLE, [0.05] * 100, 2), rows_of(Arm.CANDIDATE, [0.05] * 100, 2)]
    found = gate.next_look(
        rollout="r", plan=below, gate=below.gates[0], guardrail=False, step=0, looks=(), rows=rows, watermark=0,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert found is not None
    assert found.verdict.answer is Answer.PASS
    assert found.verdict.details[-1].endswith("100 of the candidate; the rate below 20 % is judged by row")
