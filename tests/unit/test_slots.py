"""Slots: hashing, and candidates that grow without anybody moving out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from services.traffic.slots import SLOTS, holder, runs, slot

LENGTHS = st.integers(1, SLOTS)
WEIGHTS = st.integers(0, SLOTS)
KEYS = st.text(max_size=12)


def taken(length: int, weight: int, key: str) -> set[int]:
    """The candidate's slots, counted one by one."""
    places, found = 0, set()
    for run in runs(length=length, weight=weight, key=key):
        found |= set(range(places, places + run.length)) if run.is_candidate else set()
        places += run.length
    assert places == length
    return found


def test_a_slot_is_the_salted_hash_modulo_ten_thousand() -> None:
    assert slot("delays/default", "u1") == xxhash.xxh64(b"delays/default:u1").intdigest() % 10_000
    assert slot("delays/default", "é") == xxhash.xxh64("delays/default:é".encode()).intdigest() % 10_000


def test_two_salts_pick_independent_units() -> None:
    both = sum(slot("a/default", f"u{n}") < 2_000 and slot("b/default", f"u{n}") < 2_000 for n in range(20_000))
    assert 700 < both < 900  # 4 % expected; 20 % if the salt were ignored


@given(length=LENGTHS, weight=WEIGHTS, key=KEYS)
def test_the_candidate_gets_its_share_of_the_interval(length: int, weight: int, key: str) -> None:
    size = len(taken(length, weight, key))
    assert abs(size - length * weight / SLOTS) <= 1
    assert (size > 0) == (weight > 0)


@given(length=LENGTHS, weights=st.tuples(WEIGHTS, WEIGHTS), key=KEYS)
def test_nobody_moves_out_while_a_candidate_grows(length: int, weights: tuple[int, int], key: str) -> None:
    less, more = sorted(weights)
    assert taken(length, less, key) <= taken(length, more, key)


@given(length=LENGTHS, weight=WEIGHTS, key=KEYS)
def test_runs_are_few_and_alternate(length: int, weight: int, key: str) -> None:
    arms = [run.is_candidate for run in runs(length=length, weight=weight, key=key)]
    assert len(arms) <= 3
    assert all(first != second for first, second in pairwise(arms))


def test_not_always_the_same_units_go_first() -> None:
    firsts = [min(taken(SLOTS, 100, f"rollout-{n}")) for n in range(40)]
    assert len(set(firsts)) > 30
    assert len(set().union(*(taken(SLOTS, 100, f"rollout-{n}") for n in range(40)))) > 2_500


@pytest.mark.parametrize("weight", [-1, SLOTS + 1])
def test_a_weight_beyond_everything_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="basis points"):
        runs(length=SLOTS, weight=weight, key="r")


def test_the_holder_of_a_slot() -> None:
    assert [holder([2, 0, 3], at) for at in range(5)] == [0, 0, 2, 2, 2]
    with pytest.raises(ValueError, match="beyond"):
        holder([2, 3], 5)
