"""The part of a look that concerns services: starts those that are needed, drains and stops all others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ParamSpec

import structlog

from sluicegate.registry.ledger.keeper_notes import note_delay, note_stage
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Failed, Packed, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import (
    LedgerConflict,
    NotLeading,
    Refused,
    ServiceFailed,
    SluiceError,
    Unreachable,
)
from sluicegate.registry.words.launching import Stage
from sluicegate.services.keeper.fetching import Fetching
from sluicegate.services.keeper.ports import DataPlane, Services
from sluicegate.services.keeper.readiness_pass import ReadinessPass

log = structlog.get_logger("keeper")
P = ParamSpec("P")

REFUSALS = 3
"""Consecutive errors in answer to the model's own example after which a candidate has failed."""
PROBES = 2
"""Consecutive successful probes after which a service is ready."""
PROBE_WAITS, WAIT_SECONDS = 8, 0.1
"""How often, and how long, a probe waits for a service that is not ready yet, before it asks it anyway."""
LAUNCH_SECONDS = 180
"""Time after which a candidate that has not become ready has failed."""
HELD_SECONDS = 15
"""Time after which people are told why a service is not ready yet."""
REVIVE_SECONDS = 30
"""Time between attempts to restart a needed service that the supervisor gave up on."""
SPARE_SECONDS = 5
"""Time that a service must have been unneeded before it is stopped, since a rollback may need it again."""
DRAIN_SECONDS = 120
"""The longest time that a service without routes is kept, for callers that still send and for answers in flight."""
ASK_SECONDS = 5
"""Time between liveness checks of replicas."""
HUNG_SECONDS = 30
"""Time after which a silent replica counts as hung, if another one answers; longer if requests may take long."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A build that must run, and how."""

    build: BuildRef
    packed: Packed
    serve: Serve


def needs(rollouts: Iterable[Rollout], standings: Iterable[Standing]) -> tuple[Need, ...]:
    """Every build that needs a service according to the ledger; pure.

    If a build was packed more than once, the bento of its latest rollout is used.
    """
    packed: dict[BuildRef, tuple[Packed, Serve]] = {}
    launching: set[BuildRef] = set()
    for rollout in rollouts:
        if rollout.packed is not None:
            packed[rollout.candidate] = (rollout.packed, rollout.serve)
            if rollout.is_under_way:
                launching.add(rollout.candidate)
    wanted = launching.union(*(standing.needed for standing in standings))
    return tuple(
        Need(build=build, packed=packed[build][0], serve=packed[build][1])
        for build in sorted(wanted, key=str)
        if build in packed
    )


@dataclass
class FleetPass:
    """Keeps the services as the ledger needs them. All its state can be recovered by the next look."""

    ledger: Ledger
    services: Services
    plane: DataPlane[Any]
    pool: ThreadPoolExecutor
    elapsed: Callable[[], float] = time.monotonic
    """Seconds, for intervals; a wall clock may be reset."""
    sleep: Callable[[float], None] = time.sleep
    wake: Callable[[], None] = lambda: None
    """Makes the keeper look at once."""
    check: Callable[[], None] = lambda: None
    """Called before each change of services. Raises NotLeading if this keeper must not make it."""
    _probes: dict[BuildRef, Future[str | None]] = field(default_factory=dict)
    _good: dict[BuildRef, int] = field(default_factory=dict)
    _refusals: dict[BuildRef, int] = field(default_factory=dict)
    _lately: dict[BuildRef, str] = field(default_factory=dict)
    """What the last probe of a build found wrong."""
    _noted: dict[str, str] = field(default_factory=dict)
    """The last noted reason why a service is not ready, by rollout."""
    _since: dict[BuildRef, float] = field(default_factory=dict)
    """When the launch of a build began."""
    _starts: dict[BuildRef, Future[None]] = field(default_factory=dict)
    """Starts in progress; each first reads the whole bento, which may take long."""
    _stops: dict[BuildRef, Future[None]] = field(default_factory=dict)
    _drains: dict[BuildRef, float] = field(default_factory=dict)
    _revived: dict[BuildRef, float] = field(default_factory=dict)
    _retired: dict[BuildRef, float] = field(default_factory=dict)
    """Since when replicas of a build get no more requests."""
    _checks: dict[BuildRef, tuple[float, Future[Collection[Endpoint]]]] = field(default_factory=dict)
    """The last liveness check of each build: when it began, and its result."""
    _silent: dict[BuildRef, dict[Endpoint, float]] = field(default_factory=dict)
    """Since when replicas have not answered."""
    _getting: set[BuildRef] = field(default_factory=set)
    """Candidates whose bento was not on this machine when their launch began."""

    def __post_init__(self) -> None:
        self._fetching = Fetching(pool=self.pool, elapsed=self.elapsed)
        self.readiness = ReadinessPass(
            notes=self.ledger, services=self.services, pool=self.pool, elapsed=self.elapsed
        )  # fmt: skip

    def start(self, wanted: tuple[Need, ...], rollouts: Iterable[Rollout], now: datetime) -> None:
        """Start services that are missing, and probe those that are being launched."""
        running = self.services.running()
        for need in wanted:
            self._drains.pop(need.build, None)
            if need.build in self._stops or need.build in self._starts:
                continue
            if running.get(need.build, 0) < need.serve.replicas:
                self._begin(need)
            elif running[need.build] > need.serve.replicas and need.serve.placement.autoscaler is None:
                log.info("replicas leave", build=str(need.build), staying=need.serve.replicas)
                self._change(self.services.retire, need.build, need.serve.replicas)
        self._heed_starts(rollouts, now)
        for rollout in rollouts:
            if rollout.is_under_way and rollout.packed is not None and not rollout.ready:
                self._launch(rollout, now)
        launching = {r.candidate for r in rollouts if r.is_under_way and not r.ready}
        for need in wanted:
            if need.build in running and need.build not in launching:
                self._revive(need)
                if need.serve.replicas > 1:
                    self._replace_hung(need)
        self._silent = {build: since for build, since in self._silent.items() if build in running}

    def _replace_hung(self, need: Need) -> None:
        """Restart replicas that have been silent for long while another one answers.

        If none answers, the cause is the model or its callers, and a restart would not help.
        """
        build, now = need.build, self.elapsed()
        if build not in self._checks:
            self._checks[build] = (now, self.pool.submit(self.services.hanging, build))
        checked_at, check = self._checks[build]
        if not check.done() or build in self._stops:
            return
        if now - checked_at >= ASK_SECONDS:
            self._checks[build] = (now, self.pool.submit(self.services.hanging, build))
        before = self._silent.get(build, {})
        silent = {each: before.get(each, checked_at) for each in (() if check.exception() else check.result())}
        self._silent[build] = silent
        limit = max(HUNG_SECONDS, 2 * need.serve.timeout)
        hung = [each for each, since in silent.items() if now - since >= limit]
        if hung and len(silent) < need.serve.replicas:
            log.warning("replicas hang and are restarted", build=str(build), where=[each.address for each in hung])
            self._stops[build] = self.pool.submit(self._change, self.services.mend, build, hung)
            del self._silent[build], self._checks[build]

    def _revive(self, need: Need) -> None:
        """Restart replicas that the supervisor gave up on. The keeper never gives up on a build that was ready once."""
        last = self._revived.get(need.build)
        is_recent = last is not None and self.elapsed() - last < REVIVE_SECONDS
        if is_recent or need.build in self._stops or self.services.gave_up(need.build) is None:
            return
        self._revived[need.build] = self.elapsed()
        log.warning("replica was given up and is restarted", build=str(need.build))
        self._stops[need.build] = self.pool.submit(self._change, self.services.mend, need.build)

    def _begin(self, need: Need) -> None:
        if self._fetching.is_here(need.packed, self.services):
            self._good.pop(need.build, None)  # found of an earlier process
            self._probes.pop(need.build, None)
            self._starts[need.build] = self.pool.submit(
                self._change, self.services.start, need.build, need.packed, need.serve
            )

    def _change(self, act: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        self.check()
        act(*args, **kwargs)

    def _heed_starts(self, rollouts: Iterable[Rollout], now: datetime) -> None:
        """Handle the results of finished starts."""
        for build, start in [each for each in self._starts.items() if each[1].done()]:
            del self._starts[build]
            error = start.exception()
            if error is None:
                log.info("service started", build=str(build))
                continue
            if isinstance(error, NotLeading) or not isinstance(error, SluiceError):
                raise error
            log.error("service not started", build=str(build), why=str(error))
            if isinstance(error, Unreachable):
                continue  # the next look tries again, until LAUNCH_SECONDS are over
            for rollout in rollouts:
                if rollout.candidate == build and rollout.is_under_way and not rollout.ready:
                    self._fail(rollout, str(error), now)

    def _launch(self, rollout: Rollout, now: datetime) -> None:
        build = rollout.candidate
        if self._is_absent(rollout, now) or build in self._starts:
            return
        if build not in self._since:
            note_stage(self.ledger, rollout.id, Stage.STARTING, now)
        since = self._since.setdefault(build, self.elapsed())
        why = self.services.gave_up(build)
        if why is None and self.elapsed() - since > LAUNCH_SECONDS:
            lately = f": {self._lately[build]}" if self._lately.get(build) else ""
            why = f"not ready after {LAUNCH_SECONDS} s{lately}"
        if why is not None:
            self._fail(rollout, why, now)
            return
        probe = self._probes.get(build)
        if probe is not None and not probe.done():
            return
        if probe is not None:
            del self._probes[build]
            self._judge(rollout, probe, now)
        if build in self._since and (probe is None or not self._refusals.get(build)):
            self._probes[build] = self.pool.submit(self._probe, build)
            self._probes[build].add_done_callback(self._heed_probe)

    def _probe(self, build: BuildRef) -> str | None:
        """What is wrong with a service; None if it is ready. Waits for it about as long as a look lasts."""
        for _ in range(PROBE_WAITS):
            if self.services.ready(build):
                break
            self.sleep(WAIT_SECONDS)
        return self.services.probe(build)

    def _heed_probe(self, probe: Future[str | None]) -> None:
        """Have a good result judged at once. Others wait for the next look, so that an error may pass."""
        if not probe.exception() and not probe.result():
            self.wake()

    def _is_absent(self, rollout: Rollout, now: datetime) -> bool:
        """Whether a candidate's bento is not on this machine yet. LAUNCH_SECONDS count from when it is, or from the
        first failed attempt to fetch it."""
        build, packed = rollout.candidate, rollout.packed
        assert packed is not None
        coming, absence = self._fetching.is_coming(packed), self._fetching.absence(packed)
        if coming and build not in self._getting:
            self._getting.add(build)
            note_stage(self.ledger, rollout.id, Stage.GETTING, now)
        if absence is None:
            if not coming and build in self._getting:
                self._getting.discard(build)
                self._since.pop(build, None)
            return coming
        since = self._since.setdefault(build, self.elapsed())
        if absence.is_refused or (not coming and self.elapsed() - since > LAUNCH_SECONDS):
            self._fail(rollout, absence.why, now)
        return True

    def _judge(self, rollout: Rollout, probe: Future[str | None], now: datetime) -> None:
        """Act on a finished probe. No text means success; ServiceFailed means that the model answered with an error."""
        build, error = rollout.candidate, probe.exception()
        is_refused = isinstance(error, ServiceFailed)
        self._lately[build] = str(error) if error else probe.result() or ""
        if (is_refused or not self._lately[build]) and not self._good.get(build) and not self._refusals.get(build):
            note_stage(self.ledger, rollout.id, Stage.PROBING, now)
        self._note_delay(rollout)
        self._refusals[build] = self._refusals.get(build, 0) + 1 if is_refused else 0
        self._good[build] = 0 if self._lately[build] else self._good.get(build, 0) + 1
        if self._refusals[build] >= REFUSALS:
            self._fail(rollout, self._lately[build], now)
        elif self._good[build] >= PROBES:
            self._since.pop(build, None)
            self._noted.pop(rollout.id, None)
            self._append(rollout, Ready(version=build.version), now)

    def _note_delay(self, rollout: Rollout) -> None:
        """Note why a service is not ready, once it is late."""
        build = rollout.candidate
        is_late = self.elapsed() - self._since.get(build, self.elapsed()) >= HELD_SECONDS
        why = self._lately[build] if is_late else ""
        if why != self._noted.get(rollout.id, ""):
            note_delay(self.ledger, rollout.id, why)
            self._noted[rollout.id] = why

    def _fail(self, rollout: Rollout, why: str, now: datetime) -> None:
        self._since.pop(rollout.candidate, None)
        self._getting.discard(rollout.candidate)
        self._refusals.pop(rollout.candidate, None)
        self._lately.pop(rollout.candidate, None)
        self._noted.pop(rollout.id, None)
        self._append(rollout, Failed(stage="serve", reason=why), now)

    def _append(self, rollout: Rollout, fact: Ready | Failed, now: datetime) -> None:
        try:
            self.ledger.append(rollout.id, rollout.seq + 1, fact, now)
        except (LedgerConflict, Refused):
            log.info("will look again", rollout=rollout.id, fact=type(fact).__name__)

    def stop(self, wanted: tuple[Need, ...], routed: frozenset[BuildRef]) -> None:
        """Stop services that are neither needed nor routed to, once their last answers have been sent."""
        for build, future in list(self._stops.items()):
            if future.done():
                del self._stops[build]
                self._drains.pop(build, None)
                if future.exception():
                    log.error("service not stopped", build=str(build), why=str(future.exception()))
        present = self.services.running().keys() | self.services.endpoints().keys()  # the latter has half-stopped ones
        self._dismiss()
        spare = present - {need.build for need in wanted} - routed - self._stops.keys() - self._starts.keys()
        for build in spare:
            unneeded = self.elapsed() - self._drains.setdefault(build, self.elapsed())
            is_idle = self.plane.in_flight(build) == 0 and unneeded >= SPARE_SECONDS
            if is_idle or unneeded > DRAIN_SECONDS:
                log.info("service stopping", build=str(build))
                self._stops[build] = self.pool.submit(self._change, self.services.stop, build)

    def _dismiss(self) -> None:
        """Stop retired replicas, once they have had no requests for SPARE_SECONDS."""
        leaving = self.services.leaving() - self._stops.keys()
        self._retired = {build: self._retired.get(build, self.elapsed()) for build in leaving}
        for build, since in self._retired.items():
            if self.elapsed() - since >= SPARE_SECONDS:
                log.info("replicas stopping", build=str(build))
                self._stops[build] = self.pool.submit(self._change, self.services.dismiss, build)


def routed_builds(standings: Iterable[Standing]) -> frozenset[BuildRef]:
    """Every build that gets requests or copies according to the standings."""
    builds: set[BuildRef] = set()
    for standing in standings:
        builds.add(standing.stable)
        builds.update(shadow.build for shadow in standing.shadows)
        if standing.candidate is not None:
            builds.add(standing.candidate)
    return frozenset(builds)


def unserved(standings: Iterable[Standing], endpoints: Mapping[BuildRef, object]) -> frozenset[str]:
    """Rollouts whose candidate has weight but no service."""
    every = tuple(standings)
    wanted = [(each.rollout, each.candidate) for each in every if each.rollout and each.candidate is not None]
    copied = [(shadow.rollout, shadow.build) for each in every for shadow in each.shadows]
    return frozenset(rollout for rollout, build in (*wanted, *copied) if rollout and build not in endpoints)
