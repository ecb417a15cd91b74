"""Labels that come sooner, later or less often in one build are seen before they decide, whichever build it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.log_rank import Events, LogRankTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.plan.plan import Plan
from tests.statistics.late_labels import Labels, last_verdict
from tests.statistics.montecarlo import share
from tests.statistics.rare import Odds, chance

ALPHA = BETA = 0.05
WRONG = {"source": "outcome", "outcome": "y", "score": "zero_one", "prediction": {"column": "p"}}
PLAN = Plan.model_validate(
    {
        "model": "m", "metrics": {"y": WRONG}, "gates": [{"metric": "y", "margin": "25%", "beta": BETA}],
        "steps": [{"weight": 50}], "expect": {"requests_per_day": 20_000},
    }
)  # fmt: skip
LOW = PLAN.model_copy(update={"expect": PLAN.expect.model_copy(update={"requests_per_day": 720})})
RUNS = [8, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(0)])]
DAY = 20_000.0
ROWS, SIZE, COME = 6_000, 200, 0.9


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two builds."""

    stable: Labels
    candidate: Labels


SLOW, FAST = Labels(rate=0.2, good=3_600, bad=1_200), Labels(rate=0.2, good=1_800, bad=600)
NOT_WORSE = {
    "as late": Case(stable=SLOW, candidate=SLOW),
    "twice as fast, bad ones sooner": Case(stable=SLOW, candidate=FAST),
    "half as fast, bad ones sooner": Case(stable=FAST, candidate=SLOW),
    "bad ones three times as fast": Case(stable=Labels(rate=0.2, bad=3_600), candidate=Labels(rate=0.2)),
    "rare bad ones three times as fast": Case(stable=Labels(rate=0.05, bad=3_600), candidate=Labels(rate=0.05)),
    "stable's bad ones lost": Case(stable=Labels(rate=0.2, lost=0.2), candidate=Labels(rate=0.2)),
    "its good ones lost": Case(stable=Labels(rate=0.2), candidate=Labels(rate=0.2, lost_good=0.2)),
}
WORSE = {
    "1.5 times, bad ones three times slower": Case(stable=Labels(rate=0.2), candidate=Labels(rate=0.3, bad=3_600)),
    "1.5 times, minutes": Case(
        stable=Labels(rate=0.2, good=60, bad=60), candidate=Labels(rate=0.3, good=60, bad=180)
    ),
    "1.25 times, a fifth of the bad ones lost": Case(
        stable=Labels(rate=0.2), candidate=Labels(rate=0.25, lost=0.2)
    ),
    "1.25 times, of few labels a fifth of the bad ones lost": Case(
        stable=Labels(rate=0.2, coverage=0.8), candidate=Labels(rate=0.25, lost=0.2, coverage=0.8)
    ),
    "1.25 times, stable's good ones lost": Case(stable=Labels(rate=0.2, lost_good=0.2), candidate=Labels(rate=0.25)),
    "1.25 times, half of the good ones lost in both": Case(
        stable=Labels(rate=0.4, good=60, bad=60, lost_good=0.5),
        candidate=Labels(rate=0.5, good=60, bad=60, lost_good=0.5),
    ),
    "1.25 times, as late": Case(stable=SLOW, candidate=Labels(rate=0.25, good=3_600, bad=1_200)),
}  # fmt: skip


FEW = (
    "as late", "bad ones three times as fast", "stable's bad ones lost", "1.25 times, a fifth of the bad ones lost",
    "1.5 times, bad ones three times slower",
)  # fmt: skip
"""Those that are simulated with few requests too."""


@pytest.mark.parametrize("case", NOT_WORSE)
@pytest.mark.parametrize("runs", RUNS)
def test_a_candidate_that_is_not_worse_is_not_stopped_for_its_labels(case: str, runs: int) -> None:
    both = NOT_WORSE[case]
    stopped = share(lambda rng: _answer(rng, both) == "fail", runs=runs, seed=81)
    print(f"\n{case}: stopped {stopped}")
    assert stopped.at_least <= ALPHA


@pytest.mark.parametrize("case", WORSE)
@pytest.mark.parametrize("runs", RUNS)
def test_a_worse_candidate_is_not_promoted_for_its_labels(case: str, runs: int) -> None:
    both = WORSE[case]
    promoted = share(lambda rng: _answer(rng, both) == "pass", runs=runs, seed=82)
    print(f"\n{case}: promoted {promoted}")
    assert promoted.at_least <= BETA


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("runs", [3, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
def test_neither_is_so_with_a_request_in_two_minutes(case: str, runs: int) -> None:
    both = (NOT_WORSE | WORSE)[case]
    wrong = "fail" if case in NOT_WORSE else "pass"
    mistaken = share(lambda rng: _answer_at_low_traffic(rng, both) == wrong, runs=runs, seed=86)
    print(f"\n{case}, 720 requests a day: {wrong} {mistaken}")
    assert mistaken.at_least <= (ALPHA if case in NOT_WORSE else BETA)


def test_labels_that_come_alike_hold_up_nobody() -> None:
    both = Case(stable=Labels(rate=0.2), candidate=Labels(rate=0.2))
    assert share(lambda rng: _answer(rng, both) == "pass", runs=8, seed=83).at_most >= 0.9


def _answer_at_low_traffic(rng: Generator, case: Case) -> str:
    seconds, few = 7 * 86_400.0, 1 / 120
    return last_verdict(
        rng, LOW, case.stable, case.candidate, seconds=seconds, per_second=few, polled=14_400
    ).answer.value


def _answer(rng: Generator, case: Case) -> str:
    return last_verdict(rng, PLAN, case.stable, case.candidate, seconds=DAY).answer.value


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_events_that_come_alike_are_called_unlike_no_more_often_than_alpha(weight: float) -> None:
    planned = weight * (1 - weight) * ROWS
    effects = tuple(sign * 2.2 / math.sqrt(t * planned) for t in (0.02, 0.1, 0.3, 1.0) for sign in (-1, 1))
    unlike = chance(lambda rng, odds: _is_found_of_moved(rng, weight, odds), effects, runs=207, seed=84)
    print(f"\nlog-rank at {weight:.0%}: {unlike}, at most {max(unlike.weights):.2f} each")
    assert unlike.at_least <= ALPHA


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_events_that_come_alike_are_called_unlike_no_more_often_in_many_runs(weight: float) -> None:
    unlike = share(lambda rng: _is_found_of_moved(rng, weight, Odds()), runs=2_000, seed=84)
    print(f"\nlog-rank at {weight:.0%}: {unlike}")
    assert unlike.at_least <= ALPHA


def _is_found_of_moved(rng: Generator, weight: float, odds: Odds) -> bool:
    """Whether events of which nine in ten come are called unlike. Where the builds move, they come sooner or later."""
    times = np.array(odds.times(weight))
    events = Late.draw(rng, weight, tuple(1 / times[:, odds.chosen]), (COME, COME))
    at = events.found()
    odds.knows(events.likelier(at, times.T))
    return bool(at)


@pytest.mark.parametrize("late", [(1.0, 2.0), (2.0, 1.0)])
@pytest.mark.parametrize("come", [(1.0, 1.0), (0.6, 0.6)])
def test_events_twice_as_late_are_found_soon_in_either_arm(
    late: tuple[float, float], come: tuple[float, float]
) -> None:
    found = [_found(np.random.default_rng((85, i)), 0.5, late, come) for i in range(10)]
    assert np.median([rows or np.inf for rows in found]) <= 1_000


def test_events_of_which_some_are_lost_are_found_whatever_their_delay() -> None:
    found = [_found(np.random.default_rng((86, i)), 0.5, (1.0, 1.0), (1.0, 0.95)) for i in range(10)]
    assert np.median([rows or np.inf for rows in found]) <= 4_000


def _found(rng: Generator, weight: float, late: tuple[float, float], come: tuple[float, float]) -> int:
    """Rows until events of a mean delay, of which a share comes, are called unlike in two arms; 0: they never are."""
    return SIZE * Late.draw(rng, weight, late, come).found()


@dataclass(frozen=True, kw_only=True)
class Late:
    """Events of rows, of which so many are asked for until each look."""

    weight: float
    arm: NDArray[np.int64]
    asked: NDArray[np.float64]
    at: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: Generator, weight: float, late: tuple[float, ...], come: tuple[float, float]) -> Late:
        arm, asked = (rng.random(ROWS) < weight).astype(int), np.arange(ROWS) / SIZE
        is_due = rng.random(ROWS) < np.array(come)[arm]
        at = np.where(is_due, asked + rng.exponential(np.array(late)[arm]), np.inf)
        return cls(weight=weight, arm=arm, asked=asked, at=at)

    def found(self) -> int:
        """The look at which the arms are called unlike; 0: none is."""
        information = self.weight * (1 - self.weight)
        many = few = LogRankTest(budget=Budget(alpha=ALPHA / 2, information=information * ROWS, reserve=0.1))
        cell = 2 * (np.arange(ROWS) // SIZE) + self.arm
        for now in range(1, ROWS // SIZE + 1):
            at_risk = (self.asked < now) & (self.at > now - 1)
            waiting, come = (
                np.bincount(cell[which], minlength=2 * now).reshape(-1, 2).tolist()
                for which in (at_risk, at_risk & (self.at <= now))
            )
            new = [
                Events(draw=Draw(size=theirs, others=others, events=stable + mine, mine=mine), rows=SIZE)
                for (others, theirs), (stable, mine) in zip(waiting, come, strict=True)
                if stable + mine
            ]
            known = information * float((self.at <= now).sum())
            many, few = many.look(new, known), few.look([events.mirrored for events in new], known)
            if many.rejected or few.rejected:
                return now
        return 0

    def likelier(self, now: int, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each pair of builds whose events come so many times as fast, how much likelier it makes what is known at
        a look than builds of a mean delay of 1 do: a logarithm."""
        is_known = self.asked < now
        arm, waited = self.arm[is_known], now - self.asked[is_known]
        delay, fast = (self.at - self.asked)[is_known], times[:, arm]
        still = np.log(1 - COME + COME * np.exp(-fast * waited)) - np.log(1 - COME + COME * np.exp(-waited))
        came = np.log(fast) - (fast - 1) * np.where(delay <= waited, delay, 0.0)
        return np.asarray(np.where(delay <= waited, came, still).sum(axis=1))
