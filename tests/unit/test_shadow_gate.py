"""The gates of a shadow: what passes, what fails, what is not known; and that a look is judged again alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from sluicegate.flows.gate.design import gates_of
from sluicegate.flows.gate.judge import next_look, verdict
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow, difference_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Look, Verdict
from tests.plans import plan_from_values

AT = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = {
    "errors": {"source": "status"}, "flips": {"source": "disagreement"},
    "p99": {"source": "latency", "quantile": 0.99},
    "late": {"source": "outcome", "outcome": "late", "score": "absolute_error", "cap": 60},
}  # fmt: skip


def plan(gate: dict[str, object], *, guardrail: bool = False) -> Plan:
    section = "guardrails" if guardrail else "gates"
    other = "gates" if guardrail else "guardrails"
    values = {
        "kind": "plan", "model": "m", "strategy": "shadow", "steps": [{"weight": 10}],
        "metrics": {gate["metric"]: METRICS[str(gate["metric"])]},
        "shadow": {"sample": 20, "max_time": "2h", section: [gate], other: []},
    }  # fmt: skip
    return staged(plan_from_values(values, where="plan"), "shadow")


def rows(metric: str, stable: np.ndarray, candidate: np.ndarray, *, moved: str | None = None) -> tuple[TallyRow, ...]:
    """The cumulative tallies of these pairs, over two strata as the collector would have them."""
    names = [(metric, Arm.STABLE, stable), (metric, Arm.CANDIDATE, candidate)]
    names += [(difference_name(metric), Arm.CANDIDATE, candidate - stable)]
    return tuple(
        TallyRow(metric=name, stratum=Stratum(epoch=1, bucket=bucket), weight=2_000, arm=arm, tally=_tally(some))
        for name, arm, values in names
        for bucket, some in enumerate(np.array_split(values, 2))
    )


def _tally(values: np.ndarray) -> Tally:
    known = values[np.isfinite(values)]
    if not known.size:
        return Tally(missing=values.size)
    return Tally(
        n=int(known.size), missing=int(values.size - known.size), total=float(known.sum()),
        squares=float((known**2).sum()), cubes=float((known**3).sum()),
    )  # fmt: skip


def watched(gate: dict[str, object], stable: np.ndarray, candidate: np.ndarray, step: int = 50) -> Verdict:
    """The answer after looking at every 50 pairs."""
    return judged(gate, stable, candidate, step)[-1].verdict


def judged(gate: dict[str, object], stable: np.ndarray, candidate: np.ndarray, step: int = 50) -> list[Look]:
    followed, looks = plan(gate), list[Look]()
    for n in range(step, len(stable) + 1, step):
        look = next_look(
            rollout="s", plan=followed, gate=followed.gates[0], guardrail=False, step=0, looks=looks,
            rows=rows(str(gate["metric"]), stable[:n], candidate[:n]), watermark=n, at=AT,
        )  # fmt: skip
        if look is not None:
            looks.append(look)
    return looks


def ones(n: int, many: int) -> np.ndarray:
    """`many` ones spread evenly over n."""
    found = np.zeros(n)
    found[np.linspace(0, n - 1, many).astype(int)] = 1
    return found


def test_answers_that_differ_less_than_the_cap_pass_and_more_fail() -> None:
    gate = {"metric": "flips", "below": "2%"}
    assert watched(gate, np.zeros(2_000), ones(2_000, 4)).answer is Answer.PASS
    failed = watched(gate, np.zeros(2_000), ones(2_000, 120))
    assert failed.answer is Answer.FAIL
    assert "more than the 2 % that the plan allows" in failed.reason
    assert watched(gate, np.zeros(100), ones(100, 1)).answer is Answer.UNDECIDED


def test_a_pass_whose_interval_reaches_above_the_limit_says_which_test_decides() -> None:
    gate = {"metric": "flips", "below": "5%"}
    early, late = (watched(gate, ones(n, 0), ones(n, 0)) for n in (100, 2_000))
    assert (early.answer, late.answer) == (Answer.PASS, Answer.PASS)
    assert early.high is not None
    assert early.high > 0.05
    assert early.reason.endswith(
        "shown to stay below 5 % by the one-sided test that decides; the interval is two-sided, and so wider"
    )
    assert late.high is not None
    assert late.high < 0.05
    assert late.reason.endswith("shown to stay below 5 %")


def test_errors_are_judged_by_the_pairs_that_differ() -> None:
    """Both fail at the same bad requests: unpaired rates are equal and high, and nothing is held against either."""
    both, more = ones(3_000, 600), ones(3_000, 600)
    more[np.flatnonzero(both == 0)[:40]] = 1
    gate = {"metric": "errors", "margin": "5%"}
    assert watched(gate, both, both.copy()).answer is Answer.PASS
    assert watched(gate, both, more).answer is Answer.FAIL
    assert watched(gate, more, both).answer is Answer.PASS


def test_a_margin_on_errors_is_relative_to_those_of_stable() -> None:
    stable, candidate = ones(5_000, 500), ones(5_000, 500)
    candidate[np.flatnonzero(candidate == 0)[:600:100]] = 1
    candidate[np.flatnonzero(stable == 1)[:400:100]] = 0
    assert watched({"metric": "errors", "margin": "10%"}, stable, candidate).answer is Answer.PASS
    assert watched({"metric": "errors", "margin": "0.5%"}, stable, candidate).answer is not Answer.PASS


def test_real_losses_are_compared_request_by_request() -> None:
    rng = np.random.default_rng(5)
    stable = rng.gamma(2.0, 5.0, 3_000)
    worse, alike = stable + rng.normal(0.5, 1.0, 3_000), stable + rng.normal(-0.05, 0.5, 3_000)
    gate = {"metric": "late", "margin": "2%"}
    assert watched(gate, stable, worse).answer is Answer.FAIL
    passed = watched(gate, stable, alike)
    assert passed.answer is Answer.PASS
    assert passed.estimate == pytest.approx(-0.05, abs=0.04)
    assert passed.low is not None
    assert passed.low < passed.estimate < (passed.high or 0)  # type: ignore[operator]


def test_a_slower_candidate_fails_and_a_margin_moves_its_threshold() -> None:
    gate = {"metric": "p99", "margin": "50%"}
    followed = plan(gate)
    stable, slower, moved = ones(4_000, 40), ones(4_000, 44), ones(4_000, 4)
    told = [*rows("p99", stable, slower), *rows("p99>0.5", stable, moved)]
    (look,) = filter(None, [next_look(
        rollout="s", plan=followed, gate=followed.gates[0], guardrail=False, step=0, looks=(), rows=told, watermark=1,
        at=AT,
    )])  # fmt: skip
    assert look.verdict.answer is Answer.PASS
    assert watched(gate, ones(4_000, 40), ones(4_000, 160)).answer is Answer.FAIL


def test_pairs_without_a_value_are_no_match() -> None:
    candidate = np.zeros(2_000)
    candidate[::50] = np.nan
    judged_so = watched({"metric": "flips", "below": "2%"}, np.zeros(2_000), candidate)
    assert (judged_so.answer, judged_so.missing) == (Answer.NO_DATA, 40)


def test_without_pairs_there_is_no_data_and_a_guardrail_never_passes() -> None:
    gate = plan({"metric": "errors"}, guardrail=True)
    told = verdict(plan=gate, gate=gate.guardrails[0], guardrail=True, step=0, looks=())
    assert told.answer is Answer.NO_DATA
    look = next_look(
        rollout="s", plan=gate, gate=gate.guardrails[0], guardrail=True, step=0, looks=(),
        rows=rows("errors", np.zeros(500), np.zeros(500)), watermark=1, at=AT,
    )  # fmt: skip
    assert look is not None
    assert look.verdict.answer is Answer.UNDECIDED


def test_a_look_is_taken_at_each_grid_point_once() -> None:
    looks = judged({"metric": "flips", "below": "2%"}, np.zeros(1_000), np.zeros(1_000), step=10)
    seen = [look.verdict.candidate_n for look in looks]
    grid = [*range(10, 111, 10), 121, 133.1, 146.4, 161.1, 177.2]
    assert seen[: len(grid)] == [10 * math.ceil(point / 10) for point in grid]
    assert seen[-8:] == list(range(610, 1_000, 50))


@pytest.mark.parametrize("metric", ["flips", "errors", "late"])
def test_recorded_looks_are_judged_again_alike(metric: str) -> None:
    rng = np.random.default_rng(8)
    stable = rng.random(1_000) if metric == "late" else (rng.random(1_000) < 0.2).astype(float)
    candidate = stable + rng.normal(0, 0.1, 1_000) if metric == "late" else (rng.random(1_000) < 0.2).astype(float)
    gate = {"metric": metric, "below": "2%"} if metric == "flips" else {"metric": metric, "margin": "10%"}
    looks: Sequence[Look] = [look_from_json(look_to_json(look)) for look in judged(gate, stable, candidate)]
    rejudged = list(rejudge(plan(gate), lambda _: looks, gates_of(plan(gate))))
    assert len(rejudged) == len(looks) > 5
    assert all(look.is_same for look in rejudged)
