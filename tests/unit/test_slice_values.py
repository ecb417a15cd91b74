"""Which values of a header are slices: nobody who invents values fills the tables or keeps real ones out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.registry.words.slices import LONGEST, MOST_VALUES, NONE, OTHER, Slice, read_sliced, sliced_name, spelled
from sluicegate.services.telemetry.tally.slice_values import AT_SIGHT, WAITING, HeaderValues
from sluicegate.services.telemetry.tally.slicing import slice_at, stratum_bucket, values_of, written

STATES = [f"state-{number}" for number in range(50)]


def after(known: HeaderValues, chunks: Iterable[Iterable[str]]) -> HeaderValues:
    for chunk in chunks:
        known = known.after(Counter(chunk))
    return known


def test_values_are_taken_as_they_come_the_most_frequent_first() -> None:
    known = after(HeaderValues(), [["CA"], ["NY", "NY", NONE]])
    assert known == HeaderValues(slices=frozenset({"CA", "NY"}))
    crowd = after(HeaderValues(), [[*STATES, *STATES[30:], *STATES[10:20]]])
    assert crowd.slices == {*STATES[10:20], *STATES[30:], *sorted(set(STATES[:10]) | set(STATES[20:30]))[:2]}
    assert [crowd.slice_of(value) for value in ("state-10", NONE, OTHER, "new")] == ["state-10", NONE, OTHER, OTHER]


def test_fifty_states_are_all_slices_once_they_have_come_often_enough() -> None:
    known = after(HeaderValues(), [STATES] * 19)
    assert len(known.slices) == AT_SIGHT
    assert after(known, [STATES]).slices == {*STATES}


def test_a_new_value_with_every_request_takes_the_slices_at_sight_and_no_more() -> None:
    flood = ([f"invented-{100 * chunk + each}" for each in range(100)] for chunk in range(500))
    known = after(HeaderValues(), flood)
    assert len(known.slices) == AT_SIGHT
    assert len(known.waiting) <= WAITING


def test_real_values_find_room_beside_a_flood() -> None:
    """Nine of ten requests bring a new value; each of three real ones comes in three of a hundred."""
    chunks = (
        [*(f"invented-{91 * chunk + each}" for each in range(91)), *["CA", "NY", "TX"] * 3] for chunk in range(100)
    )
    assert {"CA", "NY", "TX"} <= after(HeaderValues(), chunks).slices


def test_who_repeats_each_invented_value_needs_a_hundredth_of_the_traffic_for_each() -> None:
    """A twentieth of the traffic, which names 20 times what it names at all: it gets what it could have at once."""
    known = after(HeaderValues(), [STATES[:AT_SIGHT]] * 100)
    for number in range(400):
        known = after(known, [[*STATES[:20] * 19, *[f"invented-{number}"] * 20]])
    taken = [value for value in known.slices if value.startswith("invented")]
    assert len(taken) < 10
    assert after(known, [[*STATES[:20] * 19, *["late"] * 20]] * 100).slices >= {"late"}


@given(st.lists(st.lists(st.sampled_from([*STATES, *map(str, range(200))]), max_size=300), max_size=20))
@settings(max_examples=50, deadline=None)
def test_whatever_comes_the_tables_stay_small_and_a_slice_stays_one(chunks: list[list[str]]) -> None:
    known = HeaderValues()
    for chunk in chunks:
        before, known = known, known.after(Counter(chunk))
        assert before.slices <= known.slices
        assert len(known.slices) <= MOST_VALUES
        assert len(known.waiting) <= WAITING
        assert not known.slices & {*known.waiting}


def test_names_and_values_are_read_back_as_they_were_written() -> None:
    part = Slice("x-state", "a=b|c")
    assert read_sliced(sliced_name("errors", part)) == ("errors", part)
    assert read_sliced("p99>0.2") is None
    assert spelled("x" * 100) == "x" * LONGEST
    assert [spelled(value) for value in (None, "", "  ", "a\0b\x1b", "CA ")] == [
        NONE,
        NONE,
        NONE,
        "a\ufffdb\ufffd",
        "CA",
    ]
    assert written((None, "", None, None)) is None
    text = written((None, "CA", None, None))
    assert values_of(text) == (NONE, "CA")
    assert [slice_at(text, at, "h").value for at in range(3)] == [NONE, "CA", NONE]


def test_slices_are_counted_by_the_day() -> None:
    assert [stratum_bucket(name, 90_300) for name in ("errors", "errors|x=1")] == [90_300, 86_400]
    assert stratum_bucket("errors|x=1", -2) == -2
