from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import tally_of
from sluicegate.registry.words.tally import Tally

A, B = np.array([1.0, -2.0, 4.0]), np.array([0.5, 3.0])


def test_moments_of_two_batches_are_those_of_both_together() -> None:
    assert tally_of(A) + tally_of(B) == tally_of(np.concatenate((A, B)))
    assert tally_of(A) + Tally() == tally_of(A)


def test_scaled_moments_are_those_of_the_scaled_values() -> None:
    assert tally_of(A).scaled(-3.0) == tally_of(-3.0 * A)


@pytest.mark.parametrize(
    ("found", "sound"),
    [
        (Tally(), True),
        (Tally(n=1, total=-2.0, squares=4.0, cubes=-8.0), True),
        (Tally(n=1, total=0.0, squares=0.0, cubes=0.0), True),
        (Tally(n=-1), False),
        (Tally(n=1, squares=-0.5), False),
        (Tally(n=0, total=1.0), False),
        (Tally(n=0, total=-1.0), False),
        (Tally(n=2, total=math.nan), False),
        (Tally(n=2, squares=math.inf), False),
        (Tally(n=2, cubes=-math.inf), False),
        (Tally(n=math.nan), False),  # type: ignore[arg-type]
    ],
)
def test_sums_that_no_values_have_are_not_sound(found: Tally, sound: bool) -> None:
    assert found.is_sound is sound


@pytest.mark.parametrize(
    ("n", "total", "is_count"),
    [(3, 0.0, True), (3, 3.0, True), (3, 2.0, True), (3, 4.0, False), (3, -1.0, False), (3, 1.5, False)],
)
def test_counts_of_zeros_and_ones_are_whole_and_within_the_rows(n: int, total: float, is_count: bool) -> None:
    assert Tally(n=n, total=total, squares=abs(total), cubes=total).is_count is is_count
    assert not Tally(n=n, total=total, squares=math.nan).is_count


def test_the_information_of_a_pair_is_its_sizes_product_over_their_sum() -> None:
    pair = Pair(stable=Tally(n=6, total=1.0), candidate=Tally(n=3, total=2.0))
    assert pair.n == 9
    assert pair.information == 2.0
    assert (pair + pair).information == 4.0
    assert pair + pair == Pair(stable=Tally(n=12, total=2.0), candidate=Tally(n=6, total=4.0))
    assert Pair().information == 0.0
    assert Pair(stable=Tally(n=4)).information == 0.0
