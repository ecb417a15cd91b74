"""Collecting, as the doctor sees it: how much of the access logs was not read, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.telemetry.tailing.backlog import Backlog

_CHECK = "collector"
_PATIENCE = 60.0
"""Seconds that lines may lie unread before something is wrong."""


def finding(behind: Backlog, now: float) -> Finding:
    """What a backlog means at a time in seconds since 1970."""
    from sluicegate.services.host.doctor.finding import passed, warned

    waits = behind.waits(now)
    unread = f"{behind.unread_bytes:,} bytes of access log unread"
    if waits <= _PATIENCE:
        return passed(_CHECK, unread)
    fix = "see whether the disk is full, and what the collector's log says: sluice status. Nothing is lost meanwhile."
    return warned(_CHECK, f"{unread}, and no line was read for {waits / 60:,.0f} min", fix)
