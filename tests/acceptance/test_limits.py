"""Limits whatever stable does: a quantile below a time, a rate below a share; as gates and as guardrails."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.gate.judge import next_look
from sluicegate.flows.rehearsal.certify import certify
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Frozen
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer
from tests.acceptance.given import START, Given

ROOT = Path(__file__).parents[2]
BASE: dict[str, Any] = {"model": "delays", "steps": [{"weight": 50}], "expect": {"requests_per_day": 20000}}
P99 = {"metrics": {"p99": {"source": "latency", "quantile": 0.99}}}
FAST = {**BASE, **P99, "gates": [{"metric": "p99", "below": "300ms", "alpha": 0.02}]}
FEW = {
    **BASE,
    "metrics": {"errors": {"source": "status"}, "contract": {"source": "contract"}},
    "gates": [{"metric": "contract", "below": "5%", "alpha": 0.01}],
    "guardrails": [{"metric": "errors", "below": "2%", "alpha": 0.01}],
}


class Counting(Given):
    """Traffic of which so much is 1: `rates` by metric, of stable and of the candidate."""

    def __init__(self, plan: dict[str, Any], **rates: tuple[float, float]) -> None:
        super().__init__(plan)
        self.rates, self.drawn = rates, np.random.default_rng(5)
        self.ticks()

    def sends(self, requests: int) -> Counting:
        rollout = self.rollout
        stratum = Stratum(epoch=rollout.epoch, bucket=int(self.now.timestamp()) // 300 * 300)
        self.serves()
        for name, rates in self.rates.items():
            mine = requests * rollout.weight // 10_000
            for arm, rate, n in zip(Arm, rates, (requests - mine, mine), strict=True):
                key = (name, stratum, rollout.weight, arm)
                new = Tally.from_events(n, int(self.drawn.binomial(n, rate)))
                self.traffic.sums[key] = self.traffic.sums.get(key, Tally()) + new
        self.traffic.watermark += requests
        self.ticks()
        return self

    def sends_all(self, requests: int) -> Rollout:
        for _ in range(requests // 200):
            if self.rollout.phase is Phase.RUNNING:
                self.sends(200)
        return self.rollout


def test_a_quantile_shown_below_its_time_passes_although_stable_is_faster() -> None:
    given = Counting(FAST, p99=(0.0, 0.004))
    rollout = given.sends_all(20_000)
    assert rollout.phase is Phase.BAKING
    assert "; shown to stay below 1 %" in rollout.judgements["p99"].reason


def test_a_quantile_shown_above_its_time_is_stopped_although_stable_is_slower() -> None:
    rollout = Counting(FAST, p99=(0.08, 0.03)).sends_all(20_000)
    assert rollout.ending is Ending.ABORTED
    assert "the share of requests slower than 300 ms is" in rollout.reason
    assert "shown not to stay below 1 %" in rollout.reason


def test_the_time_is_the_threshold_from_the_first_request_on_without_any_history() -> None:
    given = Counting(FAST, p99=(0.0, 0.0))
    frozen = [entry.fact for entry in given.ledger.entries(given.name) if isinstance(entry.fact, Frozen)]
    assert frozen == [Frozen(metric="p99", threshold=0.3, rows=0)]


def test_a_guardrail_with_a_limit_stops_for_nothing_else() -> None:
    worse = Counting(FEW, errors=(0.0005, 0.012), contract=(0.0, 0.0))
    assert worse.sends_all(8_000).phase is Phase.BAKING  # far worse than stable, and within the limit
    broken = Counting(FEW, errors=(0.2, 0.05), contract=(0.05, 0.05))
    rollout = broken.sends_all(8_000)
    assert (rollout.ending, rollout.reason.split(":")[0]) == (Ending.ABORTED, "errors failed")


def test_a_limit_is_held_against_the_candidate_at_the_last_step_once_more() -> None:
    ramp = {**FAST, "steps": [{"weight": 10}, {"weight": 50}]}
    given = Counting(ramp, p99=(0.0, 0.0))
    while given.rollout.step == 0:
        given.sends(200)
    given.rates = {"p99": (0.0, 0.012)}
    assert given.sends_all(2_000).phase is not Phase.BAKING


@pytest.mark.parametrize("rate", [0.01, 0.007])
def test_a_rate_at_the_limit_is_seldom_passed_and_seldom_stopped(rate: float) -> None:
    """Twenty looks each; alpha 2 % and beta 5 % hold however often one looks."""
    plan = Plan.model_validate({**FAST, "unit": None})
    answers = []
    for run in range(60):
        rng, looks, sums = np.random.default_rng((3, run)), (), {arm: Tally() for arm in Arm}
        for at in range(20):
            for arm in Arm:
                sums[arm] += Tally.from_events(150, int(rng.binomial(150, rate)))
            rows = [
                TallyRow(metric="p99", stratum=Stratum(epoch=1, bucket=0), weight=5000, arm=arm, tally=tally)
                for arm, tally in sums.items()
            ]
            look = next_look(rollout="r", plan=plan, gate=plan.gates[0], guardrail=False, step=0, looks=looks,
                             rows=rows, watermark=at, at=START)  # fmt: skip
            looks = (*looks, look) if look is not None else looks
        answers.append(looks[-1].verdict.answer)
    assert answers.count(Answer.FAIL) <= 5  # binomial(60, 0.02) is more with a chance below 1 %
    if rate == 0.01:
        assert answers.count(Answer.PASS) <= 8  # binomial(60, 0.05)


def test_certify_rehearses_limits() -> None:
    guarded = {**FAST, "metrics": {**P99["metrics"], "errors": {"source": "status"}}}
    guarded["guardrails"] = [{"metric": "errors", "below": "2%", "alpha": 0.02}]
    checks = certify(Plan.model_validate(guarded), {}, runs=6).checks
    assert [f"{check.metric}: {check.name}: {check.reason}" for check in checks if not check.ok] == []
    assert {"harm not promoted", "planted harm"} <= {check.name for check in checks if check.metric == "p99"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gates": [{"metric": "p99", "below": "300"}]}, "not a limit: '300'; write a share such as 1%"),
        ({"gates": [{"metric": "p99", "below": "0s"}]}, "write a time above 0s, at most 10m"),
        ({"gates": [{"metric": "p99", "below": "120%"}]}, "write a share above 0% and below 100%"),
        ({"gates": [{"metric": "p99", "below": "300ms", "margin": "5%"}]}, "so it cannot have a margin"),
        (
            {"gates": [{"metric": "p99", "below": "300ms"}], "steps": [{"weight": 50, "margins": {"p99": "5%"}}]},
            "so it cannot have a margin",
        ),
        (
            {"metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "below": "300ms"}]},
            "is a limit for a quantile of latency; errors is not one",
        ),
        (
            {"metrics": {"mean": {"source": "latency", "cap": 10}}, "guardrails": [{"metric": "mean", "below": "2%"}],
             "gates": []},
            "below is for rates of failures; mean is not one",
        ),
        (
            {"strategy": "shadow", "shadow": {"sample": 20, "max_time": "1h",
                                              "gates": [{"metric": "p99", "below": "300ms"}]}},
            "a shadow answers copies",
        ),
    ],
)  # fmt: skip
def test_limits_that_mean_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.model_validate({**FAST, **changes})


def test_a_limit_comes_back_as_it_was_written() -> None:
    plan = Plan.model_validate(FAST)
    assert plan.document()["gates"][0]["below"] == "300ms"  # type: ignore[index]
    assert Plan.model_validate(plan.document()) == plan


def test_the_how_to_shows_what_a_limit_says() -> None:
    given = Counting({**FAST, "guardrails": [{"metric": "errors", "below": "2%", "alpha": 0.01}],
                      "metrics": {**P99["metrics"], "errors": {"source": "status"}}},
                     p99=(0.002, 0.003), errors=(0.001, 0.004))  # fmt: skip
    given.sends_all(2_000)
    text = (ROOT / "docs/how-to/write-a-plan.md").read_text()
    for line in tree(asdict(rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now))).splitlines():
        if line.startswith("|  "):
            assert line in text
