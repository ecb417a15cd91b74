"""Samples: numbers measured by other systems, read during a rollout. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number that a source returned."""

    value: float
    at: datetime | None = None
    """When the source measured it, if it says so."""


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """A source returned no number, and why."""

    reason: str


Reading = Measured | Lacking
"""The result of one query to a source."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One recorded reading for an external gate of a rollout."""

    rollout: str
    gate: str
    k: int
    """Counts from 1 for each (rollout, gate)."""
    epoch: int
    """The rollout's epoch when the source was queried."""
    at: datetime
    """When the source was queried."""
    reading: Reading

    @property
    def measured_at(self) -> datetime:
        """When the value was measured, as far as known."""
        stated_time = self.reading.at if isinstance(self.reading, Measured) else None
        return stated_time or self.at
