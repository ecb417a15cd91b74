"""What lists cost is counted in steps of the database: as many with a long past as with a short one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from sluicegate.registry.ledger.experiments import last_experiments
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.services.console.pages.rollouts import MOST
from tests.contract.ledgers import at, launched, requested, run
from tests.contract.test_ledger_history import AB, OVER
from tests.unit.console_office import BEARER, MemoryDesk, Office

PAST = 4_000
"""More rollouts than any page counts."""
STRETCH = 100
"""Steps between two notes: what is read of a page is not counted to the last row."""


class Steps:
    """Counts the steps of a ledger's database."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._counted = 0
        event.listen(ledger._engine, "checkout", lambda connection, *_: self._watch(connection))

    def _watch(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(self._note, STRETCH)

    def _note(self) -> int:
        self._counted += STRETCH
        return 0

    def of(self, act: Callable[[], object]) -> int:
        act()
        self._counted = 0
        act()
        return self._counted


def filled(path: Path) -> SqlLedger:
    """Two rollouts that are over, and two comparisons of an experiment that are."""
    ledger = SqlLedger(f"sqlite:///{path}")
    for name, version in (("r0", "2"), ("r1", "3")):
        ledger.open(name, requested(version=version), at(0))
        run(ledger, name, *launched(), *OVER)
    compared = replace(requested(), strategy="ab", experiment="x", plan=AB)
    for variation in ("b", "c"):
        ledger.open(f"x{variation}", replace(compared, variation=variation), at(1))
        run(ledger, f"x{variation}", *OVER)
    return ledger


def remember_a_long_past(path: Path) -> None:
    """Rows of rollouts that were opened before all others: nobody who reads a first page reads their facts."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM rollouts")]
        columns = list(rows[0])
        older = (
            rows[n % len(rows)]
            | {"rollout": f"p{n}", "place": -n, "last": -n, "ended_at": "2020", "version": str(100 + n)}
            | ({"experiment": f"p{n}"} if rows[n % len(rows)]["experiment"] else {})
            for n in range(1, PAST)
        )
        into = f"INSERT INTO rollouts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        connection.executemany(into, ([row[column] for column in columns] for row in older))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_what_a_list_reads_does_not_grow_with_the_past(path: Path) -> None:
    ledger = filled(path)
    steps = Steps(ledger)
    state = ledger.rollout("r0").ending
    assert state is not None
    lists: dict[str, Callable[[], object]] = {
        "models": ledger.models,
        "models with experiments": ledger.compared_models,
        "newest": lambda: ledger.rollouts(Selection(newest=2)),
        "newest of a model": lambda: ledger.rollouts(Selection(model="delays", newest=2)),
        "newest in a state": lambda: ledger.rollouts(Selection(state=state.value, newest=2)),
        "in no such state": lambda: ledger.rollouts(Selection(state="paused", newest=2)),
        "under way": lambda: ledger.rollouts(Selection(is_ended=False, newest=2)),
        "how many are under way": lambda: ledger.count(Selection(is_ended=False)),
        "ended lately": lambda: ledger.rollouts(Selection(ended_since=at(0), newest=2)),
        "comparisons": lambda: ledger.rollouts(Selection(comparisons=True, newest=2)),
        "comparisons of a model": lambda: ledger.rollouts(Selection(model="delays", comparisons=True, newest=2)),
        "facts of a model": lambda: ledger.feed(after=1, before=20, model="delays"),
    }
    before = {name: steps.of(act) for name, act in lists.items()}
    remember_a_long_past(path)
    grown = {name: found for name, act in lists.items() if (found := steps.of(act)) > before[name] + 5 * STRETCH}
    assert grown == {}


def test_what_must_go_through_many_rollouts_ends_at_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(path)
    remember_a_long_past(path)
    steps = Steps(ledger)
    monkeypatch.setattr("sluicegate.registry.ledger.rollout_rows.SEARCHED", 10)
    assert ledger.count(most=7) == 7
    assert steps.of(lambda: ledger.count(most=7)) < 10 * STRETCH
    assert steps.of(lambda: ledger.rollouts(Selection(text="nowhere", newest=2))) < 10 * STRETCH
    assert [each.id for each in ledger.rollouts(Selection(text="r1"))] == ["r1"]


def test_the_first_page_of_each_list_does_not_grow_with_the_past(path: Path) -> None:
    ledger = filled(path)
    office, steps = Office(MemoryDesk(ledger=ledger)), Steps(ledger)
    pages = ("/", "/rollouts?state=under way", "/activity", "/activity?model=delays", "/audiences", "/health")

    def ask(page: str) -> None:
        assert office.client.get(page, headers=BEARER).status_code == 200

    before = {page: steps.of(lambda page=page: ask(page)) for page in pages}  # type: ignore[misc]
    remember_a_long_past(path)
    grown = {
        page: found
        for page in pages
        if (found := steps.of(lambda page=page: ask(page))) > before[page] + 5 * STRETCH  # type: ignore[misc]
    }
    assert grown == {}


def test_the_last_experiments_are_whole_and_no_earlier_ones_are_read(path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{path}")
    compared = replace(requested(), strategy="ab", plan=AB)
    for number in range(60):
        for variation in ("b", "c"):
            asked = replace(compared, experiment=f"x{number}", variation=variation)
            ledger.open(f"x{number}{variation}", asked, at(number))
            run(ledger, f"x{number}{variation}", *OVER)
    newest = last_experiments(ledger, most=30)
    assert [tuple(each.id for each in group) for group in newest] == [(f"x{n}b", f"x{n}c") for n in range(59, 29, -1)]
    earlier = last_experiments(ledger, model="delays", before="x30", most=40)
    assert [group[0].id for group in earlier] == [f"x{n}b" for n in range(29, -1, -1)]
    assert last_experiments(ledger, model="fares", most=3) == ()
    assert ledger.compared_models() == ("delays",)
    assert ledger.count(most=MOST) == 120
