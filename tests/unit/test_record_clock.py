"""A wall clock that is set while rollouts are under way: nothing comes sooner, and nothing later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.flows.wiring.keeper_process import _set_clock
from sluicegate.flows.wiring.machine_checks import _wall_clock
from sluicegate.flows.wiring.record_clock import RecordClock
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.settings import Settings
from tests import giving as orders
from tests.giving import Giver

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Machine:
    """A machine whose clocks a test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wall, self.up, self.boot = folder, NOON, 500.0, "one"

    def process(self) -> RecordClock:
        """The clock as another process has it."""
        return RecordClock(self.folder / "clock", lambda: self.wall, elapsed=lambda: self.up, boot=lambda: self.boot)

    def wait(self, seconds: float) -> None:
        self.up += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.mark.parametrize("by", [HOUR, -HOUR, DAY, -DAY, 400 * DAY])
def test_a_wall_clock_that_is_set_changes_no_interval_in_any_process(tmp_path: Path, by: timedelta) -> None:
    machine = Machine(tmp_path)
    keeper = machine.process()
    entered = keeper()
    machine.wait(300)
    machine.wall += by
    driver = machine.process()
    assert driver() - entered == keeper() - entered == timedelta(seconds=300)
    machine.wait(301)
    assert machine.process()() - entered == timedelta(seconds=601)
    assert driver.ahead() == by
    machine.wall -= by
    assert driver() - entered == timedelta(seconds=601)


def test_once_nothing_is_under_way_it_goes_by_the_wall_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    keeper, console = machine.process(), machine.process()
    assert keeper() == NOON
    machine.wall += timedelta(seconds=1)
    keeper.set_by_wall()
    assert console() == NOON, "a correction is none"
    machine.wall += DAY
    keeper.set_by_wall()
    assert console() == keeper() == machine.wall
    assert keeper.ahead() == timedelta(0)


def test_after_another_boot_the_wall_is_all_there_is(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.process()() == NOON
    machine.boot, machine.up, machine.wall = "two", 3.0, NOON + HOUR
    assert machine.process()() == NOON + HOUR


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": "one"}', '{"boot": "one", "began": "noon"}'])
def test_a_broken_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock").write_text(text)
    machine = Machine(tmp_path)
    assert machine.process()() == NOON
    machine.wall += DAY
    assert machine.process()() == NOON


def test_what_facts_go_by_is_this_clock_and_what_requests_carry_is_the_wall(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "run").mkdir()
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), wall=lambda: machine.wall)
    before = runtime.clock()
    machine.wall += DAY
    assert timedelta(0) <= runtime.clock() - before < HOUR
    assert runtime.telemetry._clock() == runtime.wall() == NOON + DAY
    assert [each.check for each in _wall_clock(runtime)] == ["wall clock"]
    _set_clock(runtime)
    assert runtime.clock() - machine.wall < HOUR
    assert _wall_clock(runtime) == ()


def test_it_is_not_set_while_a_rollout_is_under_way(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "run").mkdir()
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), wall=lambda: machine.wall)
    plan = Plan.model_validate({"model": "m", "steps": [{"weight": 10}]})
    giver = Giver(actor="ada", cause="cli")
    orders.deploy(runtime.ledger, plan=plan, version="1", request=giver, now=runtime.clock())
    machine.wall -= DAY
    _set_clock(runtime)
    assert runtime.clock() > NOON - HOUR
    runtime.ledger.close()


def test_where_no_stack_has_run_nothing_is_written(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "none")
    assert machine.process()() == NOON
    assert not (tmp_path / "none").exists()
