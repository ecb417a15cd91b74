"""The gate: from a plan and tallies to looks and verdicts."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.design import gate_question
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import (
    REQUESTS,
    SEVERAL_ROWS,
    Arm,
    Stratum,
    TallyRow,
    capped_name,
    exceedance_name,
)
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Look, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate(
    {
        "model": "delays",
        "metrics": {
            "errors": {"source": "status"},
            "p99": {"source": "latency", "quantile": 0.99},
            "log_loss": {
                "source": "outcome",
                "outcome": "late",
                "score": "log_loss",
                "prediction": {"column": "probability", "positive": 1},
            },
        },
        "gates": [
            {"metric": "log_loss", "alpha": 0.03, "margin": "5%"},
            {"metric": "p99", "alpha": 0.01, "margin": "20%"},
        ],
        "guardrails": [{"metric": "errors", "alpha": 0.01}],
        "steps": [{"weight": 10, "margins": {"log_loss": "100%"}}, {"weight": 50}],
        "expect": {"requests_per_day": 20000},
    }
)
LOG_LOSS, P99 = PLAN.gates
ERRORS = PLAN.guardrails[0]


def tally(values: np.ndarray) -> Tally:
    return Tally(
        n=values.size, total=float(values.sum()), squares=float((values**2).sum()), cubes=float((values**3).sum())
    )


def traffic(seed: int, candidate: float, stable: float, *, batches: int = 60) -> Iterator[list[TallyRow]]:
    """Cumulative rows of log_loss after each batch of 200 requests at 50 %."""
    rng = np.random.default_rng(seed)
    cumulative: dict[tuple[Stratum, Arm], Tally] = {}
    for batch in range(batches):
        for arm, mean in ((Arm.STABLE, stable), (Arm.CANDIDATE, candidate)):
            key = (Stratum(epoch=1, bucket=batch // 10 * 60), arm)
            cumulative[key] = cumulative.get(key, Tally()) + tally(rng.gamma(1.5, mean / 1.5, 100))
        yield [TallyRow(metric="log_loss", stratum=s, weight=5000, arm=a, tally=t) for (s, a), t in cumulative.items()]


def watch(seed: int, candidate: float, stable: float) -> list[Look]:
    looks: list[Look] = []
    for position, rows in enumerate(traffic(seed, candidate, stable)):
        look = take(looks, rows, position)
        looks += [look] if look else []
    return looks


def take(looks: Sequence[Look], rows: Sequence[TallyRow], watermark: int = 0, step: int = 1) -> Look | None:
    return gate.next_look(
        rollout="r1", plan=PLAN, gate=LOG_LOSS, guardrail=False, step=step, looks=looks, rows=rows,
        watermark=watermark, at=AT,
    )  # fmt: skip


def judge(looks: Sequence[Look], step: int = 1) -> Verdict:
    return gate.verdict(plan=PLAN, gate=LOG_LOSS, guardrail=False, step=step, looks=looks)


def count_rows(metric: str, stable: tuple[int, int], candidate: tuple[int, int]) -> list[TallyRow]:
    return [
        TallyRow(
            metric=metric, stratum=Stratum(epoch=1, bucket=0), weight=5000, arm=arm,
            tally=Tally.from_events(n, events),
        )
        for arm, (events, n) in ((Arm.STABLE, stable), (Arm.CANDIDATE, candidate))
    ]  # fmt: skip


def errors_look(looks: Sequence[Look], rows: Sequence[TallyRow], *, guardrail: bool = True) -> Look | None:
    return gate.next_look(
        rollout="r1", plan=PLAN, gate=ERRORS, guardrail=guardrail, step=0, looks=looks, rows=rows, watermark=0, at=AT
    )


def test_a_better_candidate_passes_and_says_why() -> None:
    looks = watch(1, 0.5, 0.56)
    verdict = judge(looks)
    assert verdict.answer is Answer.PASS
    assert "lower (better) than stable's, 92 % CI" in verdict.reason
    assert "within the margin of 0.0" in verdict.reason
    assert any("margin ruled out at look" in detail for detail in verdict.details)
    assert verdict.estimate is not None
    assert verdict.estimate < 0
    assert 0.05 in verdict.ruled_out


def test_a_worse_candidate_fails_and_stays_failed_whatever_comes_later() -> None:
    looks = watch(2, 0.7, 0.5)
    assert judge(looks).answer is Answer.FAIL
    rows = [dataclasses.replace(row, stratum=Stratum(epoch=9, bucket=0)) for row in list(traffic(3, 0.2, 0.9))[-1]]
    later = take(looks, [*list(traffic(2, 0.7, 0.5))[-1], *rows])
    assert later is not None
    assert later.verdict.estimate is not None
    assert later.verdict.estimate < 0
    assert later.verdict.answer is Answer.FAIL
    assert later.verdict.reason.endswith("an earlier look showed it to be worse, and that stays")


@pytest.mark.parametrize(("candidate", "stable"), [(0.7, 0.5), (0.5, 0.56)], ids=["worse", "better"])
def test_at_the_look_that_decides_the_interval_says_so_too(candidate: float, stable: float) -> None:
    looks = watch(2, candidate, stable)
    first = next(look.verdict for look in looks if look.verdict.answer in {Answer.FAIL, Answer.PASS})
    assert "earlier look" not in first.reason
    if first.answer is Answer.FAIL:
        assert first.low is not None
        assert first.low > 0
    else:
        assert first.high is not None
        assert first.bound is not None
        assert first.high <= first.bound


def test_what_was_ruled_out_stays_ruled_out_and_is_told_so_where_the_interval_has_widened() -> None:
    every = watch(1, 0.5, 0.56)
    looks = every[: next(i for i, look in enumerate(every, start=1) if look.verdict.answer is Answer.PASS)]
    before = list(traffic(1, 0.5, 0.56))[looks[-1].watermark]
    rows = [dataclasses.replace(row, stratum=Stratum(epoch=9, bucket=0)) for row in list(traffic(3, 0.7, 0.55))[9]]
    later = take(looks, [*before, *rows])
    assert later is not None
    assert later.verdict.answer is Answer.PASS
    assert "an earlier look showed it to be within the margin" in later.verdict.reason


def test_the_verdict_is_the_recorded_one_at_every_look() -> None:
    looks = watch(4, 0.53, 0.53)
    assert len(looks) > 20
    for k in range(1, len(looks) + 1):
        assert judge(looks[:k]) == looks[k - 1].verdict


def test_another_process_gives_the_same_bytes() -> None:
    looks = watch(5, 0.53, 0.53)
    program = (
        "import pickle, sys\nfrom sluicegate.flows.gate import judge as gate\n"
        "from sluicegate.registry.plan.plan import Plan\n"
        "plan, looks = pickle.load(sys.stdin.buffer)\nplan = Plan.model_validate(plan)\n"
        "print(repr(gate.verdict(plan=plan, gate=plan.gates[0], guardrail=False, step=1, looks=looks)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps((PLAN.document(), looks)), capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == repr(judge(looks))


def test_a_look_is_taken_only_when_a_grid_point_is_passed() -> None:
    rows = list(traffic(6, 0.5, 0.5))
    first = take([], rows[0])
    assert first is not None
    assert take([first], rows[0]) is None


def test_looks_hold_only_what_is_new_and_add_up_to_everything() -> None:
    looks = watch(7, 0.5, 0.5)
    final = list(traffic(7, 0.5, 0.5))[-1]
    cells: dict[tuple[Stratum, Arm], Tally] = {}
    for row in (row for look in looks for row in look.rows):
        cells[row.stratum, row.arm] = cells.get((row.stratum, row.arm), Tally()) + row.tally
    for row in final:
        if row.stratum.bucket == 0:
            assert cells[row.stratum, row.arm].n == row.tally.n
            assert math.isclose(cells[row.stratum, row.arm].total, row.tally.total)


def test_a_late_row_becomes_a_correction_of_its_old_stratum() -> None:
    rows = list(traffic(8, 0.5, 0.5))
    early, later = rows[5], rows[30]
    first = take([], early)
    assert first is not None
    late = [
        dataclasses.replace(row, tally=row.tally + tally(np.full(50, 0.5))) if row.stratum.bucket == 0 else row
        for row in later
    ]
    second = take([first], late)
    assert second is not None
    correction = [row for row in second.rows if row.stratum.bucket == 0 and row.arm is Arm.STABLE]
    assert correction[0].tally.n == late[0].tally.n - early[0].tally.n


def test_nothing_recorded_is_no_data() -> None:
    verdict = judge([])
    assert verdict.answer is Answer.NO_DATA
    assert verdict.k == 0
    assert verdict.reason


def test_one_arm_alone_is_no_data() -> None:
    rows = [row for row in list(traffic(9, 0.5, 0.5))[-1] if row.arm is Arm.STABLE]
    assert take([], rows) is None


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_sums_that_cannot_be_true_hold_until_they_are_mended(broken: float) -> None:
    rows = list(traffic(10, 0.3, 0.6))[-1]
    bad = [dataclasses.replace(rows[0], tally=rows[0].tally._replace(total=broken)), *rows[1:]]
    held = take([], bad)
    assert held is not None
    assert held.verdict.answer is Answer.NO_DATA
    assert "are impossible" in held.verdict.reason
    more = [
        *rows,
        *(dataclasses.replace(row, stratum=Stratum(epoch=2, bucket=row.stratum.bucket)) for row in rows),
    ]
    mended = take([held], more)
    assert mended is not None
    assert mended.verdict.answer is Answer.PASS


def test_too_many_missing_values_never_pass() -> None:
    rows = [
        dataclasses.replace(row, tally=row.tally._replace(missing=row.tally.n // 20))
        for row in list(traffic(11, 0.3, 0.6))[-1]
    ]
    look = take([], rows)
    assert look is not None
    assert look.verdict.answer is Answer.NO_DATA
    assert "missing" in look.verdict.reason


def test_guardrails_fail_or_say_nothing() -> None:
    calm = errors_look([], count_rows("errors", (3, 2000), (2, 2000)))
    assert calm is not None
    assert calm.verdict.answer is Answer.UNDECIDED
    broken = errors_look([], count_rows("errors", (3, 2000), (60, 2000)))
    assert broken is not None
    assert broken.verdict.answer is Answer.FAIL
    assert broken.verdict.e_value is not None
    assert broken.verdict.e_value > 100


def test_a_gate_without_margin_passes_on_data_without_harm() -> None:
    look = errors_look([], count_rows("errors", (0, 2000), (0, 2000)), guardrail=False)
    assert look is not None
    assert look.verdict.answer is Answer.PASS


def test_a_relative_margin_of_nothing_cannot_be_ruled_out() -> None:
    plan = PLAN.model_copy(update={"gates": (ERRORS.model_copy(update={"margin": 0.2}),)})
    look = gate.next_look(
        rollout="r1", plan=plan, gate=plan.gates[0], guardrail=False, step=0, looks=[],
        rows=count_rows("errors", (0, 2000), (0, 2000)), watermark=0, at=AT,
    )  # fmt: skip
    assert look is not None
    assert look.verdict.answer is Answer.UNDECIDED
    assert "without a single event" in look.verdict.reason


def test_latency_margins_move_the_candidates_threshold() -> None:
    assert [gate_question(PLAN, each).names for each in (LOG_LOSS, P99, ERRORS)] == [
        ("log_loss", REQUESTS, SEVERAL_ROWS), ("p99", "p99>0.2"), ("errors",)
    ]  # fmt: skip
    rows = count_rows("p99", (100, 10000), (130, 10000)) + [
        row for row in count_rows(exceedance_name("p99", 0.2), (0, 0), (40, 10000)) if row.arm is Arm.CANDIDATE
    ]
    look = gate.next_look(
        rollout="r1", plan=PLAN, gate=P99, guardrail=False, step=1, looks=[], rows=rows, watermark=0, at=AT
    )
    assert look is not None
    assert look.verdict.answer is Answer.PASS
    assert "less than 20 % slower" in look.verdict.reason


def test_margins_apply_to_their_step() -> None:
    looks = watch(12, 0.54, 0.53)
    k = next(k for k in range(1, len(looks)) if judge(looks[:k], step=0).answer is Answer.PASS)
    assert judge(looks[:k], step=1).answer is Answer.UNDECIDED


def test_a_verdict_is_json() -> None:
    json.dumps(dataclasses.asdict(judge(watch(13, 0.5, 0.5))), allow_nan=False)


def test_rows_that_do_not_come_in_the_shares_of_the_weights_never_pass() -> None:
    rows = count_rows("errors", (0, 2000), (0, 1700))
    look = errors_look([], rows, guardrail=False)
    assert look is not None
    assert look.verdict.answer is Answer.NO_DATA
    assert "shares" in look.verdict.reason


def test_hashed_units_need_not_come_in_the_shares_of_the_weights() -> None:
    plan = PLAN.model_copy(update={"unit": "x-user-id"})
    look = gate.next_look(
        rollout="r1", plan=plan, gate=ERRORS, guardrail=False, step=0, looks=[],
        rows=count_rows("errors", (0, 2000), (0, 1700)), watermark=0, at=AT,
    )  # fmt: skip
    assert look is not None
    assert look.verdict.answer is Answer.PASS


def test_one_stratum_at_two_weights_is_two() -> None:
    rows = count_rows("errors", (10, 1000), (10, 1000)) + [
        dataclasses.replace(row, weight=1000) for row in count_rows("errors", (90, 1800), (10, 200))
    ]
    look = errors_look([], rows)
    assert look is not None
    assert look.verdict.information == pytest.approx(500 + 180)
    assert errors_look([look], rows) is None


def test_an_uneven_batch_of_rows_is_the_same_look() -> None:
    rows = list(traffic(20, 0.5, 0.5))[-1]
    once, shuffled = take([], rows), take([], rows[::-1])
    assert once == shuffled


def test_how_many_values_count_as_the_declared_cap_is_told() -> None:
    cost = {"source": "outcome", "outcome": "cost", "score": "outcome", "cap": 9.0}
    plan = Plan.model_validate(
        {"model": "m", "metrics": {"cost": cost}, "steps": [{"weight": 50}],
         "gates": [{"metric": "cost", "alpha": 0.03, "margin": "20%"}]}
    )  # fmt: skip
    assert gate_question(plan, plan.gates[0]).names == ("cost", capped_name("cost"), REQUESTS, SEVERAL_ROWS)
    of_all = tally(np.arange(1000) % 10.0)
    values = [dataclasses.replace(row, tally=of_all) for row in count_rows("cost", (0, 1), (0, 1))]

    def details(rows: Sequence[TallyRow]) -> tuple[str, ...]:
        look = gate.next_look(
            rollout="r1", plan=plan, gate=plan.gates[0], guardrail=False, step=0, looks=[], rows=rows, watermark=0,
            at=AT,
        )  # fmt: skip
        assert look is not None
        return look.verdict.details

    capped = count_rows(capped_name("cost"), (100, 1000), (25, 1000))
    assert details([*values, *capped])[-1] == "counted as the cap: 10 % of stable's values, 2.5 % of the candidate's"
    assert not any("cap" in detail for detail in details(values))


FRESH = Plan.model_validate(
    {
        "model": "m", "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
        "gates": [
            {"metric": "errors", "margin": "20%", "below": "20%"}, {"metric": "p99", "alpha": 0.01, "margin": "20%"},
        ],
        "steps": [{"weight": 20, "margins": {"errors": "40%"}}, {"weight": 50}],
    }
)  # fmt: skip


def at_step(step: int, *rows: tuple[int, int, int, int], plan: Plan = FRESH) -> Verdict:
    """The verdict on rows of (epoch, weight, n, events), the same in both builds but for their shares."""
    tallies = [
        TallyRow(
            metric="errors", stratum=Stratum(epoch=epoch, bucket=0), weight=weight, arm=arm,
            tally=Tally.from_events(n * share // 10_000, events * share // 10_000),
        )
        for epoch, weight, n, events in rows
        for arm, share in ((Arm.STABLE, 10_000 - weight), (Arm.CANDIDATE, weight))
    ]  # fmt: skip
    look = gate.next_look(
        rollout="r", plan=plan, gate=plan.gates[0], guardrail=False, step=step, looks=[], rows=tallies, watermark=0,
        at=AT,
    )  # fmt: skip
    assert look is not None
    return look.verdict


def test_the_last_step_passes_on_its_own_rows_alone() -> None:
    before, little, enough = (1, 2000, 80_000, 4_000), (2, 5000, 1_000, 50), (2, 5000, 60_000, 3_000)
    assert at_step(0, before).answer is Answer.PASS
    assert at_step(1, before).reason.endswith("the last step does not have requests of both builds yet")
    assert at_step(1, before, little).answer is Answer.UNDECIDED
    assert "the last step's own 1,000 requests do not yet show it to be within" in at_step(1, before, little).reason
    passed = at_step(1, before, enough)
    assert passed.answer is Answer.PASS
    assert "the last step's own 60,000 requests show it to be within the margin of 1.5 p" in passed.reason
    assert at_step(1, before, (1, 2000, 60_000, 3_000)).answer is Answer.UNDECIDED, "late rows of the first step"
    assert at_step(1, before, (2, 5000, 20_000, 5_000)).reason.count("below 20 %") == 1
    assert at_step(1, before, (4, 5000, 60_000, 3_000)).answer is Answer.PASS, "resumed: another epoch of the step"


@pytest.mark.parametrize(("fresh", "margin"), [({}, 0.3), ({"fresh": "60%"}, 0.6), ({"fresh": "10%"}, 0.1)])
def test_a_plan_says_what_the_last_step_must_rule_out(fresh: dict[str, str], margin: float) -> None:
    document = FRESH.document()
    gates = document["gates"]
    assert isinstance(gates, list)
    plan = Plan.model_validate(document | {"gates": [gates[0] | fresh, gates[1]]})
    assert plan.fresh_margin(plan.gates[0]) == margin
    assert plan.fresh_margin(plan.gates[1]) == 0.2, "durations above a moved threshold are counted at margins only"
    assert plan.model_copy(update={"steps": plan.steps[:1]}).fresh_margin(plan.gates[0]) is None


def test_a_plan_in_which_nothing_is_fresh_says_so() -> None:
    gate = {"metric": "errors", "margin": "20%", "fresh": "30%"}
    for changed in ({"gates": [gate], "steps": [{"weight": 50}]}, {"gates": [], "guardrails": [gate]}):
        document = FRESH.document() | changed | {"metrics": {"errors": {"source": "status"}}}
        with pytest.raises(ValueError, match="fresh is for a gate that must rule out a margin"):
            Plan.model_validate(document)
