"""Callers that leave: an error of the arm they were assigned to, so that a build that hangs is stopped.

Fair between the arms: chance alone decides which arm a caller meets, so callers who leave for reasons of their own
leave both as often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.flows.gate.judge import next_look
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import arm_errors
from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.tally import UnitSums
from sluicegate.registry.words.verdict import Answer, Verdict
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.telemetry_rig import Rig

PLAN = Plan.model_validate({
    "model": "delays",
    "metrics": {"errors": {"source": "status"}},
    "guardrails": [{"metric": "errors", "alpha": 0.01}],
    "steps": [{"weight": 10}],
})  # fmt: skip
LEFT = {"status": 0, "flags": "DC", "details": "downstream_remote_disconnect", "dur_us": None, "upstream": None}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    spec = RolloutSpec(rollout="r1", metrics=dict(PLAN.metrics))
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl", {"r1": spec})
    yield rig
    rig.store.close()


def serve(rig: Rig, leaves: Callable[[bool, random.Random], bool], *, requests: int = 2_000, seed: int = 1) -> None:
    rng = random.Random(seed)
    for number in range(requests):
        is_candidate = rng.random() < 0.1
        ours = {"assigned": assigned("candidate" if is_candidate else "stable")}
        ours["upstream"] = "2" if is_candidate else "1"
        gone = LEFT if leaves(is_candidate, rng) else {}
        rig.write(line(f"q{number}", ts=str(START_US + number * 1_000), **ours | gone))
    rig.collect()


def judge(rig: Rig) -> Verdict:
    watermark, rows = rig.queries.tallies("r1")
    look = next_look(
        rollout="r1", plan=PLAN, gate=PLAN.guardrails[0], guardrail=True, step=0, looks=(), watermark=watermark,
        rows=rows, at=rig.now,
    )  # fmt: skip
    assert look is not None
    return look.verdict


def test_a_candidate_that_hangs_until_callers_leave_is_stopped(rig: Rig) -> None:
    serve(rig, lambda is_candidate, _: is_candidate, requests=300)
    verdict = judge(rig)
    assert verdict.answer is Answer.FAIL
    assert (verdict.candidate_mean, verdict.stable_mean) == (1.0, 0.0)
    assert rig.queries.progress("r1", 1) == 0
    assert rig.queries.counters()[Count.ABANDONED] == rig.queries.requests_by_arm("r1").candidate.abandoned > 0


@pytest.mark.parametrize("seed", range(5))
def test_callers_who_leave_both_arms_as_often_stop_nothing(rig: Rig, seed: int) -> None:
    serve(rig, lambda _, rng: rng.random() < 0.3, seed=seed)
    assert judge(rig).answer is Answer.UNDECIDED


def test_callers_who_leave_stable_more_often_stop_nothing(rig: Rig) -> None:
    serve(rig, lambda is_candidate, rng: not is_candidate and rng.random() < 0.3)
    assert judge(rig).answer is Answer.UNDECIDED


def test_leaving_after_another_try_is_one_error_and_not_two(rig: Rig) -> None:
    rig.write(line("a", assigned=assigned("candidate"), **LEFT | {"attempts": 2}))
    rig.collect()
    assert rig.sums("errors", "candidate") == (1, 0, 1.0)
    seen = rig.queries.requests_by_arm("r1").candidate
    assert (seen.failed, seen.abandoned) == (1, 0)


def test_who_left_is_an_error_by_unit_and_in_the_last_minute_too(rig: Rig) -> None:
    spec = RolloutSpec(rollout="r1", metrics=dict(PLAN.metrics), by_unit=True)
    rig.specs["r1"] = spec
    rig.write(line("a", assigned=assigned("candidate"), **LEFT), line("b"))
    rig.now = START + timedelta(seconds=5)
    rig.collect()
    row = rig.tally("errors", "candidate")
    assert row is not None
    assert row.units == UnitSums.from_unit(1.0, 1)
    assert {each.build: each.error_share for each in rig.queries.recent(["delays"])["delays"]} == {"1": 0.0, "2": 1.0}


def test_answers_that_their_callers_closed_stop_nothing_and_every_page_tells_the_same_figures(rig: Rig) -> None:
    """As in the issue: 8 % of callers close once they have the headers; a healthy build shows no error."""
    closed = {"status": 200, "flags": "DC", "details": "downstream_remote_disconnect", "dur_us": None}
    for number in range(600):
        ours = {"assigned": assigned("candidate"), "upstream": "2"} if number % 4 == 0 else {}
        end = closed if number % 12 == 0 else {}
        rig.write(line(f"q{number}", ts=str(START_US + number * 1_000), **ours | end))
    rig.write(line("l", assigned=assigned("candidate"), **LEFT), line("5", status=500))
    rig.collect()
    assert rig.sums("errors", "candidate") == (151, 0, 1.0)
    assert rig.sums("errors", "stable") == (451, 0, 1.0)
    seen = rig.queries.requests_by_arm("r1")
    assert seen.candidate.ends == {End.ANSWERED: 100, End.CLOSED: 50, End.LEFT: 1}
    assert sum(seen.stable.ends.values()) == seen.stable.requests == 451
    stable, candidate = arm_errors([seen])
    assert (candidate.errors, candidate.closed, candidate.causes["left"]) == (1, 50, 1)
    assert (
        str(candidate) == "1 of 151 requests: 1 caller left; 50 answers were closed by their callers, which is no error"
    )
    assert str(stable) == "1 of 451 requests: 1 5xx"
    assert rig.queries.requests_by_arm("r1", 1) == seen
    assert rig.queries.requests_by_arm("r1", 2).candidate.ends == {}
