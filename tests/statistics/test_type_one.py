"""However often one looks, an equal candidate is found worse with a chance of at most alpha.

Each test simulates runs that are looked at every 100 rows and then every 5 % more, to the planned end, and fails when
the 99 % lower bound of the share of false alarms exceeds alpha. Quick runs are weighed (`rare`); a soak simulates the
null itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import binom

from sluicegate.flows.stats.populations import Events, Population
from sluicegate.flows.stats.trial import Kind
from tests.statistics.montecarlo import share
from tests.statistics.rare import Odds, Values, chance, effects_to_find
from tests.statistics.scenarios import Users, design, fails, late, ramp, rules_out, steady

ALPHA = 0.05
RUNS = 70
"""Weighed. Of eighteen families eight show a true share of .08, and each of four in five a share of .125."""
SOAK = 4000
_MANY = np.random.default_rng(4)

POPULATIONS: dict[str, tuple[Kind, Population]] = {
    "rare events": (Kind.COUNT, Events(rate=0.005)),
    "common events": (Kind.COUNT, Events(rate=0.3)),
    "log-loss": (Kind.MEAN, Values(_MANY.gamma(1.6, 0.34, 4_000))),
    "durations": (Kind.MEAN, Values(_MANY.lognormal(-2.1, 1.0, 4_000))),
    "purchases": (
        Kind.MEAN,
        Values(np.where(_MANY.random(4_000) < 0.05, np.minimum(_MANY.lognormal(-0.5, 1.0, 4_000), 12), 0.0)),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Runs, and how builds of which they often err differ from the null's."""

    run: Callable[[Generator, Odds], bool]
    effects: tuple[float, ...]


def _steady(name: str, weight: float, total: int, *, worse_is_higher: bool) -> Family:
    kind, same = POPULATIONS[name]
    asked = design(kind, weight, total, worse_is_higher=worse_is_higher)
    return Family(
        run=lambda rng, odds: fails(asked, steady(rng, same, same, weight, total, odds.split)),
        effects=effects_to_find(same, asked.information, sign=asked.sign),
    )


def _ramp(kind: Kind) -> Family:
    """1, 5, 25, 50 % while the rate moves by a factor of six over each day."""
    losses = Values(_MANY.gamma(1.6, 0.3, 4_000))

    def at(hour: float) -> Population:
        level = math.exp(0.9 * math.sin(2 * math.pi * hour))
        return Events(rate=0.02 * level) if kind is Kind.COUNT else losses.times(level)

    asked = design(kind, 0.5, 15_000)
    return Family(
        run=lambda rng, odds: fails(asked, ramp(rng, at, at, (0.01, 0.05, 0.25, 0.5), 40_000, odds.split)),
        effects=effects_to_find(at(0.0), asked.information),
    )


def _users(weight: float) -> Family:
    asked = design(Kind.COUNT, weight, 20_000, by_cohort=True)
    users = Users(rate=0.1, concentration=2.0)
    unlike = Values(np.random.default_rng(5).beta(0.2, 1.8, 4_000))
    return Family(
        run=lambda rng, odds: fails(asked, users.looks(rng, 1.0, weight, 20_000, odds)),
        effects=effects_to_find(unlike, asked.information / users.rows_each)[1:],
    )


def _late(weights: tuple[float, ...]) -> Family:
    _, same = POPULATIONS["log-loss"]
    asked = design(Kind.MEAN, 0.5, 10_000)
    return Family(
        run=lambda rng, odds: fails(asked, late(rng, same, same, weights, 20_000, 2_000, odds.split)),
        effects=effects_to_find(same, asked.information),
    )


def _passes_at_margin(kind: Kind, stable: Population, margin: float, *, higher: bool) -> Family:
    """A candidate that is worse by exactly the margin. The margin's test is asked, whether harm was found or not."""
    asked = design(kind, 0.5, 20_000, worse_is_higher=higher, margins=(margin,))
    times = 1 + margin * asked.sign
    worse = Events(rate=stable.rate * times) if isinstance(stable, Events) else _of_values(stable).times(times)
    return Family(
        run=lambda rng, odds: rules_out(asked, steady(rng, stable, worse, 0.5, 20_000, odds.split), margin),
        effects=effects_to_find(stable, asked.information, sign=-asked.sign)[2:],
    )


def _of_values(population: Population) -> Values:
    assert isinstance(population, Values)
    return population


FALSE_ALARMS: dict[str, Family] = {
    **{
        f"{name}, {weight:.0%}, {'high' if high else 'low'}": _steady(name, weight, 20_000, worse_is_higher=high)
        for name in POPULATIONS
        for weight in (0.5, 0.05, 0.01)
        for high in (True, False)
    },
    "counts on a ramp through days": _ramp(Kind.COUNT),
    "means on a ramp through days": _ramp(Kind.MEAN),
    "returning users": _users(0.5),
    "returning users at 5 %": _users(0.05),
    "late labels": _late((0.5,)),
    "late labels on a ramp": _late((0.05, 0.25, 0.5)),
}
_BOUGHT = Values(np.where(_MANY.random(4_000) < 0.2, np.minimum(_MANY.lognormal(-0.5, 1.0, 4_000), 12), 0.0))
FALSE_PASSES: dict[str, Family] = {
    "rate at the margin": _passes_at_margin(Kind.COUNT, Events(rate=0.02), 0.25, higher=True),
    "high rate at the margin": _passes_at_margin(Kind.COUNT, Events(rate=0.4), 0.1, higher=True),
    "low rate at the margin": _passes_at_margin(Kind.COUNT, Events(rate=0.1), 0.2, higher=False),
    "mean at the margin": _passes_at_margin(
        Kind.MEAN, Values(_MANY.lognormal(-0.3, 0.8, 4_000)), 0.1, higher=True
    ),
    "low mean at the margin": _passes_at_margin(Kind.MEAN, _BOUGHT, 0.2, higher=False),
}  # fmt: skip

QUICK = (
    "rare events, 5%, high", "rare events, 1%, high", "common events, 50%, low", "log-loss, 50%, high",
    "durations, 5%, high", "durations, 5%, low", "purchases, 1%, high", "purchases, 50%, low",
    "counts on a ramp through days", "means on a ramp through days", "returning users", "returning users at 5 %",
    "late labels on a ramp",
)  # fmt: skip


@pytest.mark.parametrize("family", QUICK)
def test_false_alarms_stay_within_alpha(family: str) -> None:
    _holds(FALSE_ALARMS[family], seed=1)


@pytest.mark.parametrize("family", FALSE_PASSES)
def test_false_passes_stay_within_beta(family: str) -> None:
    _holds(FALSE_PASSES[family], seed=2)


def _holds(family: Family, seed: int) -> None:
    seen = chance(family.run, family.effects, runs=RUNS, seed=seed)
    print(f"\n{seen}, at most {max(seen.weights):.2f} each")
    assert seen.at_least <= ALPHA, f"{seen}"


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("family", [*FALSE_ALARMS, *FALSE_PASSES])
def test_errors_stay_within_their_budget_in_every_family(family: str) -> None:
    run = (FALSE_ALARMS | FALSE_PASSES)[family].run
    seen = share(lambda rng: run(rng, Odds()), runs=SOAK, seed=3)
    print(f"\n{family}: {seen}")
    assert seen.at_least <= ALPHA, f"{seen}"


def test_weighed_runs_tell_a_chance_that_is_known() -> None:
    """Of 2,000 of one rate, 30 or more in the candidate's half than in stable's: 4 % or so, by the law of their sum."""
    rate, n = 0.1, 1_000
    counts = np.arange(n + 1)
    law = binom.pmf(counts, n, rate)
    known = float(law @ binom.cdf(counts - 30, n, rate))

    def run(rng: Generator, odds: Odds) -> bool:
        is_mine = np.arange(2 * n) < n
        hit = odds.events(rng, np.full(2 * n, rate), is_mine, 0.5)
        return bool(hit[is_mine].sum() - hit[~is_mine].sum() >= 30)

    seen = chance(run, (0.2, 0.3), runs=600, seed=4)
    assert abs(seen.observed - known) <= 3 * seen.error
    assert seen.error <= 0.1 * known
