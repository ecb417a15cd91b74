"""The fence: of several processes that write a data plane's files, the one with the newest table is let through.

Envoy's files are fenced, those of the relay, and the sheet for a gateway of another host.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from sluicegate.registry.ledger.restoration import MadeFrom, restored, say_restored
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import Fenced, TimedOut, Unreachable
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken
from sluicegate.services.traffic import fence
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.relay import Relay
from sluicegate.services.traffic.fence import Fence
from sluicegate.services.traffic.joined import Mailbox
from sluicegate.services.traffic.sheet import write_sheet
from sluicegate.services.traffic.table import RouteTable
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


BUILD = BuildRef(model="delays", version="1")


def relay(folder: Path) -> Relay:
    """A relay whose Envoy does not run: it reads the files when it starts."""
    made = Relay(folder=folder, host="127.0.0.2", port=1, pair=folder, authority=folder, binary=folder)
    made.prepare()
    return made


def services(version: int) -> Endpoints:
    build = BuildRef(model="delays", version=str(version))
    return {build: (Endpoint(build=build, socket=f"/s/{version}"),)}


def files(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in ("cds.json", "lds.json")]


def test_a_keeper_that_was_replaced_opens_the_relay_for_nothing(tmp_path: Path) -> None:
    here = relay(tmp_path)
    here.publish(services(2), ["10.0.0.6"], token(5, term=2))
    published = files(tmp_path)
    for older in (token(4, term=2), token(9, term=1)):
        with pytest.raises(Fenced):
            here.publish(services(1), [], older)
        assert files(tmp_path) == published
    here.publish(services(3), [], token(5, term=2))
    assert files(tmp_path) != published, "services that start for the same table are let in"


def test_a_keeper_that_is_replaced_while_it_opens_the_relay_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, published = relay(tmp_path), list[str]()

    def stats(_: Admin, pattern: str) -> dict[str, int | str]:
        """The other keeper acts while the first one waits for Envoy's answer."""
        if "lds" in pattern and not published:
            published.append("")
            here.publish(services(2), ["10.0.0.6"], token(9, term=2))
            published[:] = files(tmp_path)
        raise Unreachable("Envoy does not run")

    monkeypatch.setattr(Admin, "stats", stats)
    with pytest.raises(Fenced):
        here.publish(services(1), [], token(9, term=1))
    assert files(tmp_path) == published


def test_a_keeper_that_is_replaced_while_it_leaves_a_sheet_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox(folder=tmp_path / "edge-1")
    older, newer = (write_sheet(RouteTable(made_from=token(9, term=term)), [BUILD]) for term in (1, 2))
    enter, left = Fence.enter, list[str]()

    def stopped_here(each: Fence, own: FencingToken) -> None:
        enter(each, own)
        if not left:
            left.append(newer)
            box.leave(newer)

    monkeypatch.setattr(Fence, "enter", stopped_here)
    with pytest.raises(Fenced):
        box.leave(older)
    assert box.sheet() == newer


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
