"""Readiness: which builds have no service that is ready, since when, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.words.build import BuildRef

STALE = timedelta(seconds=20)
"""Age at which what was noted of services says nothing any more; it is noted every five seconds."""


@dataclass(frozen=True, kw_only=True)
class Unready:
    """That no service of a build is ready."""

    build: BuildRef
    since: datetime
    reason: str

    def __str__(self) -> str:
        return f"has no service that is ready since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What was last noted of the builds of rollouts under way. Nothing at all: nobody ever looked."""

    noted_at: datetime | None = None
    noted: Sequence[Unready] = ()

    def unready(self, build: BuildRef, now: datetime) -> Unready | None:
        """Why it may not be sent more requests now; None: it may. All builds are unready once nobody looks any more."""
        if self.noted_at is None or now - self.noted_at <= STALE:
            return next((each for each in self.noted if each.build == build), None)
        why = "nobody looks whether its processes live: the keeper does not run, or hangs: sluice status"
        return Unready(build=build, since=self.noted_at, reason=why)


NOBODY_LOOKED = Readiness()
