"""Gateways: which of them serve the routes that the ledger asks for, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Confirmation(StrEnum):
    """Whether a gateway confirms that it serves the last routes it was given."""

    CONFIRMED = "confirmed"
    """It serves the present routes."""
    AWAY = "away"
    """It is not running and serves nobody. When it starts, it serves the present routes: they are in its files."""
    LATE = "late"
    """It answers, but serves other routes."""
    SILENT = "silent"
    """It accepts connections but does not answer, so nobody knows which routes it serves."""
    REFUSED = "refused"
    """It refused the present routes and serves the former ones."""


HARMLESS = (Confirmation.CONFIRMED, Confirmation.AWAY)
"""States in which a gateway sends no request by former routes."""


@dataclass(frozen=True, kw_only=True)
class GatewayState:
    """How one gateway is doing."""

    name: str
    confirmation: Confirmation
    version: str | None
    """The version that it last reported to serve; None: it is not running, or never answered."""
    since: datetime
    """When this state began."""
    why: str = ""
    """What prevents it from serving the present routes, in words."""

    @property
    def holds_up(self) -> bool:
        """Whether weights must wait for it."""
        return self.confirmation not in HARMLESS

    def __str__(self) -> str:
        state = f"{self.name} is {self.confirmation.value} since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{state}: {self.why}" if self.why else state


@dataclass(frozen=True, kw_only=True)
class Unwatched:
    """A gateway that serves the stable-only form of its routes, because no keeper watches it."""

    gateway: str
    since: datetime
    why: str

    def __str__(self) -> str:
        since = f"since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.gateway} sends requests to stable builds only, and copies to no shadow, {since}: {self.why}"


STALE = timedelta(seconds=20)
"""Age at which recorded states of gateways are too old to be used. They are recorded every five seconds."""


@dataclass(frozen=True, kw_only=True)
class GatewayStates:
    """The state of every gateway as last recorded. Empty if none was ever recorded."""

    noted_at: datetime | None = None
    noted: Sequence[GatewayState] = ()

    def at(self, now: datetime) -> tuple[GatewayState, ...]:
        """The state of each gateway. If the last record is too old, all of them are SILENT."""
        if self.noted_at is None or now - self.noted_at <= STALE:
            return tuple(self.noted)
        why = "not known, because the keeper does not run or hangs; see: sluice status"
        since = self.noted_at
        return tuple(replace(each, confirmation=Confirmation.SILENT, since=since, why=why) for each in self.noted)
