"""Of all keepers of a ledger one leads: on every adapter, by the ledger's clock."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Keeping
from tests.contract.ledgers import Reopen, at

LONG, OVER = timedelta(minutes=5), timedelta(microseconds=-1)


def stands(ledger: Ledger, keeper: str, lasts: timedelta = LONG, gone: tuple[str, ...] = ()) -> tuple[str, int]:
    found = ledger.stand(keeper, lasts, at(0), gone.__contains__)
    return found.keeper, found.term


def seen(ledger: Ledger) -> list[tuple[str, int, bool]]:
    return [(each.keeper, each.term, each.until is not None) for each in ledger.keepers(at(0))]


def test_the_first_leads_and_all_others_stand_by(ledger: Ledger) -> None:
    assert seen(ledger) == []
    assert [stands(ledger, name) for name in ("a", "b", "a", "c", "b")] == [("a", 1)] * 5
    assert seen(ledger) == [("a", 1, True), ("b", 0, False), ("c", 0, False)]


def test_who_takes_over_has_a_higher_term_than_any_before(ledger: Ledger) -> None:
    assert stands(ledger, "a", OVER) == ("a", 1)
    assert seen(ledger) == [("a", 1, False)]
    assert stands(ledger, "b", OVER) == ("b", 2)
    assert stands(ledger, "a") == ("a", 3)
    assert stands(ledger, "b") == ("a", 3)
    assert seen(ledger) == [("a", 3, True), ("b", 0, False)]


def test_who_led_last_renews_an_ended_lease_in_the_same_term(ledger: Ledger) -> None:
    """Nobody else has acted meanwhile: nothing that it did is older than anything."""
    assert [stands(ledger, "a", lasts) for lasts in (OVER, OVER, LONG)] == [("a", 1)] * 3


def test_who_is_known_to_have_ended_is_not_waited_for(ledger: Ledger) -> None:
    assert stands(ledger, "a") == ("a", 1)
    assert stands(ledger, "b", gone=("c",)) == ("a", 1)
    assert stands(ledger, "b", gone=("a",)) == ("b", 2)
    assert stands(ledger, "a") == ("b", 2)


def test_who_resigns_is_followed_at_once_and_nobody_resigns_for_another(ledger: Ledger) -> None:
    assert stands(ledger, "a") == ("a", 1)
    ledger.resign("b")
    assert stands(ledger, "b") == ("a", 1)
    ledger.resign("a")
    assert seen(ledger) == [("a", 1, False), ("b", 0, False)]
    assert stands(ledger, "b") == ("b", 2)


def test_terms_go_on_whoever_was_forgotten(ledger: Ledger) -> None:
    """Keepers that have not been seen for a while are forgotten; never the last one that led."""
    for number in range(1, 4):
        assert stands(ledger, f"k{number}", OVER) == (f"k{number}", number)
    assert len(ledger.keepers(at(0))) == 3
    later = max(each.seen_at for each in ledger.keepers(at(0))) + timedelta(hours=2)
    if ledger.keepers(later) == ledger.keepers(at(0)):
        return  # it goes by a clock of its own
    assert [each.keeper for each in ledger.keepers(later)] == ["k3"]
    assert ledger.stand("k9", LONG, later, lambda _: False).term == 4


def test_of_many_that_stand_at_once_one_leads(reopen: Reopen) -> None:
    """Each with connections of its own, as processes have."""
    gate, many = threading.Barrier(6), [reopen() for _ in range(6)]

    def stand(number: int) -> Keeping:
        gate.wait()
        return many[number].stand(f"k{number}", LONG, at(0), lambda _: False)

    with ThreadPoolExecutor(6) as pool:
        leaders = {(each.keeper, each.term) for each in pool.map(stand, range(6))}
    assert len(leaders) == 1
    assert leaders.pop()[1] == 1
