"""Copies and the requests they copy become pairs, each once, on SQLite and PostgreSQL, whichever is read first."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from benchmarks.collector_lines import START, START_US, assigned, row, written
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.metric import Arm, difference_name
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.pairs.cardinality import MOST_VALUES
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.pairs.queries import ShadowQueries
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.pair_schema import copies, pairs
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec

METRICS = {
    "errors": MetricSpec(source=Source.STATUS),
    "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
    "flips": MetricSpec(source=Source.DISAGREEMENT),
    "wrong": MetricSpec(source=Source.OUTCOME, outcome="late", score="zero_one", prediction=PredictionField()),
}
SPEC = ShadowSpec(
    metrics=RolloutSpec(rollout="s1", metrics=METRICS, thresholds={"p99": 0.01}, margins={"p99": (0.5,)}),
    stable="1", segments=("x-state",), keep=500,
)  # fmt: skip


class BrittleStore(Store):
    """A store whose transactions are now and then lost just before they are committed."""

    chance = 0.0
    rng = random.Random(3)

    @contextmanager
    def write(self, *, in_turn: bool = True) -> Iterator[Connection]:
        with super().write(in_turn=in_turn) as connection:
            yield connection
            if self.rng.random() < self.chance:
                raise SluiceError("killed before the commit")


class Rig:
    """Both collectors, with a clock and logs that are written by hand."""

    def __init__(self, url: str, folder: Path, spec: ShadowSpec | None = SPEC) -> None:
        self.folder, self.now, self.spec = folder, START + timedelta(minutes=1), spec
        self.store = BrittleStore(url.replace("postgresql://", "postgresql+psycopg://"), durable=False)
        self.queries = Queries(self.store, lambda: self.now)
        self.shadows = ShadowQueries(self.store)
        self.start()

    def start(self) -> None:
        """New collectors, as after a kill."""
        clock = lambda: self.now  # noqa: E731
        self.live = Collector(self.store, self.folder / "live.jsonl", lambda _: None, clock)
        self.shadow = ShadowCollector(self.store, self.folder / "shadow.jsonl", lambda _: self.spec, clock)

    def serve(self, rid: str, label: object = "a", **changes: object) -> None:
        own = {"assigned": assigned(rollout=None, weight=0), "prediction": said(label)}
        self._write("live", row(rid, **(own | changes)))

    def copy(self, rid: str, label: object = "a", rollout: str = "s1", state: str | None = None, **more: Any) -> None:
        own = {
            "listener": "shadow", "assigned": assigned("candidate", rollout=rollout, weight=2_000), "upstream": "2",
            "prediction": said(label), "segments": [state, None, None, None],
        }  # fmt: skip
        self._write("shadow", row(rid, **(own | more)))

    def collect(self, *, live: bool = True, shadow: bool = True) -> None:
        """Collect until nothing is left to do; a second passes."""
        self.now += timedelta(seconds=1)
        while (live and self.live.collect()) or (shadow and self.shadow.collect()):
            pass

    def sums(self, subject: str, segment: str = "") -> dict[str, int]:
        return {
            key: powers.n
            for (seg, what, key), powers in self.shadows.sums("s1").items()
            if (seg, what) == (segment, subject)
        }

    def tally(self, metric: str, arm: Arm = Arm.CANDIDATE) -> Tally:
        rows = [row for row in self.queries.tallies("s1")[1] if row.metric == metric and row.arm is arm]
        return sum((row.tally for row in rows), Tally())

    def waiting(self) -> int:
        with self.store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(copies)) or 0

    def stored(self) -> int:
        with self.store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(pairs)) or 0

    def _write(self, log: str, fields: dict[str, object]) -> None:
        with (self.folder / f"{log}.jsonl").open("a") as file:
            file.write(written(fields))


def said(label: object) -> str:
    return json.dumps({"c": ["prediction"], "r": [[label]]})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path / 'telemetry.db'}", tmp_path)
    yield rig
    rig.store.close()


@pytest.fixture
def anywhere(url: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(url, tmp_path)
    yield rig
    rig.store.close()


@pytest.mark.parametrize("first", ["live", "shadow"])
def test_a_pair_is_made_whichever_comes_first(rig: Rig, first: str) -> None:
    rig.serve("r1")
    rig.copy("r1", "b")
    rig.collect(live=first == "live", shadow=first == "shadow")
    assert rig.sums("pairs") == {}
    rig.collect()
    assert (rig.sums("pairs"), rig.sums("copies"), rig.waiting()) == ({"differ": 1}, {"answered": 1}, 0)
    assert rig.sums("column prediction") == {'["a", "b"]': 1}


def test_each_pair_counts_once_while_transactions_are_lost_and_collectors_are_replaced(anywhere: Rig) -> None:
    """Checked against a count of its own; lines come in any order and in pieces."""
    rng, expected = random.Random(11), Counter[str]()
    lines = [(kind, f"r{number}", rng.random() < 0.3) for number in range(150) for kind in ("live", "shadow")]
    rng.shuffle(lines)
    flips = {rid: flip for kind, rid, flip in lines if kind == "shadow"}
    expected.update("differ" if flip else "agree" for flip in flips.values())
    anywhere.store.chance = 0.4
    for kind, rid, flip in lines:
        anywhere.serve(rid) if kind == "live" else anywhere.copy(rid, "b" if flip else "a")
        if rng.random() < 0.1:
            try:
                anywhere.collect(live=rng.random() < 0.5)
            except SluiceError:
                anywhere.start()
    anywhere.store.chance = 0.0
    anywhere.start()
    anywhere.collect()
    anywhere.collect()
    assert anywhere.sums("pairs") == expected
    assert anywhere.sums("copies") == {"answered": 150}
    assert (anywhere.tally("flips").n, anywhere.tally("flips").total) == (150, expected["differ"])
    assert anywhere.queries.counters()[Count.SHADOWS] == 150


def test_copies_are_no_exposures(rig: Rig) -> None:
    rig.serve("r1")
    rig.copy("r1")
    rig.copy("r1", rollout="s2")
    rig.collect()
    counters = rig.queries.counters()
    assert (counters[Count.EXPOSURES], counters[Count.SHADOWS], counters[Count.LINES]) == (1, 2, 3)
    assert rig.queries.requests_by_arm("s1").candidate.requests == 0


def test_a_line_said_twice_counts_once(rig: Rig) -> None:
    rig.serve("r1")
    rig.copy("r1")
    rig.copy("r1")
    rig.collect()
    assert (rig.sums("copies"), rig.sums("pairs")) == ({"answered": 1}, {"agree": 1})
    assert rig.queries.counters()[Count.REPEATED] == 1


def test_coverage_says_how_each_copy_ended(rig: Rig) -> None:
    ends: dict[str, dict[str, object]] = {
        "answered": {}, "refused": {"status": 400}, "error": {"status": 500}, "timeout": {"status": 504, "flags": "UT"},
        "reset": {"status": 503, "flags": "UC"}, "unreachable": {"status": 503, "flags": "UF"},
        "overloaded": {"status": 503, "flags": "UO"}, "lost": {"status": 0, "flags": "DC"},
    }  # fmt: skip
    for name, fields in ends.items():
        rig.serve(name)
        rig.copy(name, **fields)
    rig.collect()
    assert rig.sums("copies") == dict.fromkeys(ends, 1)
    assert rig.sums("pairs") == {"agree": 1, "differ": 1, "copy failed": 6}
    assert rig.sums("schema") == {"answered 400 where stable answered 200": 1}
    assert (rig.tally("errors").total, rig.tally("errors", Arm.STABLE).total) == (6, 0)


def test_why_two_answers_are_not_compared(rig: Rig) -> None:
    rig.serve("a", upstream="3")
    rig.serve("b", status=500)
    rig.serve("c", status=0, flags="DC")
    rig.serve("d", prediction='{"n":40,"truncated":true}')
    rig.serve("e", prediction=None)
    for rid in "abcde":
        rig.copy(rid)
    rig.collect()
    assert rig.sums("pairs") == {
        "other build": 1, "served failed": 1, "caller left": 1, "too long": 1, "no summary": 1
    }  # fmt: skip
    assert (rig.tally("flips").n, rig.tally("flips").missing) == (0, 2)


def test_a_copy_whose_request_never_comes_is_given_up_and_counted(rig: Rig) -> None:
    rig.copy("r1")
    rig.collect()
    assert rig.waiting() == 1
    rig.now += timedelta(hours=2)
    rig.collect()
    assert (rig.sums("pairs"), rig.waiting()) == ({"unmatched": 1}, 0)


def test_copies_wait_for_a_ledger_that_is_out_of_reach(rig: Rig) -> None:
    rig.spec = None
    rig.serve("r1")
    rig.copy("r1")
    rig.collect()
    assert (rig.sums("pairs"), rig.waiting()) == ({}, 1)
    rig.spec = SPEC
    for _ in range(3):
        rig.collect()
    assert (rig.sums("pairs"), rig.waiting()) == ({"agree": 1}, 0)


def test_differences_on_the_same_request_are_tallied(rig: Rig) -> None:
    for rid, served, copied in (("a", 9_000, 16_000), ("b", 11_000, 9_000), ("c", 12_000, 13_000)):
        rig.serve(rid, dur_us=served)
        rig.copy(rid, dur_us=copied)
    rig.collect()
    paired = rig.tally(difference_name("p99"))
    assert (paired.n, paired.total, paired.squares) == (3, 0.0, 2.0)
    moved = rig.tally(difference_name("p99>0.5"))
    assert (moved.n, moved.total, moved.squares) == (3, -1.0, 3.0)


def test_pairs_are_split_by_audience_and_declared_header_up_to_a_bound(rig: Rig) -> None:
    for number in range(MOST_VALUES + 3):
        rig.serve(f"r{number}")
        rig.copy(f"r{number}", state=f"s{number}")
    rig.serve("none")
    rig.copy("none", "b")
    rig.collect()
    assert rig.sums("pairs", "audience=everyone") == {"agree": MOST_VALUES + 3, "differ": 1}
    assert rig.sums("pairs", "x-state=s7") == {"agree": 1}
    split = {seg for seg, what, _ in rig.shadows.sums("s1") if what == "pairs" and seg.startswith("x-state")}
    assert len(split) == MOST_VALUES + 1
    assert rig.sums("pairs", "x-state=(other)") == {"agree": 3, "differ": 1}


@pytest.mark.parametrize("label_first", [True, False])
def test_a_late_label_scores_both_answers_once(anywhere: Rig, label_first: bool) -> None:
    outcome = OutcomeIn(prediction_id="r1", name="late", value="b")
    if label_first:
        record(anywhere.store, [outcome], anywhere.now, is_request=str.isalnum)
    anywhere.serve("r1", "a")
    anywhere.copy("r1", "b")
    anywhere.collect()
    record(anywhere.store, [outcome, outcome], anywhere.now, is_request=str.isalnum)
    for _ in range(4):
        anywhere.collect()
    assert (anywhere.tally("wrong", Arm.STABLE).total, anywhere.tally("wrong").total) == (1.0, 0.0)
    paired = anywhere.tally(difference_name("wrong"))
    assert (paired.n, paired.total) == (1, -1.0)
    assert anywhere.shadows.sums("s1")["audience=everyone", "quality wrong", "difference"].n == 1


def test_stored_pairs_are_bounded_by_count_and_by_age_and_sums_stay(anywhere: Rig) -> None:
    for number in range(700):
        anywhere.serve(f"r{number}")
        anywhere.copy(f"r{number}")
    anywhere.collect()
    anywhere.collect()
    assert (anywhere.stored(), anywhere.sums("pairs")) == (500, {"agree": 700})
    anywhere.now += timedelta(days=8)
    anywhere.collect()
    anywhere.collect()
    assert (anywhere.stored(), anywhere.sums("pairs")) == (0, {"agree": 700})


@pytest.mark.parametrize("show", [False, True])
def test_the_worst_disagreements_are_kept_without_values_unless_allowed(anywhere: Rig, show: bool) -> None:
    anywhere.spec = ShadowSpec(metrics=SPEC.metrics, stable="1", show_values=show)
    for number in range(40):
        anywhere.serve(f"r{number}", 1.5)
        anywhere.copy(f"r{number}", 1.5 + number)
    anywhere.collect()
    worst = anywhere.shadows.worst("s1")
    assert [round(each.distance) for each in worst] == list(range(39, 19, -1))
    assert ("served" in worst[0].cells[0]) is show


def test_a_shadow_line_that_cannot_be_read_is_set_aside(rig: Rig) -> None:
    with (rig.folder / "shadow.jsonl").open("a") as file:
        file.write("{not json\n")
    rig.copy("r1", segments=[3])
    rig.collect()
    assert rig.queries.counters()[Count.QUARANTINED] == 2
    assert START_US > 0
