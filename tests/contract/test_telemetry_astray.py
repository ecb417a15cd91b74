"""A log that others rename, move away, delete or cut: it is read to its end, and its writer starts a new one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.collector_lines import line
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.tail import Tail
from tests.contract.telemetry_rig import Rig


class Writer:
    """Writes as Envoy does: into the file that it opened, whatever it is called now, until it is told to reopen."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.told = 0
        self.is_deaf = False
        self._file = log.open("a")

    def write(self, *lines: str) -> None:
        self._file.writelines(lines)
        self._file.flush()

    def reopen(self) -> None:
        self.told += 1
        if self.is_deaf:
            raise Unreachable("the writer does not answer.")
        self._file.close()
        self._file = self.log.open("a")

    def close(self) -> None:
        self._file.close()


class Astray:
    """A collector whose log is written by such a writer; a second passes between two looks."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.seconds = 0.0
        self.writer = Writer(rig.log)
        self.start()

    def start(self) -> None:
        self.rig.collector = Collector(
            self.rig.store, self.rig.log, self.rig.specs.get, lambda: self.rig.now, reopen=self.writer.reopen
        )
        self.rig.collector._elapsed = lambda: self.seconds

    def look(self, times: int = 4) -> None:
        for _ in range(times):
            self.seconds += 1.0
            self.rig.collect()
            try:
                self.rig.collector.call_back()
            except Unreachable:
                continue

    def counted(self) -> int:
        return self.rig.sums("errors")[0]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "logs" / "live.jsonl")
    yield rig
    rig.store.close()


@pytest.fixture
def astray(rig: Rig) -> Iterator[Astray]:
    rig.log.parent.mkdir()
    astray = Astray(rig)
    yield astray
    astray.writer.close()


def _rename(log: Path) -> None:
    log.rename(log.with_name("other"))


def _date(log: Path) -> None:
    log.rename(log.with_name("live.jsonl-20261129"))


def _move_away(log: Path) -> None:
    log.rename(log.parent.parent / "elsewhere.jsonl")


def _delete(log: Path) -> None:
    log.unlink()


def _replace(log: Path) -> None:
    log.rename(log.with_name("other"))
    log.touch()


def _delete_folder(log: Path) -> None:
    shutil.rmtree(log.parent)
    log.parent.mkdir()


@pytest.mark.parametrize("take", [_rename, _date, _move_away, _delete, _replace, _delete_folder])
def test_what_is_written_to_a_log_that_was_taken_away_counts_once_and_the_log_begins_anew(
    astray: Astray, take: Callable[[Path], None]
) -> None:
    astray.writer.write(line("a"), line("b"))
    astray.look()
    take(astray.rig.log)
    astray.writer.write(line("c"), line("d"))
    astray.look(1)
    astray.writer.write(line("e"))
    astray.look(1)
    astray.writer.write(line("f"))
    astray.look()
    assert astray.writer.told >= 1
    assert astray.rig.log.exists()
    told = astray.writer.told
    astray.writer.write(line("g"))
    astray.look()
    assert astray.counted() == 7
    assert astray.writer.told == told, "once it is where it belongs, nobody is told again"
    astray.start()
    astray.look()
    assert astray.counted() == 7, "a new collector reads nothing twice"
    astray.rig.counted()


def test_a_collector_that_was_away_knows_a_renamed_log_by_its_first_line(astray: Astray) -> None:
    astray.writer.write(line("a"))
    astray.look()
    _rename(astray.rig.log)
    astray.writer.write(line("b"))
    astray.start()
    astray.look()
    astray.writer.write(line("c"))
    astray.look()
    assert astray.counted() == 3
    assert astray.writer.told == 1


def test_a_log_that_was_renamed_by_others_is_not_deleted(astray: Astray) -> None:
    astray.writer.write(line("a"))
    astray.look()
    _rename(astray.rig.log)
    astray.look()
    assert astray.rig.collector.finished(quiet=-1e9) == ()


def test_a_writer_that_cannot_be_told_is_told_again(astray: Astray) -> None:
    astray.writer.write(line("a"))
    astray.look()
    _delete(astray.rig.log)
    astray.writer.is_deaf = True
    astray.look(6)
    assert astray.writer.told >= 2
    astray.writer.is_deaf = False
    astray.look()
    astray.writer.write(line("b"))
    astray.look()
    assert astray.counted() == 2


def test_the_gateways_own_rotation_tells_nobody(astray: Astray) -> None:
    astray.writer.write(line("a"))
    astray.look()
    astray.rig.log.rename(astray.rig.log.with_name("live.000001.jsonl"))
    astray.writer.write(line("b"))
    astray.rig.collect()
    astray.writer.reopen()
    astray.writer.write(line("c"))
    astray.look()
    assert astray.counted() == 3
    assert astray.writer.told == 1, "by the rotation itself"


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_log_that_was_cut_is_read_on_from_where_it_ends(astray: Astray, left: int) -> None:
    first, second = line("a"), line("b")
    astray.writer.write(first, second, line("c"))
    astray.look()
    with astray.rig.log.open("r+b") as file:
        file.truncate([0, len(first), len(first) + 30][left])
    astray.look(1)
    astray.writer.write(line("d"), line("e"))
    astray.look()
    assert astray.counted() == 5
    astray.start()
    astray.writer.write(line("f"))
    astray.look()
    assert astray.counted() == 6


def test_a_cut_log_with_a_whole_copy_beside_it_counts_no_line_twice(astray: Astray) -> None:
    first = line("a")
    astray.writer.write(first, line("b"), line("c"))
    astray.look()
    astray.rig.log.with_name("live.jsonl.1").write_bytes(astray.rig.log.read_bytes())
    with astray.rig.log.open("r+b") as file:
        file.truncate(len(first))
    astray.look()
    assert astray.counted() == 3


def test_a_transaction_that_failed_loses_no_hold_of_a_deleted_log(astray: Astray) -> None:
    astray.writer.write(line("a"))
    astray.look()
    _delete(astray.rig.log)
    astray.writer.write(line("b"))
    with astray.rig.store.write() as connection:
        connection.exec_driver_sql("SELECT 1")  # another writer's long transaction
        astray.rig.store.engine.dispose()
    astray.look()
    assert astray.counted() == 2


def test_files_that_left_are_let_go(tmp_path: Path) -> None:
    log = tmp_path / "live.jsonl"
    tail = Tail(log)
    for number in range(3):
        log.write_text(line(f"r{number}"))
        list(tail.chunks({}))
        log.unlink()
    offsets = {chunk.head: chunk.end for chunk in tail.chunks({})}
    for _ in range(700):
        list(tail.chunks(offsets))
    assert not tail._open
