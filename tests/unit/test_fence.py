"""The fence of Envoy's files: of several processes that write them, the one with the newest table is let through."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from sluicegate.registry.ledger.restoration import MadeFrom, restored, say_restored
from sluicegate.registry.words.errors import Fenced, TimedOut
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken
from sluicegate.services.traffic.envoy import fence
from sluicegate.services.traffic.envoy.fence import Fence
from tests.doubles.ledger import MemoryLedger
from tests.unit.test_keeper import START


def token(position: int, term: int = 1, restored: int = 0) -> FencingToken:
    return FencingToken(position=position, term=term, restored=restored)


def test_who_was_stopped_in_the_middle_of_a_change_writes_nothing_more(tmp_path: Path) -> None:
    stopped, successor = Fence(tmp_path), Fence(tmp_path)
    stopped.enter(token(5))
    with stopped.passing():
        pass
    successor.enter(token(5, term=2))
    for _ in range(2):
        with pytest.raises(Fenced), stopped.passing():
            pytest.fail("it wrote")
    with pytest.raises(Fenced):
        stopped.enter(token(9))
    with successor.passing():
        pass


def test_a_newer_table_of_the_same_keeper_goes_through_and_is_remembered(tmp_path: Path) -> None:
    Fence(tmp_path).enter(token(5))
    Fence(tmp_path).enter(token(6))
    Fence(tmp_path).enter(token(6))
    assert Fence(tmp_path).token_in_force() == token(6)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"place": 4}'])
def test_what_cannot_be_read_keeps_nobody_away(tmp_path: Path, text: str) -> None:
    """It is written whole, so somebody else has written it; a keeper that could never route again would be worse."""
    (tmp_path / "fence.json").write_text(text)
    assert Fence(tmp_path).token_in_force() == BEFORE_ALL


def test_who_holds_the_lock_and_is_stopped_is_waited_for_and_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fence, "_PATIENCE", 0.0)
    Fence(tmp_path).enter(token(5))
    with (tmp_path / "fence.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimedOut, match="sluice status"):
            Fence(tmp_path).enter(token(6))
    Fence(tmp_path).enter(token(6))


def test_a_restored_ledger_says_so_in_every_table_from_then_on() -> None:
    ledger = MemoryLedger()
    made_from = MadeFrom(ledger, lambda: 3)
    assert made_from() == FencingToken(term=3)
    first = say_restored(ledger, actor="ada", reason="last night's backup", at=START)
    second = say_restored(ledger, actor="ada", reason="no, the one before", at=START)
    assert first < second == restored(ledger)
    assert made_from() == FencingToken(term=3, position=ledger.position(), restored=second)
    assert [each.actor for each in ledger.history("restoration", "ledger")] == ["ada", "ada"]
