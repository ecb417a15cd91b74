from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.moments import Moments, Pair
from sluicegate.flows.stats.populations import moments

A, B = np.array([1.0, -2.0, 4.0]), np.array([0.5, 3.0])


def test_moments_of_two_batches_are_those_of_both_together() -> None:
    assert moments(A) + moments(B) == moments(np.concatenate((A, B)))
    assert moments(A) + Moments() == moments(A)


def test_scaled_moments_are_those_of_the_scaled_values() -> None:
    assert moments(A).scaled(-3.0) == moments(-3.0 * A)


@pytest.mark.parametrize(
    ("found", "sound"),
    [
        (Moments(), True),
        (Moments(n=1, total=-2.0, squares=4.0, cubes=-8.0), True),
        (Moments(n=1, total=0.0, squares=0.0, cubes=0.0), True),
        (Moments(n=-1), False),
        (Moments(n=1, squares=-0.5), False),
        (Moments(n=0, total=1.0), False),
        (Moments(n=0, total=-1.0), False),
        (Moments(n=2, total=math.nan), False),
        (Moments(n=2, squares=math.inf), False),
        (Moments(n=2, cubes=-math.inf), False),
        (Moments(n=math.nan), False),  # type: ignore[arg-type]
    ],
)
def test_sums_that_no_values_have_are_not_sound(found: Moments, sound: bool) -> None:
    assert found.is_sound is sound


@pytest.mark.parametrize(
    ("n", "total", "is_count"),
    [(3, 0.0, True), (3, 3.0, True), (3, 2.0, True), (3, 4.0, False), (3, -1.0, False), (3, 1.5, False)],
)
def test_counts_of_zeros_and_ones_are_whole_and_within_the_rows(n: int, total: float, is_count: bool) -> None:
    assert Moments(n=n, total=total, squares=abs(total), cubes=total).is_count is is_count
    assert not Moments(n=n, total=total, squares=math.nan).is_count


def test_the_information_of_a_pair_is_its_sizes_product_over_their_sum() -> None:
    pair = Pair(stable=Moments(n=6, total=1.0), candidate=Moments(n=3, total=2.0))
    assert pair.n == 9
    assert pair.information == 2.0
    assert (pair + pair).information == 4.0
    assert pair + pair == Pair(stable=Moments(n=12, total=2.0), candidate=Moments(n=6, total=4.0))
    assert Pair().information == 0.0
    assert Pair(stable=Moments(n=4)).information == 0.0
