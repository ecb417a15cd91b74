"""Watches what the data plane drops of the copies for shadows, for as long as they have some."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import SluiceError

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

PERIOD = 1.0
"""Seconds between two looks; what is dropped after the last one before a shadow ends is not counted."""


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
    """Note the counters of every shadow that has copies."""
    from sluicegate.services.telemetry.pairs.dropped_copies import note_drops

    for rollout in runtime.ledger.current():
        if rollout.is_shadow and rollout.weight > 0:
            for name, envoy in runtime.envoys.items():
                if not envoy.is_away():
                    note_drops(runtime.reading_store, rollout.id, name, envoy.dropped_copies(rollout.candidate))
