"""The keeper's process: the keeper, and the work beside it that only the elected keeper does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import structlog

from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.flows.wiring import in_cluster, sight_watch
from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.flows.wiring.generator import Generator
from sluicegate.flows.wiring.housekeeping import clean_daily
from sluicegate.flows.wiring.keeper_names import is_gone, own_name
from sluicegate.flows.wiring.listening import listen_to_ledger
from sluicegate.flows.wiring.loops import PATIENCE, UNHURRIED, Loops
from sluicegate.flows.wiring.machine import registering
from sluicegate.flows.wiring.program_watch import end_hanging
from sluicegate.flows.wiring.record_clock import since_boot
from sluicegate.flows.wiring.registering import keep_registered
from sluicegate.flows.wiring.removing import forget_lost
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.beside import SLOW, Beside
from sluicegate.services.keeper.catalog_watch import look_at_catalog
from sluicegate.services.keeper.driver_pass import DriverPass
from sluicegate.services.keeper.fleet_pass import FleetPass
from sluicegate.services.keeper.keeper import JUDGING, Keeper
from sluicegate.services.keeper.leadership import Leadership
from sluicegate.services.keeper.registration import Registration
from sluicegate.services.keeper.sampling import Sampling
from sluicegate.services.keeper.waking import Doorbell
from sluicegate.services.sources.asking import ask_source

CLOCK_SECONDS = 5.0
"""Seconds between two checks whether the wall clock was set."""
MEMORY_SECONDS = 5.0
"""Seconds between two checks for what to write to MLflow."""
GENERATOR_SECONDS = 1.0
"""Seconds between two checks whether a rollout wants generated requests."""
HOOK_SECONDS = 1.0
"""Seconds between two checks for hooks that are due."""
OUTBOX_SECONDS = 1.0
"""Seconds between two checks for notifications to Prefect and people."""
SAMPLING_SECONDS = 1.0
"""Seconds between two checks for sources that are due to be queried."""
GATEWAYS_SECONDS = 0.5
"""Seconds between two checks of what the gateways serve."""


def run() -> None:
    """Make the world follow the ledger until stopped."""
    runtime = current_runtime()
    leadership = Leadership(
        runtime.ledger, own_name(), clock=runtime.clock, elapsed=since_boot, is_gone=is_gone
    )  # fmt: skip
    plane, bell, beside = GatewayPlane(runtime, leadership.check), Doorbell(runtime.bell), Beside()
    keeping = _keeper(runtime, leadership, plane, bell, beside)
    loops = Loops("keeper", runtime.heartbeats)
    loops.require(lambda: beside.longest(JUDGING) <= SLOW)
    loops.beside("cleaning", partial(clean_daily, runtime), UNHURRIED)
    loops.beside("watch", end_hanging(runtime, loops, "keeper"))
    if runtime.settings.cluster is not None:
        loops.beside("deployments", partial(keep_registered, leadership.leads), UNHURRIED)
    if runtime.cluster_gateways is not None:
        loops.beside("gateways heard", runtime.cluster_gateways.hear)
        loops.beside("gateways watched", runtime.cluster_gateways.renew)
    for name, look, seconds, patience in _elected_work(runtime, plane):
        loops.beside(name, partial(_repeat, look, seconds, leadership.leads), patience)
    listen_to_ledger(runtime, loops, bell.ring)
    leadership.look()
    loops.beside("election", leadership.run)
    try:
        loops.run("look", lambda stop: keeping.run(bell, stop.is_set))
    finally:
        leadership.resign()
        bell.close()


def _keeper(
    runtime: Runtime, leadership: Leadership, plane: GatewayPlane, bell: Doorbell, beside: Beside
) -> Keeper:  # fmt: skip
    services, pool = runtime.fleet, ThreadPoolExecutor(8, thread_name_prefix="keeper")
    drivers = DriverPass(
        ledger=runtime.ledger, drivers=runtime.drivers(in_cluster.run_pods(runtime)),
        registration=Registration(registering), fixes=in_cluster.fixes(runtime.settings),
    )  # fmt: skip

    def judge(rollout: str, now: datetime) -> tuple[Rollout, Decision]:
        result = tick(runtime.ledger, runtime.telemetry, rollout, now, Authority.STOP)
        return result.rollout, result.decision

    return Keeper(
        ledger=runtime.ledger,
        services=services,
        plane=plane,
        judge=judge,
        fleet=FleetPass(
            ledger=runtime.ledger, services=services, plane=plane, pool=pool, wake=bell.ring, check=leadership.check
        ),
        see_to_drivers=drivers.see_to,
        catalog_look=lambda now: look_at_catalog(runtime.ledger, runtime.catalog, now),
        made_from=MadeFrom(runtime.ledger, lambda: leadership.term),
        leads=leadership.leads,
        clock=runtime.clock,
        beside=beside,
        poll_seconds=runtime.settings.poll_seconds,
    )


def _elected_work(runtime: Runtime, plane: GatewayPlane) -> Iterator[tuple[str, Callable[[], object], float, float]]:
    """What the elected keeper does beside its looks: name, work, seconds between two turns, seconds a turn may take."""
    sampling = Sampling(
        ledger=runtime.ledger, ask=lambda gate, values: ask_source(gate, values, os.environ), clock=runtime.clock,
        beside=Beside(),
    )  # fmt: skip
    yield "memory", lambda: runtime.memory.look(), MEMORY_SECONDS, UNHURRIED  # noqa: PLW0108
    yield "outbox", lambda: runtime.outbox.look(runtime.clock()), OUTBOX_SECONDS, UNHURRIED
    yield "hooks", lambda: runtime.hooks.look(runtime.clock()), HOOK_SECONDS, UNHURRIED
    yield "samples", sampling.look, SAMPLING_SECONDS, PATIENCE
    yield "clock", lambda: _set_clock(runtime), CLOCK_SECONDS, PATIENCE
    yield "generator", Generator(runtime).look, GENERATOR_SECONDS, PATIENCE
    yield "gateways", plane.note, GATEWAYS_SECONDS, PATIENCE
    yield "sight", sight_watch.SightWatch(runtime).look, sight_watch.PERIOD, PATIENCE
    if runtime.cluster_gateways is not None:
        yield "gateways lost", lambda: forget_lost(runtime), GATEWAYS_SECONDS, PATIENCE


def _set_clock(runtime: Runtime) -> None:
    """Set the ledger's clock by the wall clock, unless a rollout is open."""
    if all(rollout.is_ended for rollout in runtime.ledger.current()):
        runtime.clock.set_by_wall()


def _repeat(look: Callable[[], object], seconds: float, leads: Callable[[], bool], stop: threading.Event) -> None:
    """Call `look` while this keeper is the elected one, until stopped, and log its failures. Routing and judging
    neither wait for it nor fail with it."""
    while not stop.is_set():
        try:
            if leads():
                look()
        except Exception:  # noqa: BLE001
            structlog.get_logger("keeper").exception("a look beside the keeper's failed; the next one starts afresh")
        stop.wait(seconds)
