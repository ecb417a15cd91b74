"""A driver's lease: keeps two drivers from doing the same work, though correctness does not depend on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Lease
from sluicegate.registry.words.errors import SluiceError

LASTS = timedelta(seconds=15)
RENEWED = 4.0
"""Seconds between renewals."""


@contextmanager
def hold_lease(ledger: Ledger, rollout: str, owner: str, clock: Callable[[], datetime]) -> Iterator[bool]:
    """Hold the rollout's lease during the block and renew it. Yields False if another driver has it."""
    if not _take(ledger, rollout, owner, clock):
        yield False
        return
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(ledger, rollout, owner, clock, done), daemon=True)
    renewing.start()
    try:
        yield True
    finally:
        done.set()
        renewing.join(timeout=RENEWED)
        ledger.drop_lease(rollout, owner)


def _renew(ledger: Ledger, rollout: str, owner: str, clock: Callable[[], datetime], done: threading.Event) -> None:
    while not done.wait(RENEWED):
        try:
            _take(ledger, rollout, owner, clock)
        except SluiceError:
            continue


def _take(ledger: Ledger, rollout: str, owner: str, clock: Callable[[], datetime]) -> bool:
    now = clock()
    return ledger.take_lease(Lease(rollout=rollout, owner=owner, expires_at=now + LASTS), now)
