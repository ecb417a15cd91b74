"""Counts the copies for shadows that the data plane drops, as long as there are shadows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import SluiceError

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

PERIOD = 1.0
"""Seconds between two looks. Copies dropped after the last look before a shadow ends are not counted."""


def watch_drops(runtime: Runtime, stop: threading.Event) -> None:
    """Count dropped copies until stopped."""
    import sqlalchemy as sa
    import structlog

    logged = ""
    while not stop.wait(PERIOD):
        try:
            look(runtime)
            why = ""
        except (SluiceError, OSError, sa.exc.SQLAlchemyError) as error:
            why = str(error)
        if why and why != logged:
            structlog.get_logger("collector").warning("dropped copies not counted; tried again", why=why)
        logged = why


def look(runtime: Runtime) -> None:
    """Note the counters of every shadow that gets copies."""
    from sluicegate.services.telemetry.pairs.dropped_copies import note_drops

    for rollout in runtime.ledger.current():
        if rollout.is_shadow and rollout.weight > 0:
            for name, envoy in runtime.envoys.items():
                if not envoy.is_away():
                    note_drops(runtime.reading_store, rollout.id, name, envoy.dropped_copies(rollout.candidate))
