"""The Ledger's promises about looks, documents, leases and notes, on every adapter."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied, Lease
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.rollout.facts import Begun
from sluicegate.registry.words.errors import LedgerConflict
from tests.contract.ledgers import at, document, look, requested

# --- looks -----------------------------------------------------------------------------------------------------------


def test_a_look_is_stored_once_whoever_is_first(ledger: Ledger) -> None:
    first = look(1, information=0.1)
    assert ledger.record_look(first) == first
    assert ledger.record_look(look(1, information=0.9)) == first
    assert ledger.looks("r1") == (first,)


def test_looks_come_back_bit_for_bit_in_order(ledger: Ledger) -> None:
    stored = [look(k, metric=metric) for metric in ("p99", "errors", "Log_loss") for k in (10, 2, 1)]
    for one in stored:
        ledger.record_look(one)
    ledger.record_look(look(1, rollout="r2"))
    expected = sorted(stored, key=lambda one: (one.metric, one.k))
    assert [repr(one) for one in ledger.looks("r1")] == [repr(one) for one in expected]
    assert [one.k for one in ledger.looks("r1", "p99")] == [1, 2, 10]
    assert ledger.looks("r1", "nothing") == ()


def test_the_last_looks_are_those_of_the_highest_k(ledger: Ledger) -> None:
    for metric, k in (("b", 1), ("a", 2), ("a", 10), ("a", 9)):
        ledger.record_look(look(k, metric=metric))
    found = ledger.last_looks("r1")
    assert found == tuple(each for each in ledger.looks("r1") if (each.metric, each.k) in {("a", 10), ("b", 1)})
    assert [(each.metric, each.k) for each in found] == [("a", 10), ("b", 1)]


def test_of_many_threads_one_records_the_look(ledger: Ledger) -> None:
    gate = threading.Barrier(6)

    def record(number: int) -> float:
        gate.wait()
        return ledger.record_look(look(1, information=number / 10)).verdict.information

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(record, range(6)))) == 1


# --- documents, leases, notes ----------------------------------------------------------------------------------------


def test_the_latest_document_counts(ledger: Ledger) -> None:
    assert ledger.applied("plan", "delays") is None
    position = ledger.position()
    assert ledger.apply(document("delays", "d1"))
    assert not ledger.apply(document("delays", "d1"))
    assert ledger.apply(document("delays", "d2"))
    assert ledger.apply(document("delays", "d1"))
    assert ledger.apply(document("Fares", "f1"))
    assert ledger.apply(document("delays", "a1", kind="audience"))
    assert ledger.applied("plan", "delays") == document("delays", "d1")
    assert ledger.all_applied("plan") == [document("Fares", "f1"), document("delays", "d1")]
    assert ledger.applied_among("plan", ["delays", "unknown"]) == [document("delays", "d1")]
    assert ledger.applied_among("plan", []) == []
    assert ledger.position() == position + 5


def test_a_document_made_from_another_than_the_latest_is_refused(ledger: Ledger) -> None:
    assert ledger.apply(document("delays", "d1"), over="")
    assert ledger.apply(document("delays", "d2"), over="d1")
    position = ledger.position()
    for stale in ("", "d1"):
        with pytest.raises(LedgerConflict, match="plan delays was changed by somebody else"):
            ledger.apply(document("delays", "d3"), over=stale)
    assert ledger.position() == position
    assert not ledger.apply(document("delays", "d2"), over="d2")
    ledger.withdraw("plan", "delays", actor="bob", at=at(1))
    assert ledger.apply(document("delays", "d3"), over=""), "what was withdrawn counts no longer"


def test_a_withdrawn_document_counts_no_longer_until_it_is_applied_again(ledger: Ledger) -> None:
    document = Applied(kind="audience", name="ny", body={"a": 1}, digest="d1", actor="ada", at=at(0))
    ledger.apply(document)
    before = ledger.position()
    assert ledger.withdraw("audience", "ny", actor="bob", at=at(1))
    assert ledger.position() > before
    assert ledger.applied("audience", "ny") is None
    assert list(ledger.all_applied("audience")) == []
    assert list(ledger.applied_among("audience", ["ny"])) == []
    assert not ledger.withdraw("audience", "ny", actor="bob", at=at(2))
    assert ledger.apply(document)
    assert ledger.applied("audience", "ny") == document


def test_the_history_of_a_document_holds_each_of_its_versions(ledger: Ledger) -> None:
    assert ledger.history("plan", "delays") == []
    first, second = document("delays", "1"), document("delays", "2")
    for each in (first, second):
        ledger.apply(each)
    ledger.apply(document("other", "1"))
    ledger.withdraw("plan", "delays", actor="ada", at=at(9))
    assert ledger.history("plan", "delays")[:2] == [first, second]
    assert [is_withdrawn(each) for each in ledger.history("plan", "delays")] == [False, False, True]


def test_the_feed_holds_every_rollouts_facts_in_the_order_of_appending(ledger: Ledger) -> None:
    ledger.open("a", requested(), at(0))
    ledger.open("b", requested(version="8"), at(1))
    ledger.append("a", 1, Begun(stable="1"), at(2))
    whole = ledger.feed()
    assert [(fed.entry.rollout, fed.entry.seq) for fed in whole] == [("a", 0), ("b", 0), ("a", 1)]
    assert ledger.feed(after=whole[0].place, limit=1) == whole[1:2]
    assert ledger.feed(after=whole[-1].place) == ()
    assert ledger.feed_end() == whole[-1].place


def test_a_lease_is_one_owners_until_it_expires(ledger: Ledger) -> None:
    mine = Lease(rollout="r1", owner="me", expires_at=at(60))
    yours = Lease(rollout="r1", owner="you", expires_at=at(200))
    assert ledger.take_lease(mine, at(0))
    assert not ledger.take_lease(yours, at(59))
    assert ledger.take_lease(Lease(rollout="r1", owner="me", expires_at=at(90)), at(59))
    assert not ledger.take_lease(yours, at(60))
    assert ledger.take_lease(yours, at(90))
    ledger.drop_lease("r1", "me")
    assert ledger.leases() == [yours]
    ledger.drop_lease("r1", "you")
    assert ledger.leases() == []


def test_a_lease_of_a_clock_that_was_set_back_since_keeps_nobody_away(ledger: Ledger) -> None:
    assert ledger.take_lease(Lease(rollout="r1", owner="dead", expires_at=at(15)), at(0))
    assert ledger.take_lease(Lease(rollout="r1", owner="me", expires_at=at(15 - 86_400)), at(-86_400))


def test_the_last_note_counts(ledger: Ledger) -> None:
    assert ledger.recall("poll") is None
    ledger.remember("poll", {"a": 1})
    ledger.remember("poll", {"b": {"c": None}})
    assert ledger.recall("poll") == {"b": {"c": None}}
