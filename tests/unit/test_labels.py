"""Labels that do not come alike: what a gate says of them, and what would mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.cells import Tallies, cell, with_rows
from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.fold import fold
from sluicegate.flows.gate.labels import LabelTest, lacking
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.log_rank import Events
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import REQUESTS, SEVERAL_ROWS, Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer, Look, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
WRONG = {"source": "outcome", "outcome": "y", "score": "zero_one", "prediction": {"column": "p"}}
PLAN = Plan.model_validate(
    {
        "model": "m", "metrics": {"y": WRONG, "z": WRONG}, "gates": [{"metric": "y", "margin": "50%"}],
        "guardrails": [{"metric": "z"}], "steps": [{"weight": 50}],
    }
)  # fmt: skip


def rows(metric: str, counts: Sequence[tuple[int, Arm, int, int, int]], *, bucket_of: int = 300) -> list[TallyRow]:
    """Cumulative rows of (bucket, arm, requests, labels, bad ones)."""
    return [
        TallyRow(
            metric=name, stratum=Stratum(epoch=1, bucket=int(START.timestamp()) + bucket_of * bucket), weight=5000,
            arm=arm, tally=tally,
        )
        for bucket, arm, requests, labels, bad in counts
        for name, tally in ((REQUESTS, Tally(n=requests)), (metric, Tally.from_events(labels, bad)))
    ]  # fmt: skip


def judged(looks: Sequence[list[TallyRow]], *, plan: Plan = PLAN, guardrail: bool = False) -> Verdict:
    """The verdict of the last look; hours lie between them, and each verdict is the recorded one again."""
    the_gate, taken = (plan.guardrails if guardrail else plan.gates)[0], list[Look]()
    for k, each in enumerate(looks, start=1):
        look = gate.next_look(
            rollout="r", plan=plan, gate=the_gate, guardrail=guardrail, step=0, looks=taken, rows=each, watermark=0,
            at=START + timedelta(hours=k),
        )  # fmt: skip
        assert look is not None
        taken.append(look)
        assert gate.verdict(plan=plan, gate=the_gate, guardrail=guardrail, step=0, looks=taken) == look.verdict
    return taken[-1].verdict


def both(
    stable: tuple[int, int, int], candidate: tuple[int, int, int], bucket: int = 0
) -> list[tuple[int, Arm, int, int, int]]:
    return [(bucket, Arm.STABLE, *stable), (bucket, Arm.CANDIDATE, *candidate)]


LATE = rows("y", both((2_000, 1_900, 190), (2_000, 1_000, 100)))
LOST = rows("y", both((2_000, 2_000, 200), (2_000, 1_800, 180)) + both((100, 90, 9), (100, 90, 9), 40))
ALIKE = rows("y", both((20_000, 19_000, 1_900), (20_000, 19_000, 1_900)))


def test_labels_that_come_late_in_one_build_are_no_data_and_say_what_would_mend_it() -> None:
    verdict = judged([LATE])
    assert verdict.answer is Answer.NO_DATA
    assert verdict.reason == (
        "y: labels arrive at different rates: 95 % of stable's requests have one, 50 % of the candidate's; write "
        "matures_after: 1h, by then nearly all have come"
    )


def test_labels_that_are_lost_are_told_from_late_ones() -> None:
    first = rows("y", both((2_000, 2_000, 200), (2_000, 1_800, 180)))
    verdict = judged([first, LOST, [*LOST, *rows("y", both((10_000, 9_990, 999), (10_000, 9_000, 900), 41))]])
    assert verdict.answer is Answer.NO_DATA
    assert "labels arrive at different rates" in verdict.reason


@pytest.mark.parametrize("metric", ["y", "z"])
def test_gate_and_guardrail_wait_and_do_not_fail(metric: str) -> None:
    worse = rows(metric, both((2_000, 1_000, 50), (2_000, 1_900, 400)))
    assert judged([worse], guardrail=metric == "z").answer is Answer.NO_DATA
    as_many = rows(metric, both((2_000, 1_900, 100), (2_000, 1_900, 400)))
    assert judged([as_many], guardrail=metric == "z").answer is Answer.FAIL


def test_labels_that_come_alike_pass() -> None:
    assert judged([ALIKE]).answer is Answer.PASS


def test_what_is_lacking_is_taken_for_bad_before_anything_passes() -> None:
    few = rows("y", both((600, 560, 56), (600, 530, 42)))
    assert judged([few]).answer is not Answer.PASS
    without_requests = [row for row in few if row.metric == "y"]
    assert judged([without_requests]).reason != judged([few]).reason


@pytest.mark.parametrize("arm", Arm)
def test_several_rows_a_request_are_not_counted_as_labels_of_requests(arm: Arm) -> None:
    several = [
        TallyRow(
            metric=SEVERAL_ROWS, stratum=LATE[0].stratum, weight=5000, arm=arm, tally=Tally.from_events(1, 1)
        )
    ]  # fmt: skip
    uneven = rows("y", both((20_000, 18_990, 1_899), (20_000, 18_600, 1_860)))
    assert judged([uneven]).answer is Answer.NO_DATA
    assert "alike" not in judged([[*uneven, *several]]).reason


def test_what_a_build_lacks_is_a_share_of_what_would_have_come() -> None:
    side = (LATE[0].stratum, 5000)
    tallies = {(row.metric, side, row.arm): row.tally for row in LATE}
    stable, candidate = lacking("y", tallies)
    assert (stable.share, candidate.share) == (0, pytest.approx(1 - 1_000 / 1_900))
    assert [each.share for each in lacking("y", {})] == [0, 0]


def test_what_the_candidate_has_more_of_is_taken_for_bad_and_what_it_lacks_for_bad_too() -> None:
    """Where half of the good ones get no label, 25 % more bad ones look like 17 %, and more of its labels come."""
    state = fold(
        gate_question(PLAN, PLAN.gates[0]), [tuple(rows("y", both((2_000, 1_400, 800), (2_000, 1_500, 1_000))))]
    )
    share, rate = 1 - 1_400 / 1_500, 800 / 1_400
    assert state.doubt_of_lacking(Arm.CANDIDATE) == pytest.approx(share * rate)
    assert state.doubt_of_lacking(Arm.STABLE) == pytest.approx(share * (1 - rate))
    assert rate * 1.25 == pytest.approx(1_000 / 1_500 + share * rate, abs=0.01)


def directly(test: LabelTest, before: Tallies, now: Tallies) -> LabelTest:
    """The test after a look, from all cells that there are."""

    def count(tallies: Tallies, metric: str, side: tuple[Stratum, int]) -> list[int]:
        return [sum(tallies.get((metric, side, arm), Tally())[:2]) for arm in Arm]

    new, ages = list[Events](), Counter(test.ages)
    newest = max(side[0].bucket for name, side, _ in now if name == REQUESTS)
    for side in {side for name, side, _ in now if name == REQUESTS}:
        seen, had, has = count(now, REQUESTS, side), count(before, "y", side), count(now, "y", side)
        mine, events = has[1] - had[1], sum(has) - sum(had)
        if events:
            draw = Draw(size=seen[1] - had[1], others=seen[0] - had[0], events=events, mine=mine)
            new.append(Events(draw=draw, rows=sum(seen)))
            ages[newest - side[0].bucket] += events
    told = [(side[1] / FULL, tally) for (name, side, _), tally in now.items() if name == "y"]
    information = sum((tally.n + tally.missing) * share * (1 - share) for share, tally in told)
    few = test.few.look([events.mirrored for events in new], information)
    return replace(test, many=test.many.look(new, information), few=few, ages=dict(ages))


@pytest.mark.parametrize("late", [1.0, 3.0])
def test_a_look_at_what_is_new_gives_what_a_look_at_all_of_it_gives(late: float) -> None:
    rng, tallies = np.random.default_rng(6), dict[tuple[str, tuple[Stratum, int], Arm], Tally]()
    quick = direct = LabelTest.begin(1_000.0)
    asked, arm, weight = np.sort(rng.uniform(0, 30, 3_000)), rng.random(3_000) < 0.4, np.repeat([2500, 5000], 1_500)
    due = asked + rng.exponential(np.where(arm, late, 1.0))
    for now in range(1, 30):
        rows = [
            TallyRow(
                metric=metric, stratum=Stratum(epoch=1, bucket=300 * bucket), weight=each, arm=whose,
                tally=Tally(n=int(n) - 1, missing=1) if metric == "y" else Tally(n=int(n)),
            )
            for metric, at in ((REQUESTS, asked), ("y", due))
            for bucket in range(now)
            for each in (2500, 5000)
            for whose in Arm
            for here in [(at > now - 1) & (at <= now) & (weight == each) & (arm == (whose is Arm.CANDIDATE))]
            if (n := (here & (asked.astype(int) == bucket)).sum())
        ]  # fmt: skip
        before, tallies = tallies, dict(with_rows(tallies, sorted(rows, key=cell)))
        quick, direct = quick.look("y", before, tallies, rows, have_returned=False), directly(direct, before, tallies)
        assert dict(quick.ages) == dict(direct.ages)
        assert quick.newest == max(side[0].bucket for name, side, _ in tallies if name == REQUESTS)
        for one, other in ((quick.many, direct.many), (quick.few, direct.few)):
            assert (one.observed, one.rejected) == (other.observed, other.rejected)
            assert one.information == pytest.approx(other.information, rel=1e-12)
            assert one.lattice.masses == pytest.approx(other.lattice.masses, rel=1e-9)
    assert quick.mismatch is (late > 1)
    assert quick.is_countable


def test_the_last_step_s_own_rows_have_an_interval_that_missing_labels_are_held_against() -> None:
    spec = {"source": "outcome", "outcome": "late", "score": "outcome", "range": [0, 1], "matures_after": "1h"}
    document = {
        "model": "m",
        "metrics": {"late": spec},
        "gates": [{"metric": "late", "alpha": 0.05, "margin": "20%"}],
        "steps": [{"weight": 10}, {"weight": 50}],
    }
    plan = Plan.model_validate(document)
    fresh = gate_question(plan, plan.gates[0]).fresh
    assert fresh is not None
    assert fresh.design.rungs[-1].margin == 0.0, (
        "without it the interval ends at the margin, and no label may be missing"
    )
