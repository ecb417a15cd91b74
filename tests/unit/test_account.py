"""Requests without a line: a gap in the log stays on the account, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.services.telemetry.reading.account import SETTLED, Account, begun
from sluicegate.services.telemetry.reading.accounts import Accountant, gaps
from sluicegate.services.telemetry.reading.watch import FEW, Counters
from sluicegate.services.telemetry.store.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINE = 100


def counted(ended: int, lines: int, unread: int = 0, buffered: int = 0) -> Counters:
    """Lines are a hundred bytes; `unread` and `buffered` are lines."""
    return Counters(
        ended=ended, lines=lines, size=lines * LINE, unread=unread * LINE, buffered=buffered * LINE
    )  # fmt: skip


def course(*looks: Counters) -> Account:
    account = begun(looks[0])
    for at, each in enumerate(looks[1:], 1):
        account = account.after(each, at)
    return account


def test_a_lost_segment_stays_on_the_account() -> None:
    account = course(counted(0, 0), counted(1_000, 1_000), counted(3_000, 2_000), counted(90_000, 89_000))
    assert (account.gap, account.gap_at) == (1_000, 2)


def test_lines_that_come_later_are_no_gap() -> None:
    assert course(counted(0, 0), counted(900, 500, unread=300, buffered=100), counted(1_000, 1_000)).gap == 0


def test_of_many_unread_lines_the_number_is_not_guessed() -> None:
    far_behind = counted(1_000_000, 10_000, unread=900_000)
    assert far_behind.unread > SETTLED
    assert course(counted(0, 0), far_behind).gap == 0


def test_a_gap_before_the_first_look_is_not_known_and_one_across_restarts_is_kept() -> None:
    account = course(counted(5_000, 100), counted(6_000, 1_000), counted(20, 1_020), counted(220, 1_120))
    assert account.before == 100
    assert account.gap == 200


def test_a_new_database_or_gateway_loses_nothing() -> None:
    assert course(counted(5_000, 5_000), counted(5_100, 0), counted(5_200, 100)).gap == 0
    assert course(counted(5_000, 5_000), counted(3, 5_003), counted(50, 5_050)).gap == 0


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100), st.integers(0, 200)), max_size=30))
def test_whatever_is_under_way_when_a_gap_is_what_never_came(steps: list[tuple[int, int, int]]) -> None:
    ended = lines = 0
    account = begun(counted(0, 0))
    for at, (more, late, lost) in enumerate(steps):
        ended += more + late + lost
        lines += more
        account = account.after(counted(ended, lines, unread=late), at)
        lines += late
    total = sum(lost for _, _, lost in steps)
    account = account.after(counted(ended, lines), 99)
    assert account.gap == (total if total >= FEW else 0)


def test_the_account_outlives_its_keeper(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/telemetry.db")
    log = "live.jsonl"
    Accountant(store, "gateway-2", log).look(counted(10, 10), NOW)
    second = Accountant(store, "gateway-2", log)
    second.look(counted(510, 310), NOW + timedelta(minutes=1))
    second.look(counted(900, 700), NOW + timedelta(minutes=2))
    (gap,) = gaps(store)
    assert (gap.gateway, gap.requests, gap.at) == ("gateway-2", 200, NOW + timedelta(minutes=1))
    assert "200 requests of gateway-2 were served and never counted" in str(gap)
    again = Accountant(store, "gateway-2", log)
    again.look(replace(counted(900, 900)), NOW + timedelta(minutes=3))
    assert gaps(store) == [], "the lines were found"
    store.close()
