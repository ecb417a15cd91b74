"""Means that are bounded: the promises hold whatever the shape, at small weights, with harm in rare rows, in pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.gate.pair_design import PairedKind, PairedQuestion
from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Losses, Population, tally_of
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.words.tally import Tally
from tests.statistics.montecarlo import share
from tests.statistics.scenarios import rows_at_looks
from tests.statistics.test_shadow_gates import outcome

Values = NDArray[np.float64]
few_and_many = pytest.mark.parametrize("runs", [30, pytest.param(1_000, marks=pytest.mark.soak)])
shares = pytest.mark.parametrize("share_of_rows", [0.1, 0.02, 0.002])
weights = pytest.mark.parametrize("weight", [0.05, 0.5])
CAP = 10.0


@dataclass(frozen=True)
class Mixture:
    """Values about 1, of which a share of the rows is off by much and the rest makes up for it, or does not."""

    share: float
    off: float
    """How far the rare rows are off."""
    rest: float = 0.0
    """How far the others are."""

    mean = variance = 0.0

    def draw(self, rng: Generator, n: int) -> Tally:
        values = 1 + rng.normal(0, 0.05, n) + np.where(rng.random(n) < self.share, self.off, self.rest)
        return tally_of(np.clip(values, 0, CAP))


def stops(
    rng: Generator, stable: Population, candidate: Population, weight: float, *, margin: float | None = None,
    rows: int = 8_000, planned: int = 8_000, worse_is_higher: bool = True,
) -> bool:  # fmt: skip
    """Whether harm is ever found; with a margin, whether it is ever ruled out."""
    each = weight * (1 - weight)
    rungs = () if margin is None else (Rung(margin=margin, information=planned * each),)
    design = Design(
        kind=Kind.MEAN, worse_is_higher=worse_is_higher, alpha=0.05, beta=0.05, information=planned * each,
        rungs=rungs, bounds=Bounds(0.0, CAP),
    )  # fmt: skip
    trial, information = Trial.begin(design), 0.0
    for new in rows_at_looks(rows, growth=0.1):
        mine = int(rng.binomial(new, weight))
        pair = Pair(stable=stable.draw(rng, new - mine), candidate=candidate.draw(rng, mine))
        information += pair.information
        trial = trial.look(Increment(pairs=[pair], information=information))
        if trial.failed_at is not None and margin is None:
            return True
        if margin is not None and trial.ruled_out(margin) is not None:
            return True
    return False


EVEN = Mixture(share=0.0, off=0.0)


@few_and_many
@shares
@weights
@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize("worse_is_higher", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_an_equal_mean_of_another_shape_is_stopped_no_more_often_than_alpha(
    runs: int, share_of_rows: float, weight: float, better: bool, worse_is_higher: bool
) -> None:
    off = (-0.9 if better else 0.9) if share_of_rows > 0.05 else (-1.0 if better else 4.0)
    # What is cut off at 0 leaves the means alike to a hundredth of their spread.
    other = Mixture(share=share_of_rows, off=off, rest=-off * share_of_rows / (1 - share_of_rows))
    assert share(
        lambda rng: stops(rng, EVEN, other, weight, worse_is_higher=worse_is_higher), runs=runs, seed=1
    ).at_least <= 0.05  # fmt: skip
    assert share(
        lambda rng: stops(rng, other, EVEN, weight, worse_is_higher=worse_is_higher), runs=runs, seed=2
    ).at_least <= 0.05  # fmt: skip


@few_and_many
@pytest.mark.parametrize("one_in", [100, 1_000, 2_000])
@weights
def test_a_candidate_at_the_margin_whose_harm_sits_in_rare_rows_seldom_passes(
    runs: int, one_in: int, weight: float
) -> None:
    margin = min(0.25, 9 / one_in)
    worse = Mixture(share=1 / one_in, off=margin * one_in)
    assert share(lambda rng: stops(rng, EVEN, worse, weight, margin=margin), runs=runs, seed=3).at_least <= 0.05


def paired(**changes: float) -> PairedQuestion:
    values = {"words": None, "margin": None, "below": None, "alpha": 0.05, "beta": 0.05, "planned": 4_000.0} | changes
    return PairedQuestion(metric="y", kind=PairedKind.REAL, bounds=Bounds(0.0, CAP), **values)  # type: ignore[arg-type]


@few_and_many
@shares
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_candidate_of_equal_mean_that_differs_on_few_pairs_is_stopped_no_more_often_than_alpha(
    runs: int, share_of_rows: float, sign: float
) -> None:
    def run(rng: Generator) -> bool:
        stable = np.clip(rng.gamma(4.0, 0.25, 4_000), 0.6, 9)
        rare = rng.random(4_000) < share_of_rows
        rest = -sign * 0.5 * share_of_rows / (1 - share_of_rows)
        return outcome(paired(), stable, stable + np.where(rare, sign * 0.5, rest))[1] == "fail"

    assert share(run, runs=runs, seed=4).at_least <= 0.05


@few_and_many
def test_harm_in_one_pair_of_two_hundred_is_not_passed_more_often_than_beta(runs: int) -> None:
    def run(rng: Generator) -> bool:
        stable = np.clip(rng.normal(0.2, 0.02, 4_000), 0, CAP)
        candidate = stable + np.where(rng.random(4_000) < 0.005, 8.0, 0.0)
        return outcome(paired(margin=0.1), stable, candidate)[1] == "pass"

    assert share(run, runs=runs, seed=5).at_least <= 0.05


@pytest.mark.parametrize(("weight", "rows"), [(0.5, 20_000), (0.05, 80_000)])
def test_plain_harm_is_found_and_an_equal_candidate_passes(weight: float, rows: int) -> None:
    equal, worse = Losses(mean=1.0, sd=0.6, cap=CAP), Losses(mean=1.15, sd=0.6, cap=CAP)
    assert share(lambda rng: stops(rng, equal, worse, weight, rows=rows, planned=rows), runs=30, seed=6).observed > 0.9
    passes = share(
        lambda rng: stops(rng, equal, equal, weight, margin=0.25, rows=rows, planned=rows), runs=30, seed=7
    )  # fmt: skip
    assert passes.observed > 0.9
