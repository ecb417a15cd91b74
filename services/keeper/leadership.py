"""Leadership: whether this keeper may act. It renews its lease while it may, and stands by while another one leads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from sluicegate.registry.ledger.port import Election
from sluicegate.registry.words.errors import NotLeading, SluiceError

log = structlog.get_logger("keeper")

LASTS = timedelta(seconds=9)
"""A keeper that says nothing for so long is replaced: before gateways take it for dead."""
RENEWED = 3.0
"""Seconds between renewals."""
_LOOK_SECONDS = 1.0


class Leadership:
    """One process's part in the election. Its own clock of intervals says when its lease ends: never too late."""

    def __init__(
        self, election: Election, keeper: str, *, clock: Callable[[], datetime], elapsed: Callable[[], float],
        is_gone: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        """`elapsed` gives seconds, those that the machine slept included; `is_gone` knows of keepers that ended."""
        self._election, self._keeper = election, keeper
        self._clock, self._elapsed, self._is_gone = clock, elapsed, is_gone
        self._until, self._renewed = 0.0, -RENEWED
        self._told = ""
        self.term = 0

    def leads(self) -> bool:
        """Whether it may act now."""
        return self._elapsed() < self._until

    def check(self) -> None:
        """Raise NotLeading where it may not act. Asked before each effect; the fence is behind it."""
        if not self.leads():
            raise NotLeading(
                "this keeper's lease has ended.", fix="another keeper has taken over or will: sluice status."
            )

    def look(self) -> bool:
        """Renew the lease, or see whether it can be taken; False where another keeper led since this one did."""
        began = self._elapsed()
        if self.leads() and began - self._renewed < RENEWED:
            return True
        try:
            found = self._election.stand(self._keeper, LASTS, self._clock(), self._is_gone)
        except SluiceError as error:
            self._say(f"the lease cannot be renewed: {error}")
            return True
        is_replaced = bool(self.term) and found.term != self.term
        if found.keeper == self._keeper and not is_replaced:
            self.term, self._renewed = found.term, began
            self._until = began + LASTS.total_seconds()
            self._say(f"leads, term {found.term}")
            return True
        self._until = 0.0
        if is_replaced:
            self._election.resign(self._keeper)
            self._say(f"was replaced: term {found.term} has begun")
        else:
            self._say(f"stands by: {found.keeper} leads, term {found.term}")
        return not is_replaced

    def run(self, stop: threading.Event) -> None:
        """Look until stopped. It returns where another keeper took over: then this process ends, whatever it is at."""
        while self.look() and not stop.wait(_LOOK_SECONDS):
            pass

    def resign(self) -> None:
        """Let another keeper take over at once."""
        was_leading, self._until = self.leads(), 0.0
        if was_leading:
            self._election.resign(self._keeper)

    def _say(self, what: str) -> None:
        if what != self._told:
            log.info("election", keeper=self._keeper, state=what)
        self._told = what
