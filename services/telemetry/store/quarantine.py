"""Quarantine: stores the newest unreadable lines, so that people can see them. The counter counts all of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema

KEPT_IN_QUARANTINE = 1_000
_LINE_LIMIT = 2_000


def set_aside(connection: Connection, unreadable: list[dict[str, Any]]) -> None:
    """Store unreadable lines, given as rows of the table, and delete the oldest beyond the limit."""
    if not unreadable:
        return
    table = schema.quarantine
    connection.execute(sa.insert(table), unreadable[-KEPT_IN_QUARANTINE:])
    newest = connection.scalar(sa.select(sa.func.max(table.c.id)))
    connection.execute(sa.delete(table).where(table.c.id <= newest - KEPT_IN_QUARANTINE))


def shown(text: str | bytes) -> str:
    """A shortened text that any database can store."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return raw[:_LINE_LIMIT].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
