"""Logs of several gateways in one database: each line once, and no outcome joins by what only one of them told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.collector_lines import START, START_US, line
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.levels import Levels
from tests.contract.telemetry_rig import CANDIDATE, Rig


class Two:
    """Two gateways' logs: of one database, with one joiner."""

    def __init__(self, rig: Rig, *, listened: bool = False) -> None:
        self.rig = rig
        self.other_log = rig.log.with_name("other.jsonl")
        logs = [str(rig.log), str(self.other_log)]
        self.levels = Levels(logs, logs[1:] if listened else ())
        rig.collector, self.other = (
            Collector(rig.store, log, rig.specs.get, lambda: rig.now, levels=self.levels, joins=log == rig.log)
            for log in (rig.log, self.other_log)
        )

    def write_other(self, *lines: str) -> None:
        with self.other_log.open("a") as file:
            file.writelines(lines)


def outcome(rig: Rig) -> None:
    """Of a unit that made a request through each gateway, the later one through the other."""
    rig.write(line("a", unit="u"))
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=START + timedelta(seconds=2)))


LATER = {"unit": "u", "ts": str(START_US + 1_000_000), **CANDIDATE}


def joined(rig: Rig) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
    return rig.sums("spend"), rig.sums("spend", "candidate")


NONE = (0, 0, 0.0)


def test_a_units_outcome_waits_for_the_slowest_reader(rig: Rig) -> None:
    two = Two(rig)
    outcome(rig)
    two.write_other(line("b", **LATER))
    rig.collect()
    assert joined(rig) == (NONE, NONE)
    assert rig.queries.waiting()["outcomes_unit"] == 1
    two.other.collect()
    rig.collect()
    assert joined(rig) == (NONE, (1, 0, 3.0))
    rig.counted(outcomes=1, joined=1, scored=1)


def test_a_reader_that_fell_behind_holds_up_only_what_came_after(rig: Rig) -> None:
    two = Two(rig)
    rig.now = START + timedelta(seconds=8)
    two.other.collect()
    outcome(rig)
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=9, at=START + timedelta(seconds=7)))
    rig.collect()
    assert joined(rig) == ((1, 0, 3.0), NONE)
    assert rig.queries.waiting()["outcomes_unit"] == 1
    two.write_other(line("b", unit="u", ts=str(START_US + 6_000_000), **CANDIDATE))
    two.other.collect()
    rig.now += timedelta(seconds=5)
    two.other.collect()
    rig.collect()
    assert joined(rig) == ((1, 0, 3.0), (1, 0, 9.0))


def test_a_gateway_that_hangs_may_hold_a_line_back(rig: Rig) -> None:
    """Its log is read to its end, and the request before the outcome is not in it yet."""
    two = Two(rig, listened=True)
    two.levels.heard(str(two.other_log), START_US)
    outcome(rig)
    two.other.collect()
    rig.collect()
    assert joined(rig) == (NONE, NONE)
    two.write_other(line("b", **LATER))
    two.other.collect()
    two.levels.heard(str(two.other_log), int(rig.now.timestamp() * 1e6))
    two.other.collect()
    rig.collect()
    assert joined(rig) == (NONE, (1, 0, 3.0))


def test_nothing_is_given_up_while_a_reader_is_behind(rig: Rig) -> None:
    two = Two(rig)
    two.other.collect()
    rig.record(OutcomeIn(prediction_id="b", name="spend", value=3))
    rig.now += timedelta(hours=2)
    rig.collect()
    assert rig.queries.waiting()["outcomes_waiting"] == 1
    two.write_other(line("b"))
    two.other.collect()
    rig.collect()
    assert joined(rig) == ((1, 0, 3.0), NONE)


@pytest.mark.parametrize("turns", [1, 3])
def test_each_line_of_each_log_counts_once(rig: Rig, turns: int) -> None:
    two = Two(rig)
    for number in range(turns):
        rig.write(*(line(f"a{number}-{each}") for each in range(20)))
        two.write_other(*(line(f"b{number}-{each}", **CANDIDATE) for each in range(30)))
        two.other.collect()
        rig.collect()
        two.other.collect()
    assert (rig.sums("mean")[0], rig.sums("mean", "candidate")[0]) == (20 * turns, 30 * turns)
