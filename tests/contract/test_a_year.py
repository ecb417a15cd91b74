"""A year in operation: what is no record goes when it is old; logs rotate under their writers; nothing leaks."""

from __future__ import annotations

import gc
import selectors
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select, text

from benchmarks.collector_lines import START as TELEMETRY_START
from benchmarks.collector_lines import assigned, line
from sluicegate.registry.ledger.attempt import Attempt, last_attempt, note
from sluicegate.registry.ledger.calls import Call
from sluicegate.registry.ledger.forgetting import forget
from sluicegate.registry.ledger.record import Changes, Lease, OrderKey, Receipt
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.ledger.sql_calls import SqlCalls
from sluicegate.registry.rollout.facts import Aborted, Entry, Settled
from sluicegate.registry.words import access_log
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.rotation import rotate_grown
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.store import quarantine, rows, schema
from sluicegate.services.telemetry.tailing import tail
from sluicegate.services.telemetry.tally import lines, spec_cache, unit_accumulator
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.ledgers import START, document, launched, look, requested
from tests.contract.telemetry_rig import SPEC, Rig

BESIDE = ("calls", "orders", "leases", "notes")
"""Tables that are not the record."""


def counts(url: str) -> dict[str, int]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        seen = {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in BESIDE}
    engine.dispose()
    return seen


def short_rollout(ledger: SqlLedger, calls: SqlCalls, number: int) -> None:
    """A rollout from its order to its end, with everything that doors, drivers and webhooks leave; one each 4 hours."""
    at, name = START + timedelta(hours=4 * number), f"r{number}"
    call = Call(at=at, actor="ada", role="admin", method="POST", path="/rollouts", digest="d", key=f"k{number}")
    calls.finish(calls.begin(call)[0].number, 201, '{"id": "x"}')
    facts = [requested(), *launched(), Aborted(actor="ada", reason="short", verdicts={}), Settled(changes=())]
    entries = tuple(Entry(rollout=name, seq=seq, at=at, fact=fact) for seq, fact in enumerate(facts))
    key = OrderKey(key=f"k{number}", digest="d", at=at)
    ledger.commit(lambda _: Changes(entries=entries, receipt=Receipt(rollout=name)), key)
    ledger.record_look(look(1, rollout=name))
    ledger.remember(f"webhook:{number}", {"at": at.isoformat(), "entity": "alias"})
    note(ledger, name, Attempt(number=1, run=f"run{number}", at=at))
    ledger.take_lease(Lease(rollout=name, owner="run", expires_at=at + timedelta(seconds=20)), at)


@pytest.fixture
def quick(memory: Path) -> Path:
    """A folder of its own: ten thousand commits wait for no disk."""
    return Path(tempfile.mkdtemp(dir=memory))


@pytest.mark.parametrize("days", [12, pytest.param(90, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_short_rollouts_leave_the_record_and_nothing_else_that_grows(quick: Path, days: int) -> None:
    """Six a day, and what is older than `days` is deleted: a thousand of them where that is a quarter."""
    url = f"sqlite:///{quick / 'ledger.db'}"
    ledger, calls = SqlLedger(url), SqlCalls(url)
    step, seen = days * 2 // 3, list[tuple[dict[str, int], int, list[str]]]()
    for number in range(17 * step):
        short_rollout(ledger, calls, number)
        if number % step == 0:
            forget(url, START + timedelta(hours=4 * number) - timedelta(days=days), ())
        if number in (11 * step, 16 * step):
            gc.collect()
            seen.append((counts(url), _open_files(), sorted(path.name for path in quick.iterdir())))
    assert seen[0] == seen[1], "tables, descriptors and files after two thirds and at the end"
    assert {seen[0][0][table] for table in ("calls", "orders", "leases")} <= {6 * days, 6 * days + 1}
    assert (len(ledger.rollouts()), ledger.verify().faults) == (17 * step, ())
    ledger.close()
    calls.close()


def _open_files() -> int:
    gone = Path("/proc/self/fd")
    return len(list(gone.iterdir())) if gone.exists() else 0


def test_memory_grows_by_the_states_of_rollouts_alone(quick: Path) -> None:
    """And these are small: some kilobytes each."""
    url = f"sqlite:///{quick / 'ledger.db'}"
    ledger, calls = SqlLedger(url), SqlCalls(url)
    tracemalloc.start()
    try:
        sizes = []
        for number in range(60):
            short_rollout(ledger, calls, number)
            if number in (19, 39, 59):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[1] < 20 * 10_000, sizes
    ledger.close()
    calls.close()


def test_what_is_young_or_still_needed_is_kept(url: str) -> None:
    ledger, calls = SqlLedger(url), SqlCalls(url)
    ledger.apply(document("delays", "1"))
    short_rollout(ledger, calls, 0)
    ledger.remember("poll", {"aliases": {}})
    assert forget(url, START, ()) == 0
    assert forget(url, START + timedelta(hours=1), {"r0"}) == 4, "call, receipt, lease, webhook"
    assert (ledger.recall("webhook:0"), ledger.recall("poll")) == (None, {"aliases": {}})
    assert last_attempt(ledger, "r0") is not None, "its rollout is under way"
    assert forget(url, START + timedelta(hours=1), ()) == 1
    assert (last_attempt(ledger, "r0"), ledger.verify().faults) == (None, ())
    assert len(ledger.entries("r0")) == 7
    ledger.close()
    calls.close()


@pytest.mark.parametrize("written", ["1d", "10", "99999d", "ever"])
def test_a_time_that_cannot_be_meant_is_refused(written: str) -> None:
    with pytest.raises(InvalidSetting, match="SLUICE_KEEP"):
        Settings.read({"SLUICE_KEEP": written}).check()
    assert Settings.read({"SLUICE_KEEP": "30d"}).keep_seconds == 30 * 86_400


# --- logs -------------------------------------------------------------------------------------------------------------

_WRITER = """
import os, sys, time
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for number in range(20_000):
    os.write(handle, b"%06d %s\\n" % (number, b"x" * 90))
print("written", flush=True)
sys.stdin.read()
os.write(handle, b"%06d %s\\n" % (20_000, b"x" * 90))
"""


def test_a_log_is_rotated_while_its_program_writes(tmp_path: Path) -> None:
    log, size = tmp_path / "mlflow.log", 200_000
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        rotated = 0
        with selectors.DefaultSelector() as selector:
            selector.register(writer.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=0.001):
                rotated += len(rotate_grown((tmp_path,), size))
        writer.communicate(timeout=30)  # the last line, while nobody rotates
    finally:
        writer.kill()
        writer.wait()
    assert rotated > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.log", "mlflow.log.1"]
    lines = log.read_bytes().splitlines()
    assert all(line[:6].isdigit() and len(line) == 97 for line in lines), "no hole, no half line"
    assert lines[-1].startswith(b"020000")


def test_small_logs_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name, size in {"a.log": 10, "b.log": 11, "b.json": 99}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    assert [path.name for path in rotate_grown((tmp_path, tmp_path / "none"), 10)] == ["b.log"]
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {"a.log": 10, "b.log": 0, "b.log.1": 11, "b.json": 99}


def test_a_log_that_cannot_be_copied_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: what fills it goes."""
    (tmp_path / "a.log").write_bytes(b"x" * 99)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    rotate_grown((tmp_path,), 10)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"a.log": 0}


# --- telemetry --------------------------------------------------------------------------------------------------------

ROUNDS = [16, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(0)])]
FOR_EVER = frozenset({"tallies", "latencies", "seen", "ends", "unit_sums"})
"""Tables that keep some rows of each rollout: the evidence that it was judged by."""
BOUNDED = (access_log.read_assigned, access_log.read_place, access_log._join, unit_accumulator.merged,
           access_log.read_common, lines._common, rows._number_of)  # fmt: skip
"""What remembers some thousand values and no more: a thousand rollouts do not fill it."""


@pytest.mark.parametrize("rollouts", ROUNDS)
def test_of_many_short_rollouts_telemetry_keeps_their_evidence_and_nothing_else_that_grows(
    quick: Path, rollouts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests, outcomes, a line that cannot be read and a rotated log each; kept for two days."""
    monkeypatch.setattr(tail, "_PASSES_AWAY", 20)
    monkeypatch.setattr(quarantine, "KEPT_IN_QUARANTINE", 5)
    monkeypatch.setattr(spec_cache, "_LIMIT", 5)
    rig = Rig(f"sqlite:///{quick / 'telemetry.db'}", quick / "logs" / "live.jsonl", Specs())
    rig.log.parent.mkdir()
    seen: list[tuple[dict[str, int], int, list[str], int]] = []
    tracemalloc.start()
    try:
        for number in range(rollouts):
            _day_of_traffic(rig, number)
            if number + 1 in (rollouts // 2, rollouts):
                for remembered in BOUNDED:
                    remembered.cache_clear()
                gc.collect()
                files = sorted(path.name for path in quick.rglob("*"))
                seen.append((_rows(rig), _open_files(), files, tracemalloc.get_traced_memory()[0]))
    finally:
        tracemalloc.stop()
        rig.store.close()
    assert len(rig.collector._known or ()) <= 4, "logs that are gone are not remembered"
    (half, *held, memory), (whole, *held_after, memory_after) = seen
    assert held == held_after, "descriptors and files"
    growing = {name: (half[name], whole[name]) for name in whole if whole[name] > half[name]}
    assert set(growing) == FOR_EVER
    assert all(after == 2 * before for before, after in growing.values()), f"as many for each rollout: {growing}"
    assert half["exposures"] < 40, "two days of them, and the day that is under way"
    assert memory_after - memory < 100_000, "bytes: what is remembered of a rollout is bounded"


class Specs(dict[str, RolloutSpec]):
    """Every rollout is judged by the same metrics."""

    def get(self, rollout: str, _: object = None) -> RolloutSpec:  # type: ignore[override]
        return replace(SPEC, rollout=rollout, by_unit=True)


def _day_of_traffic(rig: Rig, number: int) -> None:
    """A short rollout: ten requests, labels of most, then the log is rotated and house is kept."""
    rig.now = begun = TELEMETRY_START + timedelta(days=number)
    for request in range(10):
        arm, rid = ("candidate", "stable")[request % 2], f"{number}-{request}"
        at = str(int((begun + timedelta(seconds=request)).timestamp() * 1e6))
        rig.write(line(rid, ts=at, assigned=assigned(arm, rollout=f"r{number}"), unit=f"u{request % 3}"))
    rig.write("no line\n")
    rig.collect()
    rig.record(*(OutcomeIn(prediction_id=f"{number}-{request}", name="late", value=1) for request in range(7)))
    rig.record(OutcomeIn(prediction_id=f"never-{number}", name="late", value=1))
    rig.record(OutcomeIn(model="delays", unit="nobody", name="late", value=1, at=begun))
    rig.collect()
    rig.log.rename(rig.log.with_suffix(".jsonl.1"))
    rig.log.write_text("")
    rig.collect()
    rig.now += timedelta(hours=23)
    rig.collect()
    for path in rig.collector.finished(0):
        path.unlink()
    rig.collector.forget_gone(rig.now - timedelta(days=2))
    retain(rig.store, rig.now - timedelta(days=2), rig.now)


def _rows(rig: Rig) -> dict[str, int]:
    with rig.store.read() as connection:
        tables = schema.METADATA.sorted_tables
        counted = {each.name: connection.scalar(select(func.count()).select_from(each)) for each in tables}
    return {name: int(count or 0) for name, count in counted.items()}


def test_how_far_a_log_was_read_is_forgotten_only_once_it_is_gone(rig: Rig) -> None:
    """Else a quiet log would be read again from its beginning."""
    rig.write(line("a"))
    rig.collect()
    aside = rig.log.with_name("another-name")
    rig.log.rename(aside)
    rig.write(line("b"))
    rig.collect()
    rig.now += timedelta(days=400)
    rig.collector.forget_gone(rig.now)
    rig.start()
    rig.collect()
    assert rig.sums("errors")[0] == 2, "each line once"
    aside.unlink()
    rig.collector.forget_gone(rig.now - timedelta(days=500))
    assert len(rig.collector._offsets.load()) == 2, "read lately"
    rig.collector.forget_gone(rig.now)
    assert len(rig.collector._offsets.load()) == 1
