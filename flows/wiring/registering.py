"""Registering in a cluster: the leading keeper registers our work pool and our flows at Prefect."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from sluicegate.flows.wiring.machine import registering
from sluicegate.registry.words.errors import SluiceError, TimedOut

log = structlog.get_logger("registering")

_AGAIN, _SOON = 300.0, 5.0
"""Seconds between two checks of our registration; and while another keeper leads, or after a failure."""
_LONGEST, _LOOK = 120.0, 0.5
"""Time limit for registering, and seconds between two checks whether it has ended."""


def keep_registered(leads: Callable[[], bool], stop: threading.Event) -> None:
    """Register our work pool and deployments at the start, and check them every five minutes, until stopped."""
    logged = ""
    while not stop.is_set():
        is_registered = False
        try:
            if leads():
                _register(stop)
                is_registered, logged = True, ""
        except (SluiceError, OSError) as error:
            if str(error) != logged:
                log.warning("Prefect was not told our flows; tried again", why=str(error))
            logged = str(error)
        stop.wait(_AGAIN if is_registered else _SOON)


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
