"""The part of a look that concerns drivers. It runs in a thread of its own, so that no look waits for Prefect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from sluicegate.registry.ledger.keeper_notes import all_undriven, note_undriven
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.obstacle import FIXES, Driver, Hindrance, Obstacle, Undriven, undriven
from sluicegate.services.keeper.ports import Drivers
from sluicegate.services.keeper.registration import Registration

log = structlog.get_logger("drivers")

SLOW = 60.0
"""Seconds after which an unfinished pass is reported as hanging."""


@dataclass
class DriverPass:
    """Ensures that each rollout with something to do has a driver, and notes which have none, and why."""

    ledger: Ledger
    drivers: Drivers
    registration: Registration
    elapsed: Callable[[], float] = time.monotonic
    fixes: Mapping[Obstacle, str] = field(default_factory=lambda: FIXES)
    _thread: threading.Thread | None = field(default=None, init=False)
    _is_open: bool = field(default=True, init=False)
    """Whether a note or a registration must still be ended, even if no rollout needs a driver."""
    _began: float | None = field(default=None, init=False)

    def see_to(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        """Start a pass over these rollouts, unless one is still running; returns at once."""
        if self._thread is None or not self._thread.is_alive():
            if not rollouts and not self._is_open:
                return
            self._began = self.elapsed()
            self._thread = threading.Thread(target=self._pass, args=(rollouts, now), name="drivers", daemon=True)
            self._thread.start()
        elif self._began is not None and (hangs := self.elapsed() - self._began) > SLOW:
            detail = f"Prefect has not finished its answer for {hangs:.0f} s"
            hindrance = Hindrance(obstacle=Obstacle.UNREACHABLE, detail=detail)
            self._note({rollout.id: hindrance for rollout in rollouts}, now)

    def look(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        """Make one pass. Its note names only the rollouts that it was given."""
        self.registration.look()
        states = self.drivers.ensure(rollouts, now)
        is_noted = self._note({name: self._mended(state, now) for name, state in states.items()}, now)
        self._is_open = is_noted or self.registration.is_under_way

    def _pass(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        try:
            self.look(rollouts, now)
        except Exception:
            log.exception("drivers were not seen to; the next look starts afresh")

    def _mended(self, state: Driver | Hindrance, now: datetime) -> Driver | Hindrance:
        if not isinstance(state, Hindrance) or not state.obstacle.is_mended_by_registering:
            return state
        return replace(state, detail=f"{state.detail}; {self.registration.ask(now)}")

    def _note(self, states: Mapping[str, Driver | Hindrance], now: datetime) -> bool:
        """Note changed states, and log each change once; returns whether anything is noted now."""
        before = all_undriven(self.ledger)
        notes = {name: undriven(before.get(name), state, now, self.fixes) for name, state in states.items()}
        after = {name: note for name, note in notes.items() if note is not None}
        if after == before:
            return bool(after)
        note_undriven(self.ledger, after)
        for name, note in after.items():
            if _kind(before.get(name)) is not note.hindrance.obstacle:
                log.warning("no driver is at work; traffic and guardrails go on", rollout=name, why=str(note))
        for name in before.keys() - after.keys():
            log.info("drivers can work again", rollout=name)
        return bool(after)


def _kind(note: Undriven | None) -> Obstacle | None:
    return note.hindrance.obstacle if note is not None else None
