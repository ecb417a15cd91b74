"""What telemetry adds to a report: requests by weight, outcomes, and whether shares are as asked."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest

from sluicegate.flows.stats.share_evidence import share_p_value
from sluicegate.flows.views.evidence import evidence
from sluicegate.registry.report.report import ArmCounts, OutcomeCoverage, RequestsByArm
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.reading.queries import Latency
from tests.acceptance.given import PLAN, Given


class Telemetry:
    """Counts as given."""

    def __init__(self, seen: dict[int, tuple[int, int]]) -> None:
        self._seen = seen

    def all_requests_by_arm(
        self, wanted: Collection[tuple[str, int | None]]
    ) -> dict[tuple[str, int | None], RequestsByArm]:
        return {(rollout, epoch): self._of(epoch or 0) for rollout, epoch in wanted}

    def _of(self, epoch: int) -> RequestsByArm:
        stable, candidate = self._seen.get(epoch, (0, 0))
        return RequestsByArm(
            stable=ArmCounts(requests=stable), candidate=ArmCounts(requests=candidate, failed=1 if candidate else 0)
        )

    def coverage(self, rollout: str, metric: str) -> OutcomeCoverage:
        return OutcomeCoverage(metric=metric, exposures=100, labelled=60, pending=5)

    def latencies(self, rollouts: Collection[str]) -> dict[str, dict[Arm, Latency]]:
        found = {Arm.CANDIDATE: Latency(requests=7, p50=0.01, p95=0.02, p99=0.03, counts={})}
        return dict.fromkeys(rollouts, found)


def rollout(unit: str | None = None) -> Rollout:
    given = Given(PLAN | ({"unit": unit} if unit else {}))
    given.ticks()
    return given.rollout


WEIGHTS = {0: 0, 1: 1000, 2: 2500}


def test_requests_and_outcomes_are_told_by_weight_and_metric() -> None:
    found = evidence(Telemetry({0: (50, 0), 1: (900, 100)}), rollout(), WEIGHTS)
    assert [(e.epoch, e.stable.requests, e.candidate.requests, e.candidate.failed) for e in found.exposures] == [
        (0, 50, 0, 0),
        (1, 900, 100, 1),
    ]
    assert [(c.metric, c.share, c.pending) for c in found.coverage] == [("log_loss", 0.6, 5)]
    assert [(lat.arm, lat.requests, lat.p50, lat.p99) for lat in found.latency] == [("candidate", 7, 10.0, 30.0)]


@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        ({1: (9_000, 1_000), 2: (7_480, 2_520)}, "OK"),
        ({1: (9_000, 1_000), 2: (8_500, 1_500)}, "MISMATCH"),
        ({1: (0, 200)}, "MISMATCH"),
        ({0: (500, 0)}, "NOT TESTED"),
    ],
)
def test_shares_are_held_against_the_weights_asked(seen: dict[int, tuple[int, int]], answer: str) -> None:
    assert evidence(Telemetry(seen), rollout(), WEIGHTS).sample_ratio.answer == answer


def test_shares_of_units_that_return_are_not_held_against_chance() -> None:
    found = evidence(Telemetry({1: (9_000, 2_000)}), rollout("x-user-id"), WEIGHTS).sample_ratio
    assert (found.answer, found.p_value) == ("NOT TESTED", None)
    assert "x-user-id" in found.reason


def test_looking_at_every_hundred_requests_alarms_no_oftener_than_promised() -> None:
    """Type-I of the running minimum: the promise is 5 %, over 400 streams of 6,000 requests looked at 60 times."""
    chance, alarms = random.Random(3), 0
    for _ in range(400):
        candidate = stable = 0
        for _ in range(60):
            drawn = sum(chance.random() < 0.1 for _ in range(100))
            candidate, stable = candidate + drawn, stable + 100 - drawn
            if share_p_value([(0.1, candidate, stable)]) < 0.05:
                alarms += 1
                break
    assert alarms / 400 <= 0.05
