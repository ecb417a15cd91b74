"""Sight: how many of the requests that the gateway served were counted, and when too few were to judge. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Listener(StrEnum):
    """Where the gateway takes requests. Each has an access log of its own."""

    LIVE = "live"
    """Callers' requests."""
    SHADOW = "shadow"
    """Copies for shadows."""


@dataclass(frozen=True, kw_only=True)
class Blindness:
    """Too many requests are not counted, or cannot be judged."""

    since: datetime
    reason: str
    """What is not counted, why, and what to do, in words."""

    def __str__(self) -> str:
        return f"cannot be judged since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How many of one listener's recent requests were counted."""

    served: int = 0
    """Requests that ended in the last minute or so."""
    uncounted: int = 0
    """Requests, recent or earlier, that should be counted by now and are not."""
    blind: Blindness | None = None
    """Set if too many are uncounted to judge."""

    @property
    def share(self) -> float:
        """The share of requests that is not counted."""
        return self.uncounted / max(self.served, self.uncounted) if self.uncounted else 0.0


def combined_sight(sights: Mapping[str, Sight]) -> Sight:
    """The sights of several gateways combined. If one is blind, all are: users stay with their gateway."""
    if len(sights) == 1:
        return next(iter(sights.values()))
    blind = {name: each.blind for name, each in sights.items() if each.blind is not None}
    reasons = "; ".join(f"{name}: {each.reason}" for name, each in blind.items())
    return Sight(
        served=sum(each.served for each in sights.values()),
        uncounted=sum(each.uncounted for each in sights.values()),
        blind=Blindness(since=min(each.since for each in blind.values()), reason=reasons) if blind else None,
    )


STALE = timedelta(seconds=20)
"""Age at which recorded sights are too old to be used. They are recorded every five seconds."""


@dataclass(frozen=True, kw_only=True)
class Sights:
    """The sight of every listener as last recorded. Empty if none was ever recorded, such as where no gateway runs."""

    noted_at: datetime | None = None
    noted: Mapping[Listener, Sight] = field(default_factory=dict)
    unjudged: Mapping[str, Blindness] = field(default_factory=dict)
    """Rollouts that the keeper cannot judge."""

    def at(self, now: datetime) -> dict[Listener, Sight]:
        """The sight of each listener. If the last record is too old, all are blind."""
        if self.noted_at is None or now - self.noted_at <= STALE:
            return dict(self.noted)
        noted_at = self.noted_at
        return {listener: _silent(sight, noted_at) for listener, sight in self.noted.items()}

    def blindness(self, rollout: str, listeners: Collection[Listener], now: datetime) -> Blindness | None:
        """Why a rollout on these listeners may not be judged, since the earliest reason; None: it may."""
        reasons = [sight.blind for listener, sight in self.at(now).items() if listener in listeners and sight.blind]
        reasons += [self.unjudged[rollout]] if rollout in self.unjudged else []
        if not reasons:
            return None
        texts = dict.fromkeys(each.reason for each in reasons)
        return Blindness(since=min(each.since for each in reasons), reason="; ".join(texts))


def _silent(sight: Sight, noted_at: datetime) -> Sight:
    reason = "not known whether requests are counted, because the keeper does not run or hangs; see: sluice status"
    since = sight.blind.since if sight.blind is not None else noted_at
    return replace(sight, blind=Blindness(since=since, reason=reason))
