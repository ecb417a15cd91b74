"""Sums by unit, where units keep their arm and come again: exact, whatever the order, the batches and the delay."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.tally import UnitSums
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.tally.unit_accumulator import Entry, Step, added, enter
from tests.contract.telemetry_rig import BUCKET, SPEC, Killed, Rig, killed_at

BY_UNIT = dataclasses.replace(SPEC, by_unit=True)


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.specs = {"r1": BY_UNIT}
    rig.start()
    return rig


def of_unit(unit: str | None, second: int, *, epoch: int = 1, arm: str = "stable", status: int = 200) -> str:
    """A request of a unit so many seconds after the start."""
    return line(
        f"{unit}-{second}", unit=unit, ts=str(START_US + second * 1_000_000), status=status,
        assigned=assigned(arm, epoch=epoch, weight=1_000 * epoch), upstream="2" if arm == "candidate" else "1",
    )  # fmt: skip


def sums(rig: Rig, metric: str = "errors") -> dict[tuple[int, int, str], UnitSums]:
    rows = rig.queries.tallies("r1")[1]
    return {
        (row.stratum.epoch, row.stratum.bucket, row.arm.value): row.units
        for row in rows
        if row.metric == metric and row.units is not None
    }


def test_a_units_rows_count_together_in_the_bucket_of_its_first(rig: Rig) -> None:
    rig.write(of_unit("u", 0), of_unit("v", 1, status=500), of_unit("u", 400, status=500))
    rig.collect()
    rig.write(of_unit("u", 900, status=500))
    rig.collect()
    assert sums(rig) == {(1, BUCKET, "stable"): UnitSums.from_unit(2, 3) + UnitSums.from_unit(1, 1)}


def test_the_order_of_one_batch_does_not_matter(rig: Rig) -> None:
    rig.write(of_unit("v", 400), of_unit("u", 700), of_unit("u", 400), of_unit("u", 0))
    rig.collect()
    assert sums(rig) == {
        (1, BUCKET, "stable"): UnitSums.from_unit(0, 3), (1, BUCKET + 300, "stable"): UnitSums.from_unit(0, 1)
    }  # fmt: skip


def test_a_row_without_a_unit_is_a_unit_of_its_own(rig: Rig) -> None:
    rig.write(of_unit(None, 0), of_unit(None, 1, status=500), of_unit("", 2))
    rig.collect()
    assert sums(rig) == {
        (1, BUCKET, "stable"): UnitSums.from_unit(0, 1) + UnitSums.from_unit(1, 1) + UnitSums.from_unit(0, 1)
    }


def test_where_a_unit_belongs_in_a_later_epoch_follows_from_where_it_was_met(rig: Rig) -> None:
    rig.write(of_unit("was stable", 0), of_unit("stays", 1, arm="candidate"))
    rig.collect()
    rig.write(
        of_unit("was stable", 600, epoch=2, arm="candidate"), of_unit("stays", 601, epoch=2, arm="candidate"),
        of_unit("fresh", 602, epoch=2),
    )  # fmt: skip
    rig.collect()
    rig.write(of_unit("fresh", 1200, epoch=3), of_unit("was stable", 1201, epoch=3, arm="candidate"))
    rig.collect()
    one = UnitSums.from_unit(0, 1)
    assert sums(rig) == {
        (1, BUCKET, "stable"): one, (1, BUCKET, "candidate"): one,
        (2, -1, "candidate"): one, (2, BUCKET + 600, "stable"): one,
        (3, -2, "stable"): one,
    }  # fmt: skip


def test_a_unit_in_both_arms_of_an_epoch_counts_in_the_first(rig: Rig) -> None:
    rig.write(of_unit("u", 0), of_unit("u", 1, arm="candidate", status=500), of_unit("u", 2))
    rig.collect()
    rig.write(of_unit("u", 3, arm="candidate"))
    rig.collect()
    assert sums(rig) == {(1, BUCKET, "stable"): UnitSums.from_unit(0, 2)}


def test_a_late_outcome_joins_its_units_sums(rig: Rig) -> None:
    rig.write(of_unit("u", 0), of_unit("u", 400), of_unit("v", 401))
    rig.collect()
    assert sums(rig, "spend") == {}
    rig.now += timedelta(days=2)
    rig.record(*(OutcomeIn(prediction_id=f"{rid}", name="spend", value=3) for rid in ("u-400", "v-401", "u-0")))
    rig.collect()
    assert sums(rig, "spend") == {
        (1, BUCKET, "stable"): UnitSums.from_unit(6, 2), (1, BUCKET + 300, "stable"): UnitSums.from_unit(3, 1),
    }  # fmt: skip


def test_a_score_that_matured_late_joins_its_units_sums(rig: Rig) -> None:
    rig.write(of_unit("u", 0), of_unit("u", 1))
    rig.record(
        OutcomeIn(prediction_id="u-0", name="late", value=7), OutcomeIn(prediction_id="u-1", name="late", value=5)
    )
    rig.collect()
    retain(rig.store, START + timedelta(hours=1), rig.now + timedelta(hours=1))
    assert units_kept(rig) == 1
    rig.now = START + timedelta(hours=4)
    rig.collect()
    assert sums(rig, "slow") == {(1, BUCKET, "stable"): UnitSums.from_unit(12, 2)}
    retain(rig.store, START + timedelta(days=1), rig.now)
    assert units_kept(rig) == 0


def test_units_go_with_the_last_request_of_their_rollout_and_their_sums_stay(rig: Rig) -> None:
    rig.write(of_unit("u", 0))
    rig.collect()
    before = sums(rig)
    retain(rig.store, START, rig.now)
    assert units_kept(rig) == 1
    retain(rig.store, START + timedelta(days=1), rig.now + timedelta(days=1))
    assert units_kept(rig) == 0
    assert sums(rig) == before


def units_kept(rig: Rig) -> int:
    with rig.store.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM units").scalar() or 0)


def test_any_batches_give_the_sums_of_the_whole(rig: Rig) -> None:
    random_ = random.Random(5)
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for second in range(0, 600, 2):
        unit = f"u{random_.randrange(40)}"
        arm = "candidate" if int(unit[1:]) % 4 == 0 else "stable"
        failed = random_.random() < 0.3
        rows[unit, arm].append(int(failed))
        rig.write(of_unit(unit, second, arm=arm, status=500 if failed else 200))
        if random_.random() < 0.05:
            rig.collector.collect()
        if random_.random() < 0.02:
            rig.start()
    rig.collect()
    for arm in Arm:
        found = sum((each for (_, _, whose), each in sums(rig).items() if whose == arm), UnitSums())
        expected = sum(
            (UnitSums.from_unit(sum(of), len(of)) for (_, whose), of in rows.items() if whose == arm), UnitSums()
        )
        assert found == expected


def test_broken_off_at_any_statement_units_still_count_once(rig: Rig) -> None:
    statement, met = 0, [1]
    while met[0] >= statement:
        statement += 3
        rig.clear()
        rig.write(of_unit("u", 0))
        rig.collect()
        rig.write(of_unit("u", 1, status=500))
        rig.record(OutcomeIn(prediction_id="u-0", name="spend", value=2))
        with killed_at(rig.store.engine, statement) as met, suppress(Killed):
            rig.collect()
        rig.start()
        rig.collect()
        assert sums(rig) == {(1, BUCKET, "stable"): UnitSums.from_unit(1, 2)}, statement
        assert sums(rig, "spend") == {(1, BUCKET, "stable"): UnitSums.from_unit(2, 1)}, statement
    assert statement > 15


@given(x=st.floats(-1e3, 1e3), n=st.integers(1, 1_000))
def test_the_sums_are_the_powers_of_a_unit(x: float, n: int) -> None:
    powers = (1, x, n, x**2, x * n, n**2, x**3, x**2 * n, x * n**2, n**3)
    assert UnitSums.from_unit(x, n) == pytest.approx(powers)
    assert UnitSums.from_unit(0.0, 0) == UnitSums()


@given(parts=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=8))
@settings(max_examples=20)
def test_parts_add_up_to_the_unit(parts: list[tuple[int, int]]) -> None:
    known: dict[int, Entry] = {}
    total = UnitSums()
    for x, n in parts:
        new = {1: Entry(arm="stable", weight=1_000, bucket=0, sums=(("m", float(x), n),))}
        steps: Counter[Step] = Counter()
        known |= enter(known, new, "r", steps)
        total += sum(added(steps).values(), UnitSums())
    assert total == UnitSums.from_unit(float(sum(x for x, _ in parts)), sum(n for _, n in parts))


@pytest.mark.parametrize(
    ("arm", "before", "after"), [("stable", BUCKET, BUCKET), ("candidate", BUCKET, BUCKET), ("stable", -1, -1)]
)
def test_after_an_override_at_the_same_weight_units_are_compared_as_before(arm: str, before: int, after: int) -> None:
    known = {2: Entry(arm, 1_000, before)}
    entered = enter(known, {3: Entry(arm, 1_000, BUCKET + 300)}, "r", Counter())
    assert entered[3].bucket == after
    moved = enter({2: Entry("candidate", 1_000, before)}, {3: Entry("candidate", 2_000, BUCKET)}, "r", Counter())
    assert moved[3].bucket is None
