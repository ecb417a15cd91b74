"""Sends outcomes in the background, from a thread of its own, and the last ones when the program ends."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable

from sluicegate.services.client.problems import ClientError

log = logging.getLogger(__name__)


class Postman:
    """Calls `deliver` every `every` seconds, at once when woken, and once more when the program ends."""

    def __init__(self, deliver: Callable[[], None], every: float) -> None:
        self._deliver = deliver
        self._every = every
        self._bell = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="sluice-outcomes", daemon=True)
        self._thread.start()
        atexit.register(self._last_round)

    def wake(self) -> None:
        """Deliver now."""
        self._bell.set()

    def end(self) -> None:
        """Stop after the current delivery."""
        self._is_over = True
        self._bell.set()
        self._thread.join()
        atexit.unregister(self._last_round)

    def _run(self) -> None:
        while not self._is_over:
            self._bell.wait(self._every)
            self._bell.clear()
            self._round()

    def _round(self) -> None:
        try:
            self._deliver()
        except ClientError as error:
            log.warning("outcomes could not be delivered and wait: %s", error)

    def _last_round(self) -> None:
        self.end()
        self._round()
