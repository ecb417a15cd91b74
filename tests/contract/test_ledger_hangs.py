"""A PostgreSQL that hangs: whoever asks is told in time, and all goes on when it does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url, text

from sluicegate.registry.ledger import engine as engines
from sluicegate.registry.ledger import patience
from sluicegate.registry.ledger.engine import connect, reading, writing
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.words.errors import Unreachable
from tests.contract.ledgers import at, document, launched, requested, run

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are as good as five, and sooner over."""
    monkeypatch.setattr(patience.PatientConnection, "silence", 2.0)
    monkeypatch.setattr(patience, "CONNECT_SECONDS", 2)


@contextlib.contextmanager
def hung(url: str) -> Iterator[None]:
    """Every process of the server does nothing meanwhile, and holds its connections."""
    data = Path(str(make_url(url).query["host"]))
    main = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    family = [main, *main.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def test_a_server_that_hangs_is_given_up_and_used_again_when_it_goes_on(database: str) -> None:
    ledger = SqlLedger(database)
    ledger.open("r1", requested(), at(0))
    with hung(database):
        for ask in (lambda: ledger.rollouts(), lambda: ledger.feed_end()):
            with pytest.raises(Unreachable, match=r"^the ledger"):
                ask()
        with pytest.raises(Unreachable, match=r"^nothing was recorded"):
            ledger.apply(document("m", "one"))
        with pytest.raises(Unreachable):
            SqlLedger(database)
    engines_again(ledger)
    run(ledger, "r1", *launched())
    assert ledger.rollout("r1").seq == 4
    ledger.close()


def engines_again(ledger: SqlLedger) -> None:
    """Until a connection is tried again."""
    for _ in range(100):
        with contextlib.suppress(Unreachable):
            ledger.feed_end()
            return
        threading.Event().wait(0.1)
    ledger.feed_end()


def test_who_waits_for_a_thread_that_waits_for_the_server_waits_no_longer_than_that(database: str) -> None:
    ledger, ends = SqlLedger(database), list[str]()
    ledger.open("r1", requested(), at(0))

    def ask() -> None:
        try:
            ledger.rollout("r1")
            ends.append("answered")
        except Unreachable:
            ends.append("told")

    with hung(database):
        crowd = [threading.Thread(target=ask, daemon=True) for _ in range(30)]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join(30)
        assert ends == ["told"] * 30
    ledger.close()


def test_a_server_that_takes_the_line_and_says_nothing_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://ada:secret@127.0.0.1:{mute.getsockname()[1]}/ledger"
        engine = connect(url)
        with pytest.raises(Unreachable, match="timeout"), reading(engine):
            pass
        with pytest.raises(Unreachable, match="a moment ago") as raised, reading(engine):
            pass
        assert "secret" not in str(raised.value)


def test_a_writer_that_hangs_loses_its_turn(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, other = SqlLedger(database), connect(database)
    monkeypatch.setattr(engines, "_TAKE_TURN", engines._TAKE_TURN.replace("'20000'", "'300'"))
    turn = writing(other)
    turn.__enter__()
    assert ledger.apply(document("m", "one"))
    with pytest.raises(Unreachable, match=r"^it is not known whether this was recorded"):
        turn.__exit__(None, None, None)
    ledger.close()
    other.dispose()


def test_who_has_time_waits_for_a_long_statement_and_the_next_one_does_not(database: str) -> None:
    engine = connect(database)
    with writing(engine, 60) as connection:
        connection.execute(text("SELECT pg_sleep(3)"))
    with pytest.raises(Unreachable, match="not answered"), writing(engine) as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    engine.dispose()
