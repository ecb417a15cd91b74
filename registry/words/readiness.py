"""Readiness: which builds have no ready service, since when, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.words.build import BuildRef

STALE = timedelta(seconds=20)
"""Age at which the recorded readiness is too old to be used. It is recorded every five seconds."""


@dataclass(frozen=True, kw_only=True)
class Unready:
    """A build without a ready service."""

    build: BuildRef
    since: datetime
    reason: str

    def __str__(self) -> str:
        return f"has no service that is ready since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The readiness of the builds of rollouts in progress, as last recorded. Empty if it was never recorded."""

    noted_at: datetime | None = None
    noted: Sequence[Unready] = ()

    def unready(self, build: BuildRef, now: datetime) -> Unready | None:
        """Why the build may not get more requests now; None: it may. If the last record is too old, no build may."""
        if self.noted_at is None or now - self.noted_at <= STALE:
            return next((each for each in self.noted if each.build == build), None)
        why = "nobody looks whether its processes live: the keeper does not run, or hangs: sluice status"
        return Unready(build=build, since=self.noted_at, reason=why)


NOBODY_LOOKED = Readiness()
