"""The dead man's switch of a gateway: while no keeper watches, no build on trial answers requests.

It runs in another process than the keeper, which may hang. Time in which this process itself did not look, as on a
machine that is slow or asleep, says nothing about the keeper and does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.port import DataPlane

log = structlog.get_logger("switch")

PERIOD = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, kw_only=True)
class Silence:
    """For how long nobody has renewed, counting only time in which the switch looked."""

    last: float | None
    """The last renewal."""
    seconds: float = 0.0

    def after(self, last: float | None, watched: float) -> Silence:
        """The silence at the next look, `watched` seconds after this one. Pure."""
        if last != self.last:
            return Silence(last=last)
        return Silence(last=last, seconds=self.seconds + min(watched, 2 * PERIOD))


@dataclass
class Switch:
    """The switch of one gateway."""

    name: str
    plane: DataPlane
    mark: Mark
    """Shows others that the stable-only form is in force."""
    limit: float
    """Seconds without a renewal after which the switch acts."""
    elapsed: Callable[[], float] = time.monotonic
    counts_all: bool = False
    """Whether time in which the switch did not look counts too. For gateways whose keeper relies on the limit."""
    _silence: Silence | None = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)
    _told: bool = field(init=False)

    def __post_init__(self) -> None:
        self._told = self.mark.read() is not None  # by an earlier process

    def look(self) -> None:
        """Apply the stable-only form if nobody has renewed for too long. The keeper brings the full table back."""
        now, last = self.elapsed(), self.plane.renewed_at()
        before = self._silence or Silence(last=last)
        is_renewed = last != before.last
        self._silence, self._looked = before.after(last, now - self._looked if self._silence else 0.0), now
        if self.counts_all and last is not None:
            self._silence = Silence(last=last, seconds=max(self._silence.seconds, now - last))
        if self._silence.seconds <= self.limit:
            if self._told and is_renewed:
                log.warning("a keeper watches again, and brings its routes back", gateway=self.name)
                self.mark.clear()
                self._told = False
            return
        try:
            has_gone = self.plane.go_stable_only()
        except (SluiceError, OSError) as error:
            log.error("the stable-only routes cannot be put in force", gateway=self.name, why=str(error))
            return
        if has_gone or not self._told:
            self._say()
            then = (
                "candidates get no requests and shadows no copies"
                if has_gone
                else "no candidate or shadow has traffic here"
            )
            log.error("no keeper watches", gateway=self.name, seconds=round(self._silence.seconds), then=then)
        self._told = True

    def _say(self) -> None:
        """Leave the mark, and log if that fails, for instance on a full disk."""
        silent = f"no keeper has renewed its routes for {self.limit:g} s"
        try:
            self.mark.put(f"{silent}: the keeper does not run, hangs, cannot read the ledger or does not reach it")
        except OSError as error:
            log.error("that nobody watches cannot be written down", gateway=self.name, why=str(error))
