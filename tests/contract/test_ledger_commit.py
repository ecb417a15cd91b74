"""What `commit` promises, on every adapter: all or nothing, once for a key, and nobody in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, OrderKey, Receipt, Record
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.facts import Aborted, Begun, Entry
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.errors import TargetBusy, UsageError
from tests.contract.ledgers import at, document, requested

KEY = OrderKey(key="ada:1", digest="d", at=at(0))


def opened(name: str, *, begins: bool = True) -> Changes:
    facts = (requested(), Begun(stable=None)) if begins else (requested(),)
    entries = tuple(Entry(rollout=name, seq=seq, at=at(seq), fact=fact) for seq, fact in enumerate(facts))
    return Changes(entries=entries, documents=(document("m/default", "d"),), receipt=Receipt(rollout=name))


def test_facts_of_several_rollouts_and_documents_are_recorded_together(ledger: Ledger) -> None:
    ledger.commit(lambda _: opened("r1"))
    end = Entry(rollout="r1", seq=2, at=at(2), fact=Aborted(actor="ada", reason="no"))
    both = opened("r2")
    ledger.commit(lambda _: replace(both, entries=(end, *both.entries), documents=()))
    assert [(each.id, each.phase) for each in ledger.rollouts()] == [("r1", Phase.ENDED), ("r2", Phase.LAUNCHING)]
    assert [fed.entry.seq for fed in ledger.feed()] == [0, 1, 2, 0, 1]
    assert ledger.applied("plan", "m/default") is not None


def test_the_record_that_decides_is_the_present_one(ledger: Ledger) -> None:
    ledger.commit(lambda _: opened("r1"))
    seen: list[object] = []

    def decide(record: Record) -> Changes:
        seen.extend(
            (record.rollout("r1"), record.rollouts(Selection(model="delays")), record.applied("plan", "m/default"))
        )
        seen.append(list(record.all_applied("plan")))
        return Changes(receipt=Receipt(changed=False))

    assert not ledger.commit(decide).changed
    plan = ledger.applied("plan", "m/default")
    assert seen == [ledger.rollout("r1"), ledger.rollouts(Selection(model="delays")), plan, [plan]]


def test_what_decide_raises_leaves_no_trace_and_no_key(ledger: Ledger) -> None:
    def refuse(_: Record) -> Changes:
        raise TargetBusy("no")

    position = ledger.position()
    with pytest.raises(TargetBusy):
        ledger.commit(refuse, KEY)
    assert ledger.position() == position
    assert ledger.commit(lambda _: opened("r1"), KEY).rollout == "r1"


def test_half_of_it_is_never_there(ledger: Ledger) -> None:
    """The second fact does not follow from the first: neither is recorded, and no document."""
    broken = opened("r1")
    skipped = replace(broken.entries[1], seq=7)
    with pytest.raises(Exception, match="fact 7 cannot be next"):
        ledger.commit(lambda _: replace(broken, entries=(broken.entries[0], skipped)))
    assert ledger.rollouts() == ()
    assert ledger.feed() == ()
    assert ledger.all_applied("plan") == []
    assert ledger.commit(lambda _: broken).rollout == "r1"


def test_a_key_is_carried_out_once_also_by_many_at_once(ledger: Ledger) -> None:
    asked: list[int] = []

    def decide(record: Record) -> Changes:
        asked.append(len(record.rollouts()))
        return opened(f"r{len(asked)}", begins=False)

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: ledger.commit(decide, KEY), range(16)))
    assert len(asked) == len(ledger.rollouts()) == 1
    assert {receipt.rollout for receipt in receipts} == {"r1"}
    assert sum(receipt.repeated for receipt in receipts) == 15


def test_a_key_that_stands_for_another_order_is_a_mistake(ledger: Ledger) -> None:
    ledger.commit(lambda _: opened("r1"), KEY)
    with pytest.raises(UsageError, match="another order"):
        ledger.commit(lambda _: opened("r2"), replace(KEY, digest="other"))
    assert len(ledger.rollouts()) == 1


def test_of_many_who_decide_at_once_each_sees_what_the_one_before_recorded(ledger: Ledger) -> None:
    def decide(record: Record) -> Changes:
        return opened(f"r{len(record.rollouts())}", begins=False)

    with ThreadPoolExecutor(8) as pool:
        names = sorted(str(receipt.rollout) for receipt in pool.map(lambda _: ledger.commit(decide), range(16)))
    assert names == sorted(f"r{number}" for number in range(16))
