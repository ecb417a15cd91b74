"""Slots: hashing, and candidates that grow without anybody moving out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.audience.layout import SLOTS
from sluicegate.services.traffic.slots import holder, runs, slot

WEIGHTS = st.integers(0, SLOTS)
KEYS = st.text(max_size=12)


@st.composite
def holdings(draw: st.DrawFn) -> tuple[range, ...]:
    """A variation's slots: up to four intervals."""
    ends = sorted(draw(st.sets(st.integers(0, SLOTS), min_size=2, max_size=8)))
    return tuple(range(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=False))


def taken(held: tuple[range, ...], weight: int, key: str) -> set[int]:
    """The candidate's slots, counted one by one. Both arms together hold exactly what the variation holds."""
    found = {True: set(), False: set()}
    for run in runs(held, weight=weight, key=key):
        found[run.is_candidate] |= set(range(run.start, run.start + run.length))
    assert not found[True] & found[False]
    assert found[True] | found[False] == {slot for part in held for slot in part}
    return found[True]


def test_a_slot_is_the_salted_hash_modulo_ten_thousand() -> None:
    assert slot("delays/default", "u1") == xxhash.xxh64(b"delays/default:u1").intdigest() % 10_000
    assert slot("delays/default", "é") == xxhash.xxh64("delays/default:é".encode()).intdigest() % 10_000


def test_two_salts_pick_independent_units() -> None:
    both = sum(slot("a/default", f"u{n}") < 2_000 and slot("b/default", f"u{n}") < 2_000 for n in range(20_000))
    assert 700 < both < 900  # 4 % expected; 20 % if the salt were ignored


@given(held=holdings(), weight=WEIGHTS, key=KEYS)
def test_the_candidate_gets_its_share_of_the_variation(held: tuple[range, ...], weight: int, key: str) -> None:
    size = len(taken(held, weight, key))
    assert abs(size - sum(map(len, held)) * weight / SLOTS) <= 1
    assert (size > 0) == (weight > 0)


@given(held=holdings(), weights=st.tuples(WEIGHTS, WEIGHTS), key=KEYS)
def test_nobody_moves_out_while_a_candidate_grows(held: tuple[range, ...], weights: tuple[int, int], key: str) -> None:
    less, more = sorted(weights)
    assert taken(held, less, key) <= taken(held, more, key)


@given(held=holdings(), weight=WEIGHTS, key=KEYS)
def test_runs_are_few_and_in_order(held: tuple[range, ...], weight: int, key: str) -> None:
    found = runs(held, weight=weight, key=key)
    assert len(found) <= len(held) + 2
    assert all(first.start + first.length <= second.start for first, second in pairwise(found))


def test_few_units_change_arms_when_a_variation_gives_slots_away() -> None:
    """Where a candidate begins does not depend on how many slots there are."""
    moved = [len(taken((range(5_000),), 5_000, f"r-{n}") - taken((range(4_800),), 5_000, f"r-{n}")) for n in range(20)]
    assert sum(count <= 300 for count in moved) >= 17


def test_not_always_the_same_units_go_first() -> None:
    for held in ((range(SLOTS),), (range(2_000, 4_000),)):
        taken_by = [taken(held, 200, f"rollout-{n}") for n in range(40)]
        assert len({min(found) for found in taken_by}) > 30
        assert len(set().union(*taken_by)) > sum(map(len, held)) / 4


@pytest.mark.parametrize("weight", [-1, SLOTS + 1])
def test_a_weight_beyond_everything_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="basis points"):
        runs((range(SLOTS),), weight=weight, key="r")


def test_the_holder_of_a_slot() -> None:
    assert [holder([2, 0, 3], at) for at in range(5)] == [0, 0, 2, 2, 2]
    with pytest.raises(ValueError, match="beyond"):
        holder([2, 3], 5)
