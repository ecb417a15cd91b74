"""Requests by the values of headers: each counted once in each of its slices, whatever is killed whenever."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import timedelta

import pytest
import sqlalchemy as sa

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.registry.plan.fields import MetricSpec, Score, Source
from sluicegate.registry.words.metric import REQUESTS
from sluicegate.registry.words.slices import MOST_VALUES, OTHER, Slice, sliced_name
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.store import schema
from tests.contract.telemetry_rig import SPEC, Killed, Rig, killed_at

WRONG = MetricSpec(source=Source.OUTCOME, outcome="label", score=Score.ZERO_ONE, matures_after="1h")
STATE, PLAN = (0, "x-state"), (1, "x-plan")
SLICED = dataclasses.replace(
    SPEC, metrics=SPEC.metrics | {"wrong": WRONG, "contract": MetricSpec(source=Source.CONTRACT)},
    sliced={"errors": (STATE, PLAN), "p99": (STATE,), "wrong": (STATE,), "contract": (PLAN,)},
)  # fmt: skip
DAY = START_US // 1_000_000 // 86_400 * 86_400


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.specs = {"r1": SLICED}
    rig.start()
    return rig


def of(rid: str, state: str | None, plan: str | None = None, second: int = 0, **changes: object) -> str:
    """A request with these headers."""
    at = str(START_US + second * 1_000_000)
    return line(rid, ts=at, segments=[state, plan, None, None], **changes)


def slices(rig: Rig, metric: str, header: str) -> dict[str, tuple[int, float]]:
    """Rows and their sum by value, both arms together."""
    sums: dict[str, tuple[int, float]] = {}
    for row in rig.queries.tallies("r1")[1]:
        name, _, part = row.metric.partition("|")
        if name == metric and part.startswith(f"{header}="):
            assert row.stratum.bucket == DAY
            n, total = sums.get(part.partition("=")[2], (0, 0.0))
            sums[part.partition("=")[2]] = (n + row.tally.n, total + row.tally.total)
    return sums


def test_a_request_counts_in_one_slice_of_each_header(rig: Rig) -> None:
    rig.write(of("a", "CA", "pro"), of("b", "CA", None, 400, status=500), of("c", None, "pro", 90_000 // 9))
    rig.collect()
    assert slices(rig, "errors", "x-state") == {"CA": (2, 1.0), "(none)": (1, 0.0)}
    assert slices(rig, "errors", "x-plan") == {"pro": (2, 0.0), "(none)": (1, 1.0)}
    assert slices(rig, "p99", "x-state") == {"CA": (2, 0.0), "(none)": (1, 0.0)}
    assert slices(rig, "p99", "x-plan") == {}
    assert slices(rig, REQUESTS, "x-state") == {"CA": (2, 0.0), "(none)": (1, 0.0)}
    assert slices(rig, "contract", "x-plan") == {"pro": (2, 0.0)}, "b had no answer"


def test_lines_without_headers_are_in_the_slice_of_none(rig: Rig) -> None:
    rig.write(line("a"), line("b", segments=[None] * 4))
    rig.collect()
    assert slices(rig, "errors", "x-state") == {"(none)": (2, 0.0)}


def test_where_nothing_is_compared_nothing_is_sliced(rig: Rig) -> None:
    rig.write(of("a", "CA", assigned=assigned(weight=0)), of("b", "CA", assigned=assigned(rollout=None)))
    rig.collect()
    assert slices(rig, "errors", "x-state") == {}
    with rig.store.read() as connection:
        assert connection.execute(sa.select(schema.slice_values)).all() == []


def test_a_label_joins_the_slice_that_its_request_was_counted_in(rig: Rig) -> None:
    """Here (other) at first: what is admitted later does not move what was counted."""
    first = [of(f"v{each}", f"v{each:03}") for each in range(MOST_VALUES)]
    rig.write(*first, of("late", "zz"))
    rig.collect()
    rig.write(*(of(f"z{each}", "zz") for each in range(60)))
    rig.collect()
    assert slices(rig, "errors", "x-state")["zz"] == (60, 0.0)
    batch = [OutcomeIn(prediction_id=f"{rid}.0", name="label", value=1) for rid in ("late", "z0")]
    rig.record(*batch)
    rig.collect()
    assert slices(rig, "wrong", "x-state") == {}, "too young"
    rig.now = START + timedelta(hours=2)
    rig.collect()
    assert slices(rig, "wrong", "x-state") == {OTHER: (1, 1.0), "zz": (1, 1.0)}


def test_invented_values_do_not_grow_the_database(rig: Rig) -> None:
    for round_ in range(5):
        rig.write(*(of(f"r{round_}-{each}", f"invented-{round_}-{each}") for each in range(400)))
        rig.collect()
    seen = slices(rig, "errors", "x-state")
    assert len(seen) == MOST_VALUES // 2 + 1
    assert sum(n for n, _ in seen.values()) == 2_000
    with rig.store.read() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(schema.slice_values))
    assert rows is not None
    assert rows <= MOST_VALUES + 101


def test_users_are_counted_by_slice_too(rig: Rig) -> None:
    rig.specs = {"r1": dataclasses.replace(SLICED, by_unit=True)}
    rig.start()
    rig.write(*(of(f"u{each}", "CA", unit="u", status=500) for each in range(2)), of("v", "NY", unit="v"))
    rig.write(of("u-ny", "NY", second=400, unit="u"))
    rig.collect()
    units = {
        row.metric: (row.units.size, row.units.n, row.units.x)
        for row in rig.queries.tallies("r1")[1]
        if row.units is not None and "|x-state" in row.metric and row.metric.startswith("errors")
    }
    names = {value: sliced_name("errors", Slice("x-state", value)) for value in ("CA", "NY")}
    assert units == {names["CA"]: (1, 2.0, 2.0), names["NY"]: (2, 2.0, 0.0)}


def test_what_was_read_before_its_rollout_was_known_is_counted_as_all_else(rig: Rig) -> None:
    spec = rig.specs.pop("r1")
    rig.write(of("a", "CA", status=500), of("b", "NY"))
    rig.collect()
    assert slices(rig, "errors", "x-state") == {}
    rig.specs["r1"] = spec
    rig.collect()
    assert slices(rig, "errors", "x-state") == {"CA": (1, 1.0), "NY": (1, 0.0)}


def test_each_counts_once_whatever_is_killed_whenever(rig: Rig) -> None:
    statement, met = 0, [0]
    crowd = [f"v{each:03}" for each in range(MOST_VALUES // 2)]
    while statement <= met[0]:
        statement += 3
        rig.clear()
        rig.write(*(of(value, value) for value in crowd))
        rig.collect()
        rig.write(*(of(f"z{each}", "zz") for each in range(19)))
        rig.collect()
        rig.write(of("z", "zz"), of("y", "yy", status=500))
        rig.record(OutcomeIn(prediction_id="y.0", name="label", value=1))
        with killed_at(rig.store.engine, statement) as met, suppress(Killed):
            rig.collect()
        rig.start()
        rig.collect()
        rig.now = START + timedelta(hours=2)
        rig.collect()
        seen = slices(rig, "errors", "x-state")
        assert (seen["zz"], seen[OTHER]) == ((1, 0.0), (20, 1.0)), statement
        assert slices(rig, "wrong", "x-state") == {OTHER: (1, 1.0)}, statement
    assert statement > 15


def test_values_go_with_the_last_requests_of_their_rollout(rig: Rig) -> None:
    rig.write(of("a", "CA"))
    rig.collect()
    retain(rig.store, START + timedelta(days=1), START + timedelta(days=2))
    with rig.store.read() as connection:
        assert connection.execute(sa.select(schema.slice_values)).all() == []
    assert slices(rig, "errors", "x-state") == {"CA": (1, 0.0)}, "tallies stay"
