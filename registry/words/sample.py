"""Samples: numbers that other systems measure, as they were asked for during a rollout. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number that a source gave."""

    value: float
    at: datetime | None = None
    """When the source measured it, where it says so."""


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """That a source gave no number, and why."""

    reason: str


Reading = Measured | Lacking
"""What came of one question to a source."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One recorded reading for an external gate of a rollout."""

    rollout: str
    gate: str
    k: int
    """Counts from 1 for each (rollout, gate)."""
    epoch: int
    """The rollout's when the source was asked."""
    at: datetime
    """When it was asked."""
    reading: Reading

    @property
    def measured_at(self) -> datetime:
        """When the value was measured, as far as is known."""
        stated_time = self.reading.at if isinstance(self.reading, Measured) else None
        return stated_time or self.at
