"""What is over costs nothing and changes nothing: the present is the same as if every rollout were read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from sluicegate.registry.ledger import rollout_rows
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.experiment import splits
from sluicegate.registry.rollout.facts import (
    Aborted,
    Baked,
    Begun,
    Established,
    Fact,
    Observed,
    Promoted,
    Requested,
    Settled,
    Undeployed,
)
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import past, standings, takeovers
from sluicegate.registry.words.errors import IllegalMove, NotFound, TargetBusy
from sluicegate.services.keeper.overdue import overdue
from tests.contract.ledgers import Reopen, at, launched, requested, run
from tests.unit.rollouts import fold

SEEDS = (0, 1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 8)))
AB = {
    "kind": "plan", "model": "delays", "metrics": {"late": {"source": "outcome", "worse": "higher"}},
    "ab": {"variations": {"default": 1, "b": 1, "c": 1}, "goal": {"metric": "late"}, "max_time": "7d"},
}  # fmt: skip
ENDING = (Promoted(actor="ada", reason="good", override=True, verdicts={}), Baked(reason="warm"), Settled(changes=()))
OVER: tuple[Fact, ...] = (Aborted(actor="ada", reason="enough"), Settled(changes=()))


def asked(chance: random.Random) -> Requested:
    variation, version = chance.choice(("default", "b")), chance.choice("234")
    first = requested(model=chance.choice(("delays", "fares")), variation=variation, version=version)
    match chance.randrange(6):
        case 0 | 1:
            return replace(first, strategy="deploy")
        case 2:
            return replace(first, follows=f"r{chance.randrange(20)}", plan_digest="e" * 8)
        case _:
            return first


def next_fact(state: Rollout, chance: random.Random) -> Fact:
    launch = launched()
    facts: dict[Phase, tuple[Fact, ...]] = {
        Phase.QUEUED: (Begun(stable="1"), Aborted(actor="ada", reason="no")),
        Phase.LAUNCHING: (*launch[1:], Established(actor="ada", reason="first"), Aborted(actor="ada", reason="no")),
        Phase.RUNNING: (Observed(epoch=state.epoch, version="1"), ENDING[0], OVER[0]),
        Phase.PAUSED: (OVER[0],),
        Phase.BAKING: (ENDING[1], OVER[0]),
        Phase.ENDED: (
            Settled(changes=()),
            Undeployed(actor="ada", reason="empty") if state.took_over else Settled(changes=()),
        ),
    }
    return chance.choice(facts[state.phase])


def happen(ledger: Ledger, chance: random.Random, number: int) -> None:
    """Something that may happen: what the state does not admit leaves no trace."""
    if chance.random() < 0.2:
        ledger.open(f"r{number}", asked(chance), at(number))
        return
    if chance.random() < 0.05:
        compared = replace(asked(chance), strategy="ab", experiment=f"x{number}", plan=AB)
        for variation in ("b", "c"):
            ledger.open(f"r{number}{variation}", replace(compared, variation=variation), at(number))
        return
    there = ledger.rollouts()
    if not there:
        return
    state = chance.choice(there)
    with suppress(IllegalMove, TargetBusy):
        ledger.append(state.id, state.seq + 1, next_fact(state, chance), at(number))


def whole(ledger: Ledger) -> list[Rollout]:
    """Every rollout, from its facts, oldest first."""
    opened = [fed.entry.rollout for fed in ledger.feed(limit=10_000) if fed.entry.seq == 0]
    return [fold(ledger.entries(name)) for name in opened]


def selections(every: list[Rollout], end: int, chance: random.Random) -> Iterator[Selection]:
    yield Selection(model="delays", variation="b", version="3")
    yield Selection(plan_digest="e" * 8, newest=3)
    yield Selection(comparisons=True)
    yield Selection(experiment=next((each.requested.experiment for each in every if each.requested.experiment), "x"))
    yield Selection(follows="r3")
    yield Selection(took_over=True, model="fares")
    yield Selection(is_ended=False)
    yield Selection(is_ended=True, newest=2)
    yield Selection(state="aborted", text="R1")
    yield Selection(text="ENOUGH")
    yield Selection(text="50%_off")
    yield Selection(ended_since=at(chance.randrange(200)))
    yield Selection(ended_since=at(chance.randrange(100)), newest=2)
    yield Selection(changed_after=chance.randrange(end + 1))
    yield Selection(before=chance.choice(every).id, newest=chance.randrange(1, 6))


def hold(ledger: Ledger, chance: random.Random) -> None:
    """Hold what the ledger gives against all that there ever was."""
    every, now = whole(ledger), ledger.current()
    models = ([each for each in every if each.requested.model == model] for model in ("delays", "fares"))
    gone = {name for of_model in models for name in past(of_model)}
    assert now == tuple(each for each in every if each.id not in gone)
    assert ledger.current("fares") == tuple(each for each in now if each.requested.model == "fares")
    assert ledger.current_of(["fares", "unknown"]) == ledger.current("fares")
    assert ledger.current_of(["fares", "delays"]) == now
    assert ledger.current_of([]) == ()
    assert standings(now) == standings(every)
    assert ledger.served_models() == tuple(sorted({standing.model for standing in standings(every)}))
    assert splits(now, standings(now)) == splits(every, standings(every))
    last = {fed.entry.rollout: fed.place for fed in ledger.feed(limit=10_000)}
    for selection in selections(every, ledger.feed_end(), chance):
        wanted = selection.cut(each for each in every if last[each.id] > (selection.changed_after or 0))
        assert ledger.rollouts(selection) == wanted, selection
        if selection.newest is None:
            assert ledger.count(selection) == len(wanted), selection
    assert ledger.models() == tuple(sorted({each.requested.model for each in every}))
    assert ledger.takeovers("delays", "b") == takeovers(each for each in every if each.target == ("delays", "b"))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_present_is_what_it_would_be_if_every_rollout_were_read(ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed)
    ledger.open("r0", requested(), at(0))
    for number in range(1, 200):
        happen(ledger, chance, number)
        if number % 50 == 0:
            hold(ledger, chance)


@pytest.mark.parametrize("seed", SEEDS)
def test_processes_that_open_it_early_late_and_with_little_memory_agree(
    reopen: Reopen, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.registry.ledger.folds.LATELY", 1)
    chance = random.Random(seed)
    first, second = reopen(), reopen()
    first.open("r0", requested(), at(0))
    for number in range(1, 200):
        happen(chance.choice((first, second)), chance, number)
    for each in (first, second, reopen()):
        hold(each, chance)
    assert first.verify().faults == ()


def end_many(ledger: Ledger, count: int) -> None:
    for number in range(count):
        name = f"r{number}"
        ledger.open(name, requested(version=str(number + 2)), at(number))
        run(ledger, name, *launched(), *(ENDING if number % 2 else OVER))
        run(ledger, name, Observed(epoch=ledger.rollout(name).epoch, version="v"))


def test_what_has_ended_is_present_until_the_data_plane_serves_its_end(ledger: Ledger) -> None:
    ledger.open("r0", requested(), at(0))
    run(ledger, "r0", *launched(), *OVER)
    assert [each.id for each in ledger.current()] == ["r0"]
    assert overdue(ledger, at(100)).keys() == {"r0"}
    run(ledger, "r0", Observed(epoch=ledger.rollout("r0").epoch, version="v"))
    assert ledger.current() == ()


def test_what_is_over_is_not_read_when_the_ledger_is_opened(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    end_many(reopen(), 30)
    read = list[object]()
    decode = rollout_rows.entry_of
    monkeypatch.setattr(rollout_rows, "entry_of", lambda row: read.append(row) or decode(row))
    opened = reopen()
    assert [each.id for each in opened.current()] == ["r27", "r29"]
    assert {row.rollout for row in read} == {"r27", "r29"}  # type: ignore[attr-defined]
    read.clear()
    assert (opened.count(), len(opened.models()), len(opened.takeovers("delays", "default"))) == (30, 1, 15)
    assert [each.id for each in opened.rollouts(Selection(newest=4))] == ["r26", "r27", "r28", "r29"]
    assert {row.rollout for row in read} == {"r26", "r28"}  # type: ignore[attr-defined]


def test_rows_are_written_from_the_facts_of_a_ledger_that_had_none(url: str, reopen: Reopen) -> None:
    from sqlalchemy import create_engine, text

    chance, former = random.Random(7), reopen()
    former.open("r0", requested(), at(0))
    for number in range(1, 200):
        happen(former, chance, number)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in ("rollouts", "keepers"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("CREATE TABLE targets (model TEXT, variation TEXT)"))
        connection.execute(text("CREATE UNIQUE INDEX one_holder_per_target ON targets (model, variation)"))
        connection.execute(text("UPDATE sluice_ledger_version SET version_num = '0005'"))
    engine.dispose()
    opened = reopen()
    assert isinstance(opened, SqlLedger)
    hold(opened, chance)


def test_one_that_is_not_there_has_none_before_it_and_that_is_said(ledger: Ledger) -> None:
    ledger.open("r1", asked(random.Random(1)), at(1))
    for ask in (ledger.rollouts, ledger.count):
        with pytest.raises(NotFound, match="there is no rollout r9 to list the earlier ones of"):
            ask(Selection(before="r9"))
