"""Telemetry in a PostgreSQL that is away, comes later, hangs, or is not the one that was meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.collector_lines import line
from sluicegate.flows.wiring.collecting import telemetry_finding
from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.telemetry.store import engine
from sluicegate.services.telemetry.store.store import Store
from tests.contract.telemetry_rig import Rig
from tests.own_postgres import own_postgres
from tests.stopped import hung

NOBODY = "postgresql://ada:s3cret@127.0.0.1:1/telemetry"


@pytest.fixture(scope="module")
def own_server() -> Iterator[tuple[str, int]]:
    with own_postgres() as running:
        yield running


def eventually(do: Callable[[], object]) -> None:
    """Again and again: one that was given up is not asked for two seconds."""
    end = time.monotonic() + 60
    while True:
        try:
            do()
        except Unreachable:
            assert time.monotonic() < end, "it does not come back"
            time.sleep(0.2)
        else:
            return


def asked(store: Store) -> None:
    with store.read():
        pass


@pytest.mark.parametrize("written", ["mysql://db/x", "telemetry.db", "sqlite:////tmp/other.db"])
def test_only_a_postgresql_can_be_named(tmp_path: Path, written: str) -> None:
    with pytest.raises(InvalidSetting, match=r"SLUICE_TELEMETRY has the invalid value .*write postgresql://"):
        Settings.read({"SLUICE_STATE": str(tmp_path), "SLUICE_TELEMETRY": written}).check()


def test_without_the_setting_it_is_a_file_in_the_state_folder(tmp_path: Path) -> None:
    settings = Settings.read({"SLUICE_STATE": str(tmp_path)})
    assert (settings.telemetry_url(), settings.telemetry_file()) == (
        f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "telemetry.db"
    )  # fmt: skip
    elsewhere = Settings.read({"SLUICE_STATE": str(tmp_path), "SLUICE_TELEMETRY": NOBODY})
    assert (elsewhere.telemetry_url(), elsewhere.telemetry_file()) == (NOBODY, None)


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    store = Store(NOBODY)
    with pytest.raises(Unreachable) as told, store.read():
        pass
    assert "the telemetry in postgresql+psycopg://ada:***@127.0.0.1:1/telemetry cannot be used now" in str(told.value)
    assert "s3cret" not in str(told.value)
    finding = telemetry_finding("postgresql://ada:***@127.0.0.1:1/telemetry", str(told.value))
    assert (finding.status, "SLUICE_TELEMETRY" in (finding.fix or "")) == (CheckStatus.FAIL, True)


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_told(own_server: tuple[str, int]) -> None:
    store = Store(own_server[0].replace("/postgres", "/no_such_database"))
    with pytest.raises(Unreachable, match='"no_such_database" does not exist'), store.read():
        pass


@pytest.mark.postgres
def test_lines_wait_while_the_server_hangs_and_count_once_after(
    own_server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine._SILENCE, False, 1.0)
    monkeypatch.setitem(engine._SILENCE, True, 1.0)
    rig = Rig(own_server[0], tmp_path / "live.jsonl")
    rig.clear()
    rig.write(*(line(f"a{n}") for n in range(5)))
    rig.collect()
    rig.write(*(line(f"b{n}") for n in range(5)))
    with hung(own_server[1]):
        with pytest.raises(Unreachable, match=r"has not answered for|timeout expired"):
            rig.collect()
        opened = Store(own_server[0])
        with pytest.raises(Unreachable):
            asked(opened)
    eventually(rig.collect)
    assert rig.sums("mean")[0] == 10
    eventually(lambda: asked(opened))
    rig.store.close()
    opened.close()


@pytest.mark.postgres
def test_who_opens_while_the_server_is_away_goes_on_when_it_is_there(
    own_server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine._SILENCE, False, 1.0)
    with hung(own_server[1]):
        rig = Rig(own_server[0], tmp_path / "live.jsonl")
        rig.write(line("a"))
        with pytest.raises(Unreachable):
            rig.collect()
    eventually(rig.clear)
    rig.write(line("a"))
    eventually(rig.collect)  # a second without a word is not rare on a busy machine
    assert rig.sums("mean")[0] == 1
    rig.store.close()
