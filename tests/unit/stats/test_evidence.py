from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.stats import hypergeom, norm

from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.evidence import CountEvidence, score_e_value

TILTS = (1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)


def likelihood(odds: float, draw: Draw) -> float:
    share = draw.size / (draw.size + draw.others)
    return odds**draw.mine / (1 + share * (odds - 1)) ** draw.events


def test_the_e_value_of_counts_is_the_mean_over_tilts_of_products_over_strata() -> None:
    draws = [Draw(size=30, others=60, events=9, mine=7), Draw(size=10, others=10, events=4, mine=1)]
    mean = sum(likelihood(odds, draws[0]) * likelihood(odds, draws[1]) for odds in TILTS) / len(TILTS)
    assert math.isclose(CountEvidence().add(draws).value, mean)
    assert math.isclose(CountEvidence().add(draws[:1]).add(draws[1:]).value, mean)
    assert CountEvidence().value == 1.0
    assert CountEvidence().add([Draw(size=9, others=0, events=3, mine=3)]).value == 1.0


def test_it_is_at_most_one_on_average_when_the_arms_are_alike() -> None:
    law = hypergeom(50, 8, 20)
    values = [CountEvidence().add([Draw(size=20, others=30, events=8, mine=x)]).value for x in range(9)]
    assert 0.8 < sum(law.pmf(x) * value for x, value in enumerate(values)) <= 1.0


@pytest.mark.parametrize("value", [-3.0, 0.0, 2.0, 9.0])
@pytest.mark.parametrize(("variance", "planned"), [(1.0, 6.0), (4.0, 60.0)])
def test_the_e_value_of_a_score_is_its_likelihood_ratio_over_a_half_normal_drift(
    value: float, variance: float, planned: float
) -> None:
    spread = math.sqrt(6 / planned)

    def ratio(drift: float) -> float:
        return math.exp(drift * value - drift**2 * variance / 2) * 2 * norm.pdf(drift, scale=spread)

    assert math.isclose(score_e_value(value, variance, planned), quad(ratio, 0, 40 * spread)[0], rel_tol=1e-6)


def test_without_variance_there_is_no_evidence_and_figures_stay_finite() -> None:
    assert score_e_value(3.0, 0.0, 6.0) == 1.0
    assert score_e_value(3.0, -1.0, 6.0) == 1.0
    assert score_e_value(3.0, 1.0, 0.0) == 1.0
    assert score_e_value(-1e6, 1.0, 6.0) == 0.0
    assert score_e_value(1e6, 1.0, 6.0) == math.exp(700)
