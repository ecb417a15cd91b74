"""The keeper's look: makes services and routes follow the ledger, records what it observes, and judges rollouts."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from sluicegate.registry.ledger.keeper_notes import note_untended, sights
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders import progress
from sluicegate.registry.rollout.decision import Choice, Decision, heed_blindness, needs_driver
from sluicegate.registry.rollout.facts import Aborted, AtOnce, Baked, Fact, Observed, Party, Paused
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import Standing, standings
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import (
    Fenced,
    LedgerConflict,
    NotLeading,
    Refused,
    RoutesRejected,
    SluiceError,
    TimedOut,
    Unreachable,
)
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.sight import Sights
from sluicegate.services.beside import Hand, at_once
from sluicegate.services.keeper.fleet_pass import FleetPass, Need, needs, routed_builds, unserved
from sluicegate.services.keeper.ports import DataPlane, Judge, Services, Table
from sluicegate.services.keeper.refusals import note_refusal, refusal
from sluicegate.services.keeper.waking import Doorbell

log = structlog.get_logger("keeper")

LOOK_SECONDS = 1.0
"""The longest time between looks, even if nothing wakes the keeper."""
JUDGING = "judging"
"""The name of the background work that guardrails depend on."""
HANGS = 20.0
"""Seconds after which unfinished judging means that no rollout is being judged."""


@dataclass(frozen=True, kw_only=True)
class Routed:
    """The result of applying a route table."""

    asked: str
    """The version of the table."""
    version: str
    """The version that the data plane should report."""
    endpoints: Endpoints = field(default_factory=dict)
    """The addresses of its builds."""
    refused_models: frozenset[str] = frozenset()
    """Models that keep their former routes because the new ones were refused."""


@dataclass
class Keeper:
    """One process per machine. All its state can be recovered by the next look."""

    ledger: Ledger
    services: Services
    plane: DataPlane[Any]
    judge: Judge
    fleet: FleetPass
    see_to_drivers: Callable[[Sequence[Rollout], datetime], None]
    """Called at every look with the rollouts that need a driver. Returns at once."""
    catalog_look: Callable[[datetime], object]
    made_from: Callable[[], FencingToken]
    """Returns the present state of the ledger."""
    leads: Callable[[], bool]
    """Whether this keeper may act now; if not, it stands by."""
    clock: Callable[[], datetime]
    elapsed: Callable[[], float] = time.monotonic
    """Seconds, for intervals; a wall clock may be reset."""
    beside: Hand = at_once
    """Runs background work. A look itself waits only for the ledger and the data plane."""
    poll_seconds: float = 5.0
    _refused: Routed | None = field(default=None, init=False)
    _unwritten: str = field(default="", init=False)
    """The last logged reason why routes could not be put in force."""
    _is_watching: bool = field(default=False, init=False)
    """Whether this keeper could route the data plane at the last look."""
    _polled: float | None = field(default=None, init=False)
    _judging_since: float | None = field(default=None, init=False)
    """When the present judging began; None while none runs."""
    _untended: dict[str, str] | None = field(default=None, init=False)
    """Why rollouts could not be judged at the last look; None before the first."""

    def run(self, bell: Doorbell, stop: Callable[[], bool]) -> None:
        """While this keeper leads, look every second and whenever the bell rings, until `stop` returns True."""
        while not stop():
            try:
                if self.leads():
                    self.look(self.clock())
            except Exception:
                log.exception("a pass failed; the next one starts again")
            select.select(bell.sockets(), [], [], LOOK_SECONDS)
            bell.drain()

    def look(self, now: datetime) -> None:
        """Make one pass. Only routing runs here, so that nothing delays an abort; all slow work runs in the
        background."""
        made_from = self.made_from()  # read first: the table may rest on later facts than its token says, never earlier
        rollouts = self.ledger.current()
        standing = standings(rollouts)
        wanted = needs(rollouts, standing)
        routed, is_in_force = None, False
        try:
            endpoints = self.services.endpoints()
            self._is_watching = True
            routed = self._route(self.plane.compile(standing, endpoints.keys(), made_from), endpoints, rollouts, now)
            if self._is_watching:
                self.plane.renew()
            is_in_force = self.plane.observe() == routed.version
            if is_in_force:
                self._observe(routed, standing, rollouts, now)
        except (SluiceError, OSError) as error:  # judging continues in any case
            self._say_unwritten(error)
        builds = routed_builds(standing) if is_in_force else None
        refused_models = routed.refused_models if routed is not None else frozenset[str]()
        self._heed_blindness([each for each in rollouts if each.is_tried and not each.took_over], now)
        self.beside("readiness", lambda: self.fleet.readiness.look(rollouts, now))
        self.beside(JUDGING, lambda: self._judge_all(rollouts, now))
        self.beside("services", lambda: self._staff(wanted, rollouts, builds, refused_models, now))
        self._poll(now)

    def _staff(
        self,
        wanted: tuple[Need, ...],
        rollouts: Sequence[Rollout],
        routed: frozenset[BuildRef] | None,
        refused_models: frozenset[str],
        now: datetime,
    ) -> None:
        """Start and stop services. If the supervisor does not answer, judging and routing continue.

        No service of a model in `refused_models` is stopped, since that model's former routes may still lead to it.
        """
        try:
            self.fleet.start(wanted, rollouts, now)
            if routed is not None:
                endpoints = self.services.endpoints() if refused_models else {}
                staying = {build for build in endpoints if build.model in refused_models}
                self.fleet.stop(wanted, routed | staying)
        except SluiceError as error:
            log.warning("services cannot be started or stopped now", why=str(error))

    def _route(self, table: Table, endpoints: Endpoints, rollouts: Sequence[Rollout], now: datetime) -> Routed:
        """Put the table in force. A refused table is not tried again unchanged, and the rollouts that need it pause."""
        refused = self._refused
        if refused is not None and (refused.asked, refused.endpoints) == (table.version, endpoints):
            return refused
        try:
            self.plane.apply(table, endpoints)
            self._accepted(now)
            self._unwritten = ""
        except (Unreachable, TimedOut, OSError) as error:
            self._say_unwritten(error)
        except NotLeading as error:
            self._is_watching = False
            self._say_unwritten(error)
        except Fenced as error:
            self._is_watching = False
            self._say_unwritten(error)
            note_refusal(self.ledger, str(error), now)
        except RoutesRejected as error:
            self._refused = Routed(
                asked=table.version,
                version=error.serving or table.version,
                endpoints=endpoints,
                refused_models=error.models,
            )
            note_refusal(self.ledger, str(error), now)
            log.error("routes refused", version=table.version, why=str(error))
            for rollout in rollouts:
                concerned = not error.models or rollout.candidate.model in error.models
                if concerned and rollout.phase is Phase.RUNNING and rollout.observed_epoch != rollout.epoch:
                    self._append(
                        rollout,
                        Paused(actor="keeper", party=Party.KEEPER, reason=f"the data plane refused: {error}"),
                        now,
                    )
            return self._refused
        return Routed(asked=table.version, version=table.version)

    def _say_unwritten(self, error: Exception) -> None:
        """Log once why the ledger's routes are not in force, or why that is not recorded."""
        if str(error) != self._unwritten:
            log.warning(
                "routes are not in force, or that is not recorded yet; tried again at every pass", why=str(error)
            )
        self._unwritten = str(error)

    def _accepted(self, now: datetime) -> None:
        if self._refused is not None or refusal(self.ledger):
            self._refused = None
            note_refusal(self.ledger, None, now)

    def _observe(
        self, routed: Routed, standing: Sequence[Standing], rollouts: Sequence[Rollout], now: datetime
    ) -> None:
        missing = unserved(standing, self.services.endpoints())
        for rollout in rollouts:
            is_served = rollout.id not in missing and rollout.candidate.model not in routed.refused_models
            if rollout.epoch != rollout.observed_epoch and is_served:
                self._append(rollout, Observed(epoch=rollout.epoch, version=routed.version), now)

    def _heed_blindness(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        """Pause or abort rollouts that could not be judged for longer than their plan allows. Reads only the ledger,
        since the telemetry may hang."""
        began = self._judging_since
        if began is not None and self.elapsed() - began > HANGS:
            note_untended(self.ledger, {each.id: "judging has not finished for a long time" for each in rollouts}, now)
        all_sights = sights(self.ledger) if rollouts else Sights()
        for rollout in rollouts:
            blind = all_sights.blindness(rollout.id, rollout.listeners, now)
            decision = heed_blindness(rollout, blind, now) if blind is not None else None
            if decision is None or rollout.is_ended:
                continue
            if decision.choice is Choice.ABORT:
                self._append(rollout, Aborted(actor="keeper", party=Party.KEEPER, reason=decision.reason), now)
            elif decision.choice is Choice.PAUSE and rollout.phase is Phase.RUNNING:
                self._append(rollout, Paused(actor="keeper", party=Party.KEEPER, reason=decision.reason), now)

    def _judge_all(self, rollouts: Sequence[Rollout], now: datetime) -> None:
        self._judging_since = self.elapsed()
        try:
            self.see_to_drivers(self._tend_all(rollouts, now), now)
        finally:
            self._judging_since = None

    def _tend_all(self, rollouts: Sequence[Rollout], now: datetime) -> list[Rollout]:
        """Tend each rollout, even if others fail; returns those that need a driver."""
        with_work, failures = [], dict[str, str]()
        for rollout in rollouts:
            if rollout.is_ended and rollout.settled:
                continue
            try:
                tended = self._tend(rollout, now)
            except Exception as error:  # a fault in one rollout must not affect others
                failures[rollout.id] = f"{type(error).__name__}: {error}"
                if (self._untended or {}).get(rollout.id) != failures[rollout.id]:
                    log.exception("a rollout cannot be judged; all others can", rollout=rollout.id)
                continue
            if tended is not None:
                with_work.append(tended)
        if failures != self._untended:
            note_untended(self.ledger, failures, now)
            self._untended = failures
        return with_work

    def _tend(self, rollout: Rollout, now: datetime) -> Rollout | None:
        """Judge a rollout with exposure, and end one that has baked; returns the rollout if it needs a driver."""
        try:
            rollout, decision = self._judged(rollout, now)
        except (LedgerConflict, Refused):
            return None
        if rollout.phase is Phase.QUEUED:
            rollout = progress.begin(self.ledger, rollout, now)
        rollout = progress.complete(self.ledger, rollout.id, now)
        if rollout.phase is Phase.BAKING and self._is_baked(rollout, now):
            self._append(rollout, Baked(reason="the former stable was kept warm as planned"), now)
        return rollout if needs_driver(rollout, decision) else None

    def _judged(self, rollout: Rollout, now: datetime) -> tuple[Rollout, Decision | None]:
        has_service = rollout.ready or rollout.is_comparison
        is_ready = rollout.phase is Phase.LAUNCHING and has_service and rollout.is_judged
        if rollout.is_ended or not (rollout.is_tried or is_ready):
            return rollout, None
        return self.judge(rollout.id, now)

    def _is_baked(self, rollout: Rollout, now: datetime) -> bool:
        bake = 0.0 if rollout.requested.strategy == AtOnce.ROLLBACK else rollout.plan.bake
        return rollout.full_at is not None and now - rollout.full_at >= timedelta(seconds=bake)

    def _append(self, rollout: Rollout, fact: Fact, now: datetime) -> None:
        try:
            self.ledger.append(rollout.id, rollout.seq + 1, fact, now)
        except (LedgerConflict, Refused) as error:
            log.info("will look again", rollout=rollout.id, fact=type(fact).__name__, why=str(error))

    def _poll(self, now: datetime) -> None:
        if self._polled is not None and self.elapsed() - self._polled < self.poll_seconds:
            return
        self._polled = self.elapsed()
        self.beside("catalog", lambda: self._look_at_catalog(now))

    def _look_at_catalog(self, now: datetime) -> None:
        try:
            self.catalog_look(now)
        except SluiceError as error:
            log.warning("catalog not read", why=str(error))
