"""Sums about an origin: the tests say the same of them as of sums about 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import tally_of
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.words.tally import Tally, UnitSums

ORIGIN = 4.0
Values = NDArray[np.float64]


def trial(origin: float, pairs: Sequence[tuple[Values, Values]], *, high: bool, bounds: Bounds | None) -> Trial:
    design = Design(
        kind=Kind.MEAN, worse_is_higher=high, alpha=0.05, beta=0.05, information=500.0, origin=origin, bounds=bounds,
        rungs=(Rung(margin=0.1, information=500.0), Rung(margin=0.0, information=500.0)),
    )  # fmt: skip
    state, information = Trial.begin(design), 0.0
    for stable, candidate in pairs:
        pair = Pair(stable=tally_of(stable - origin), candidate=tally_of(candidate - origin))
        information += pair.information
        state = state.look(Increment(pairs=[pair], information=information))
    return state


@pytest.mark.parametrize("high", [True, False])
@pytest.mark.parametrize("is_bounded", [True, False])
def test_an_origin_changes_no_decision_and_no_figure(high: bool, is_bounded: bool) -> None:
    rng = np.random.default_rng(3)
    pairs = [(np.clip(rng.normal(5, 1, 60), 0, 10), np.clip(rng.normal(5.02, 1, 40), 0, 10)) for _ in range(25)]
    plain = trial(0.0, pairs, high=high, bounds=Bounds(0.0, 10.0) if is_bounded else None)
    about = trial(ORIGIN, pairs, high=high, bounds=Bounds(-ORIGIN, 10 - ORIGIN) if is_bounded else None)
    assert plain.ruled_out(0.1) is not None
    assert (about.failed_at, about.ruled_out_at) == (plain.failed_at, plain.ruled_out_at)
    ours, theirs = estimate(about, 0.1), estimate(plain, 0.1)
    for name in ("value", "level", "low", "high"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=0.02, abs=0.01)


def test_units_are_linearised_alike() -> None:
    rng = np.random.default_rng(4)
    rows = rng.integers(1, 5, (2, 30))

    def arm(n: Sequence[float], values: Values, origin: float) -> UnitSums:
        units = (UnitSums.from_unit(x - origin * k, k) for x, k in zip(values, n, strict=True))
        return sum(units, UnitSums())

    sums = [rng.normal(5, 1, 30) * n for n in rows]
    plain, about = (
        Change(now=Cohort(stable=arm(rows[0], sums[0], o), candidate=arm(rows[1], sums[1], o))) for o in (0.0, ORIGIN)
    )
    for factor in (1.0, 1.1):
        assert about.score(factor, ORIGIN) == pytest.approx(plain.score(factor), rel=1e-6, abs=1e-6)


def test_a_tally_moves() -> None:
    values = np.array([1.0, -2.5, 4.0])
    assert tally_of(values).moved(3.0) == pytest.approx(tally_of(values + 3.0))
    assert Tally().moved(3.0) == Tally()
