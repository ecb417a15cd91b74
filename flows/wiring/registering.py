"""Registering in a cluster: Prefect is told our work pool and our flows, by the keeper that leads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from sluicegate.flows.wiring.machine import registering
from sluicegate.registry.words.errors import SluiceError, TimedOut

log = structlog.get_logger("registering")

_AGAIN, _SOON = 300.0, 5.0
"""Seconds between two looks at what Prefect has of ours; while another keeper leads, or a look failed."""
_LONGEST, _LOOK = 120.0, 0.5
"""Seconds for registering, and between two looks at whether it has ended."""


def keep_registered(leads: Callable[[], bool], stop: threading.Event) -> None:
    """Have Prefect know our work pool and deployments: at start, and every five minutes, until stopped."""
    told = ""
    while not stop.is_set():
        is_known = False
        try:
            if leads():
                _register(stop)
                is_known, told = True, ""
        except (SluiceError, OSError) as error:
            if str(error) != told:
                log.warning("Prefect was not told our flows; tried again", why=str(error))
            told = str(error)
        stop.wait(_AGAIN if is_known else _SOON)


def _register(stop: threading.Event) -> None:
    registration, waited = registering(always=False), 0.0
    registration.begin()
    try:
        while not registration.is_done():
            if waited > _LONGEST:
                raise TimedOut(f"registering has not ended after {_LONGEST:.0f} s.", fix="see whether Prefect is slow.")
            if stop.wait(_LOOK):
                return
            waited += _LOOK
    finally:
        registration.cancel()
