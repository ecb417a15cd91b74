"""Election: of all keepers that share a ledger one leads, by a lease in the database; the others stand by. Pure.

A keeper that takes the lease over has a higher term than any before. Its own lease it may renew also when that has
ended, as long as nobody else took it: then nobody else has acted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sluicegate.registry.ledger.record import Keeping

FORGOTTEN = timedelta(seconds=30)
"""Age at which a keeper that stood by, and has not been seen since, is known no more: it stands every second."""
_LONGEST = timedelta(minutes=10)
"""A lease that ends later was written by a clock that was set back since."""


def leader(known: Sequence[Keeping]) -> Keeping | None:
    """Who took the lease last, whether or not it has ended."""
    return max((each for each in known if each.term), key=lambda each: each.term, default=None)


def leads(keeping: Keeping, now: datetime) -> bool:
    """Whether its lease keeps others away."""
    return keeping.until is not None and now < keeping.until <= now + _LONGEST


def stand(
    known: Sequence[Keeping], keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]
) -> Keeping:
    """What is recorded of a keeper that stands for election now: with a lease where it leads, without one else."""
    last = leader(known)
    if last is None or last.keeper == keeper or not leads(last, now) or is_gone(last.keeper):
        before = last.term if last is not None else 0
        term = before if last is not None and last.keeper == keeper else before + 1
        return Keeping(keeper=keeper, term=term, until=now + lasts, seen_at=now)
    return Keeping(keeper=keeper, seen_at=now)


def forgotten(known: Sequence[Keeping], now: datetime) -> tuple[str, ...]:
    """Who need not be known any more. The last leader is, for ever: terms go on from its own."""
    last = leader(known)
    return tuple(each.keeper for each in known if each != last and now - each.seen_at > FORGOTTEN)


def lately_seen(known: Sequence[Keeping], now: datetime) -> tuple[Keeping, ...]:
    """Who leads, or led last, at first; then who stood by lately. Only who leads has a lease."""
    last, gone = leader(known), forgotten(known, now)
    first = () if last is None else (last if leads(last, now) else replace(last, until=None),)
    others = sorted((each for each in known if each != last and each.keeper not in gone), key=lambda each: each.keeper)
    return (*first, *(replace(each, term=0, until=None) for each in others))
