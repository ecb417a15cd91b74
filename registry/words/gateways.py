"""Gateways: which of them serve the routes that the ledger asks for, and what keeps the others from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Confirmation(StrEnum):
    """What a gateway says of the routes that it was given last."""

    CONFIRMED = "confirmed"
    """It serves the present routes."""
    AWAY = "away"
    """It does not run, and serves nobody. It starts with the routes in its files, which are these."""
    LATE = "late"
    """It answers, but serves other routes."""
    SILENT = "silent"
    """It accepts connections but does not answer, so nobody knows which routes it serves."""
    REFUSED = "refused"
    """It refused the present routes and serves the former ones."""


HARMLESS = (Confirmation.CONFIRMED, Confirmation.AWAY)
"""How a gateway is that sends nobody by former routes."""


@dataclass(frozen=True, kw_only=True)
class GatewayState:
    """One gateway."""

    name: str
    confirmation: Confirmation
    version: str | None
    """The version that it said it serves, when it was asked last; None: it does not run, or never answered."""
    since: datetime
    """Since when it is so."""
    why: str = ""
    """What is in the way, in words."""

    @property
    def holds_up(self) -> bool:
        """Whether weights must wait for it."""
        return self.confirmation not in HARMLESS

    def __str__(self) -> str:
        said = f"{self.name} is {self.confirmation.value} since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{said}: {self.why}" if self.why else said


@dataclass(frozen=True, kw_only=True)
class Unwatched:
    """That a gateway serves the stable-only form of its routes, as no keeper watches it."""

    gateway: str
    since: datetime
    why: str

    def __str__(self) -> str:
        since = f"since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.gateway} sends requests to stable builds only, and copies to no shadow, {since}: {self.why}"


STALE = timedelta(seconds=20)
"""Age at which what was noted of gateways says nothing any more; it is noted every five seconds."""


@dataclass(frozen=True, kw_only=True)
class GatewayStates:
    """What was last noted of every gateway. Nothing at all: nobody ever looked."""

    noted_at: datetime | None = None
    noted: Sequence[GatewayState] = ()

    def at(self, now: datetime) -> tuple[GatewayState, ...]:
        """By gateway; all are unknown once nobody looks any more."""
        if self.noted_at is None or now - self.noted_at <= STALE:
            return tuple(self.noted)
        why = "not known, because the keeper does not run or hangs; see: sluice status"
        since = self.noted_at
        return tuple(replace(each, confirmation=Confirmation.SILENT, since=since, why=why) for each in self.noted)
