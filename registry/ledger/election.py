"""Election: one of all keepers that share a ledger leads, by a lease in the database; the others stand by. Pure.

A keeper that takes over the lease has a higher term than any before it. It may renew its own lease even after the end,
unless another keeper took over: until then nobody else has acted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sluicegate.registry.ledger.record import Keeping

FORGOTTEN = timedelta(seconds=30)
"""Age at which a keeper that stood by and was not seen since is forgotten. It stands for election every second."""
_LONGEST = timedelta(minutes=10)
"""A lease that ends later than this was written before a clock was set back."""


def leader(keepings: Sequence[Keeping]) -> Keeping | None:
    """The keeper that took the lease last, whether or not it has ended; None if there is none."""
    return max((each for each in keepings if each.term), key=lambda each: each.term, default=None)


def leads(keeping: Keeping, now: datetime) -> bool:
    """Whether its lease prevents others from leading."""
    return keeping.until is not None and now < keeping.until <= now + _LONGEST


def stand(
    keepings: Sequence[Keeping], keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]
) -> Keeping:
    """The record of a keeper that stands for election now: with a lease if it leads, otherwise without."""
    last = leader(keepings)
    if last is None or last.keeper == keeper or not leads(last, now) or is_gone(last.keeper):
        before = last.term if last is not None else 0
        term = before if last is not None and last.keeper == keeper else before + 1
        return Keeping(keeper=keeper, term=term, until=now + lasts, seen_at=now)
    return Keeping(keeper=keeper, seen_at=now)


def forgotten(keepings: Sequence[Keeping], now: datetime) -> tuple[str, ...]:
    """The keepers to forget. The last leader is never forgotten, because the next term follows from its own."""
    last = leader(keepings)
    return tuple(each.keeper for each in keepings if each != last and now - each.seen_at > FORGOTTEN)


def lately_seen(keepings: Sequence[Keeping], now: datetime) -> tuple[Keeping, ...]:
    """The leader, or the last one, first; then keepers that stood by recently. Only the leader has a lease."""
    last, forgotten_keepers = leader(keepings), forgotten(keepings, now)
    first = () if last is None else (last if leads(last, now) else replace(last, until=None),)
    others = sorted(
        (each for each in keepings if each != last and each.keeper not in forgotten_keepers),
        key=lambda each: each.keeper,
    )
    return (*first, *(replace(each, term=0, until=None) for each in others))
