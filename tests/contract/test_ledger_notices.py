"""What any host records is heard at once by whoever listens, and a notice that is lost costs nothing but time."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sluicegate.flows.wiring.listening import listen_to_ledger
from sluicegate.flows.wiring.loops import Loops
from sluicegate.flows.wiring.runtime import Runtime, now
from sluicegate.registry.ledger import notices
from sluicegate.registry.ledger.notices import CHANNEL, Listening
from sluicegate.registry.ledger.record import Changes, Record
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Begun
from sluicegate.registry.words.errors import LedgerConflict
from sluicegate.registry.words.settings import Settings
from sluicegate.services.keeper.waking import Doorbell
from tests.contract.ledgers import at, document, launched, requested, run
from tests.own_postgres import own_postgres
from tests.stopped import hung

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(60)]

ACTS: dict[str, Callable[[SqlLedger], object]] = {
    "a rollout": lambda ledger: ledger.open("r2", requested(model="other"), at(0)),
    "a fact": lambda ledger: ledger.append("r1", 1, Begun(stable="1"), at(1)),
    "a document": lambda ledger: ledger.apply(document("m", "two")),
    "a withdrawal": lambda ledger: ledger.withdraw("plan", "m", actor="ada", at=at(2)),
}


class Heard:
    """How often it was heard that something was recorded."""

    def __init__(self, url: str) -> None:
        self.times = 0
        self._stop, self._changed = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=Listening(url, self._hear).run, args=(self._stop,), daemon=True)

    def _hear(self) -> None:
        with self._changed:
            self.times += 1
            self._changed.notify_all()

    def more_than(self, times: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.times > times, 30)

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        self._thread.start()
        try:
            assert self.more_than(0), "once when it is connected"
            yield self
        finally:
            self._stop.set()
            self._thread.join(30)


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET_SECONDS", 0.2)


@pytest.fixture
def ledger(database: str) -> Iterator[SqlLedger]:
    with closing(SqlLedger(database)) as opened:
        opened.open("r1", requested(), at(0))
        opened.apply(document("m", "one"))
        yield opened


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_whatever_is_recorded_is_heard(database: str, ledger: SqlLedger, act: Callable[[SqlLedger], object]) -> None:
    with Heard(database).listening() as heard, closing(SqlLedger(database)) as of_another_host:
        before = heard.times
        act(of_another_host)
        assert heard.more_than(before)


def test_the_bell_of_a_keeper_rings_for_what_another_host_records(
    database: str, ledger: SqlLedger, tmp_path: Path
) -> None:
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path), "SLUICE_LEDGER": database}), now)
    loops, bell = Loops("keeper", runtime.heartbeats), Doorbell(tmp_path / "bell")
    listen_to_ledger(runtime, loops, bell.ring)
    try:
        assert select.select(bell.sockets(), [], [], 30)[0], "once when it is connected"
        bell.drain()
        ledger.apply(document("m", "two"))
        assert select.select(bell.sockets(), [], [], 30)[0]
    finally:
        loops.stop.set()
        bell.close()


def test_what_was_refused_is_not_heard(database: str, ledger: SqlLedger) -> None:
    def refuse(_: Record) -> Changes:
        raise LedgerConflict("somebody was faster")

    with Heard(database).listening() as heard:
        before = heard.times
        for act in (lambda: ledger.commit(refuse), lambda: ledger.append("r1", 5, Begun(stable="1"), at(1))):
            with pytest.raises(LedgerConflict):
                act()
        assert not ledger.apply(document("m", "one")), "nothing new"
        time.sleep(1)
        assert heard.times == before


def test_a_lost_connection_is_made_again_and_what_was_recorded_meanwhile_is_looked_at(
    database: str, ledger: SqlLedger
) -> None:
    ended = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND (query LIKE :listen OR query = 'SELECT 1')"
    )
    admin = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with Heard(database).listening() as heard:
        before = heard.times
        with admin.connect() as connection:
            assert connection.execute(ended, {"listen": f"LISTEN {CHANNEL}%"}).all(), "it was connected"
        assert heard.more_than(before), "it looks once when it is connected again"
        before = heard.times
        run(ledger, "r1", *launched())
        assert heard.more_than(before)
    admin.dispose()


def test_a_server_that_hangs_is_left_and_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.registry.ledger.patience.PatientConnection.silence", 1.0)
    monkeypatch.setattr("sluicegate.registry.ledger.patience.CONNECT_SECONDS", 2)
    with own_postgres() as (url, pid), closing(SqlLedger(url)) as ledger:
        ledger.open("r1", requested(), at(0))
        with Heard(url).listening() as heard:
            with hung(pid):
                time.sleep(4)
                before = heard.times
            assert heard.more_than(before)
            before = heard.times
            ledger.apply(document("m", "two"))
            assert heard.more_than(before)
