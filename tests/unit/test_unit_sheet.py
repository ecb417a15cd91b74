"""Many units at once: the same strata, and the same sums, as one by one; and in few bytes."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import UnitSums
from sluicegate.services.telemetry.tally.batch import distinct, integers
from sluicegate.services.telemetry.tally.unit_accumulator import (
    Entry,
    Epochs,
    Step,
    UnitAccumulator,
    added,
    enter,
    key_of,
    keys_of,
)
from sluicegate.services.telemetry.tally.unit_codec import Entries, packed_sums, unpacked_sums
from sluicegate.services.telemetry.tally.unit_sheet import Known, UnitSheet, Values, changed

METRICS = ("errors", "drift", sliced_name("errors", Slice("x-state", "NY")))
VALUE = st.none() | st.integers(-3, 300).map(lambda n: n / 4)
ROW = st.tuples(st.sampled_from(["", "a", "b", "c", "ü"]), st.tuples(*(VALUE for _ in METRICS)))
SIDE = st.tuples(
    st.just("r"), st.integers(1, 3), st.sampled_from([0, 300, 600, 86_400]), st.sampled_from(["stable", "candidate"]),
    st.sampled_from([1_000, 2_000]),
)  # fmt: skip
CHUNK = st.lists(st.tuples(SIDE, st.lists(ROW, max_size=6)), max_size=4)
"""Sides with their requests: units and values, in sums of which nothing is rounded."""


@settings(deadline=None, max_examples=100)
@given(st.lists(CHUNK, max_size=4))
def test_many_units_at_once_are_what_each_is_alone(chunks: list[list[tuple[tuple, list[tuple[str, tuple]]]]]) -> None:
    plain, plain_sums = dict[int, Epochs](), defaultdict[tuple, UnitSums](UnitSums)
    fast, fast_sums = dict[tuple[int, int], tuple[Entry, bytes]](), defaultdict[tuple, UnitSums](UnitSums)
    for chunk in chunks:
        _one_by_one(chunk, plain, plain_sums)
        _at_once(chunk, fast, fast_sums)
        kept = {(key, epoch): each for key, epochs in plain.items() for epoch, each in epochs.items()}
        assert {place: _told(entry, text) for place, (entry, text) in fast.items()} == {
            place: (each.arm, each.weight, each.bucket, {name: (x, n) for name, x, n in each.sums})
            for place, each in kept.items()
        }
        assert _moved(fast_sums) == _moved(plain_sums)


def _one_by_one(chunk: list, known: dict[int, Epochs], sums: dict[tuple, UnitSums]) -> None:
    units = UnitAccumulator()
    for side, rows in chunk:
        for unit, values in rows:
            row = tuple((name, x, 1) for name, x in zip(METRICS, values, strict=True) if x is not None)
            units.take(side, unit, row)
    steps = Counter[Step](units.loose)
    for (rollout, key), new in units.entries.items():
        before = known.get(key, {})
        known[key] = before | enter(before, new, rollout, steps)
    for (_, *place), each in added(steps).items():
        sums[tuple(place)] += each


def _at_once(chunk: list, kept: dict[tuple[int, int], tuple[Entry, bytes]], sums: dict[tuple, UnitSums]) -> None:
    sheet = UnitSheet(metrics={name: place for place, name in enumerate(METRICS)})
    for side, rows in chunk:
        columns = list(zip(*(values for _, values in rows), strict=True)) or [()] * len(METRICS)
        values = [
            Values(name, np.arange(len(rows)), np.array([np.nan if x is None else x for x in each], np.float64))
            for name, each in zip(METRICS, columns, strict=True)
        ]
        units = [unit for unit, _ in rows]
        sheet.take(side, keys_of(units), np.array(list(map(bool, units)), np.bool_), values)
    if not chunk:
        return
    keys, _, _ = sheet.columns()
    found = [(place, each) for place, each in kept.items() if place[0] in set(keys.tolist())]
    known = [Known(*place, Entry(entry.arm, entry.weight, entry.bucket)) for place, (entry, _) in found]
    after = changed(sheet, known, unpacked_sums([text for _, (_, text) in found]))
    for (key, epoch, arm, weight, bucket), text in zip(
        after.rows, packed_sums(after.entries, len(after.rows)), strict=True
    ):
        kept[key, epoch] = (Entry(arm, weight, bucket), text)
    for *place, size, x, n, xx, xn, nn, xxx, xxn, xnn, nnn in after.sums:
        sums[tuple(place)] += UnitSums(size, x, n, xx, xn, nn, xxx, xxn, xnn, nnn)


def _told(entry: Entry, text: bytes) -> tuple:
    _, metric, x, n = unpacked_sums([text])
    sums = zip(metric.tolist(), x.tolist(), n.tolist(), strict=True)
    return entry.arm, entry.weight, entry.bucket, {METRICS[place]: (x, n) for place, x, n in sums}


def _moved(sums: dict[tuple, UnitSums]) -> dict[tuple, UnitSums]:
    return {place: each for place, each in sums.items() if each != UnitSums()}


@given(st.lists(st.integers(0, 40)) | st.lists(st.integers(0, 2**40)))
def test_the_numbers_that_there_are_are_found_dense_or_thin(numbers: list[int]) -> None:
    found, places = distinct(integers(numbers))
    assert found.tolist() == sorted(set(numbers))
    assert found[places].tolist() == numbers


def test_a_unit_has_one_key_alone_and_among_many() -> None:
    units = ["", "u", "ü", "x" * 10_000, *map(str, range(100))]
    assert keys_of(units).tolist() == [key_of(unit) for unit in units]


NUMBER = st.integers(0, 300).map(float) | st.floats(allow_nan=False)
SUMS = st.dictionaries(st.integers(0, 2_000), st.tuples(NUMBER, st.integers(1, 2**32 - 1) | st.integers(1, 300)))


@given(st.lists(SUMS, max_size=8))
def test_sums_of_units_come_back_from_few_bytes(units: list[dict[int, tuple[float, int]]]) -> None:
    entries = [(unit, metric, x, n) for unit, sums in enumerate(units) for metric, (x, n) in sums.items()]
    unit, metric, x, n = zip(*entries, strict=True) if entries else ((), (), (), ())
    texts = packed_sums(Entries(integers(unit), integers(metric), np.array(x, np.float64), integers(n)), len(units))
    found = [dict[int, tuple[float, int]]() for _ in units]
    for place, name, total, rows in zip(*(each.tolist() for each in unpacked_sums(texts)), strict=True):
        found[place][name] = (total, rows)
    assert found == units


def test_counts_take_three_bytes_each_any_number_of_metrics() -> None:
    many = Entries(np.zeros(1_000, np.int64), np.arange(1_000), np.ones(1_000), np.ones(1_000, np.int64))
    [text] = packed_sums(many, 1)
    assert len(text) == 1 + 255 * 3 + 745 * 14
    [text] = packed_sums(Entries(*(each[:12] for each in many)), 1)
    assert len(text) == 1 + 12 * 3
