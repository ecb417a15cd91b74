"""Leadership: whether this keeper may act. The leader renews its lease; every other keeper stands by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from sluicegate.registry.ledger.port import Election
from sluicegate.registry.words.errors import NotLeading, SluiceError

log = structlog.get_logger("keeper")

LASTS = timedelta(seconds=9)
"""A leader that does not renew its lease for this long is replaced; shorter than the time after which gateways take it
for dead."""
RENEWED = 3.0
"""Seconds between renewals."""
_LOOK_SECONDS = 1.0


class Leadership:
    """One keeper's part in the election. It measures its lease by its own clock of intervals, from before the renewal,
    so that it never acts too long."""

    def __init__(
        self, election: Election, keeper: str, *, clock: Callable[[], datetime], elapsed: Callable[[], float],
        is_gone: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        """`elapsed` returns seconds, including time that the machine slept; `is_gone` recognises keepers that have
        ended."""
        self._election, self._keeper = election, keeper
        self._clock, self._elapsed, self._is_gone = clock, elapsed, is_gone
        self._until, self._renewed = 0.0, -RENEWED
        self._last_state = ""
        self.term = 0

    def leads(self) -> bool:
        """Whether this keeper may act now."""
        return self._elapsed() < self._until

    def check(self) -> None:
        """Raise NotLeading unless this keeper may act. Called before each effect; the fence protects beyond that."""
        if not self.leads():
            raise NotLeading(
                "this keeper's lease has ended.", fix="another keeper has taken over or will: sluice status."
            )

    def look(self) -> bool:
        """Renew the lease, or try to take it; False if another keeper has led since this one did."""
        began = self._elapsed()
        if self.leads() and began - self._renewed < RENEWED:
            return True
        try:
            lease = self._election.stand(self._keeper, LASTS, self._clock(), self._is_gone)
        except SluiceError as error:
            self._say(f"the lease cannot be renewed: {error}")
            return True
        is_replaced = bool(self.term) and lease.term != self.term
        if lease.keeper == self._keeper and not is_replaced:
            self.term, self._renewed = lease.term, began
            self._until = began + LASTS.total_seconds()
            self._say(f"leads, term {lease.term}")
            return True
        self._until = 0.0
        if is_replaced:
            self._election.resign(self._keeper)
            self._say(f"was replaced: term {lease.term} has begun")
        else:
            self._say(f"stands by: {lease.keeper} leads, term {lease.term}")
        return not is_replaced

    def run(self, stop: threading.Event) -> None:
        """Look until stopped. Returns early if another keeper has taken over; then this process must end at once."""
        while self.look() and not stop.wait(_LOOK_SECONDS):
            pass

    def resign(self) -> None:
        """Let another keeper take over at once."""
        was_leading, self._until = self.leads(), 0.0
        if was_leading:
            self._election.resign(self._keeper)

    def _say(self, state: str) -> None:
        if state != self._last_state:
            log.info("election", keeper=self._keeper, state=state)
        self._last_state = state
