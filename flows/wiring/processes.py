"""The long-lived processes: `python -m sluicegate.flows.wiring.processes keeper | collector | console`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.flows.wiring.desk import desk
from sluicegate.flows.wiring.loops import BEAT_SECONDS, Loops, log_plainly, run_process
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound, SluiceError

if TYPE_CHECKING:
    from sluicegate.registry.words.build import Build, BuildRef
    from sluicegate.services.telemetry.tailing.levels import Levels
    from sluicegate.services.telemetry.tailing.log_collector import LogCollector
    from sluicegate.services.telemetry.tally.spec import RolloutSpec
    from sluicegate.services.traffic.envoy.plane import Envoy
    from sluicegate.services.traffic.joined import Mailbox
    from sluicegate.services.traffic.switch import Switch

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
PASS_SECONDS = 180.0
"""Seconds that one pass over a log may take, including waits for a locked database."""
LISTEN_SECONDS = 1.0
"""Seconds between two checks whether a gateway that writes a log is alive."""
GATEWAYS_SECONDS = 0.5
"""Seconds between two checks of what the gateways serve."""
UNHURRIED = 3600.0
"""Seconds that one turn of a loop may take that nobody waits for, such as deleting old data."""


def keeper() -> None:
    """Make the world follow the ledger until stopped."""
    from sluicegate.flows.stages.tick import Authority, tick
    from sluicegate.flows.wiring import in_cluster, sight_watch
    from sluicegate.flows.wiring.gateway_plane import GatewayPlane
    from sluicegate.flows.wiring.generator import Generator
    from sluicegate.flows.wiring.housekeeping import clean_daily
    from sluicegate.flows.wiring.keeper_names import is_gone, own_name
    from sluicegate.flows.wiring.machine import registering
    from sluicegate.flows.wiring.record_clock import since_boot
    from sluicegate.flows.wiring.registering import keep_registered
    from sluicegate.flows.wiring.removing import forget_lost
    from sluicegate.registry.ledger.restoration import MadeFrom
    from sluicegate.services.beside import SLOW, Beside
    from sluicegate.services.keeper.catalog_watch import look_at_catalog
    from sluicegate.services.keeper.driver_pass import DriverPass
    from sluicegate.services.keeper.fleet_pass import FleetPass
    from sluicegate.services.keeper.keeper import JUDGING, Keeper
    from sluicegate.services.keeper.leadership import Leadership
    from sluicegate.services.keeper.leading import LeadingServices
    from sluicegate.services.keeper.registration import Registration
    from sluicegate.services.keeper.sampling import Sampling
    from sluicegate.services.keeper.waking import Doorbell
    from sluicegate.services.sources.asking import ask_source

    runtime = current_runtime()
    leadership = Leadership(
        runtime.ledger, own_name(), clock=runtime.clock, elapsed=since_boot, is_gone=is_gone
    )  # fmt: skip
    plane = GatewayPlane(runtime, leadership.check)
    services = LeadingServices(runtime.fleet, leadership.check)
    pool = ThreadPoolExecutor(8, thread_name_prefix="keeper")
    bell = Doorbell(runtime.bell)
    fleet = FleetPass(ledger=runtime.ledger, services=services, plane=plane, pool=pool, wake=bell.ring)

    registration = Registration(registering)
    drivers = DriverPass(
        ledger=runtime.ledger, drivers=runtime.drivers(in_cluster.run_pods(runtime)), registration=registration,
        fixes=in_cluster.fixes(runtime.settings),
    )  # fmt: skip

    def judge(rollout: str, now: datetime) -> tuple[Rollout, Decision]:
        result = tick(runtime.ledger, runtime.telemetry, rollout, now, Authority.STOP)
        return result.rollout, result.decision

    beside = Beside()
    keeping = Keeper(
        ledger=runtime.ledger,
        services=services,
        plane=plane,
        judge=judge,
        fleet=fleet,
        see_to_drivers=drivers.see_to,
        catalog_look=lambda now: _ignore(look_at_catalog(runtime.ledger, runtime.catalog, now)),
        made_from=MadeFrom(runtime.ledger, lambda: leadership.term),
        leads=leadership.leads,
        clock=runtime.clock,
        beside=beside,
        poll_seconds=runtime.settings.poll_seconds,
    )
    sampling = Sampling(
        ledger=runtime.ledger, ask=lambda gate, values: ask_source(gate, values, os.environ), clock=runtime.clock,
        beside=Beside(),
    )  # fmt: skip
    loops = Loops("keeper", runtime.heartbeats)
    loops.require(lambda: beside.longest(JUDGING) <= SLOW)

    def leading(look: Callable[[Runtime], None]) -> Callable[[Runtime], None]:
        return lambda runtime: look(runtime) if leadership.leads() else None

    loops.beside("cleaning", partial(clean_daily, runtime), UNHURRIED)
    loops.beside("memory", partial(_repeat, leading(_remember), runtime, MEMORY_SECONDS), UNHURRIED)
    loops.beside("outbox", partial(_repeat, leading(_notify), runtime, OUTBOX_SECONDS), UNHURRIED)
    loops.beside("hooks", partial(_repeat, leading(_call_hooks), runtime, HOOK_SECONDS), UNHURRIED)
    loops.beside("samples", partial(_repeat, leading(lambda _: sampling.look()), runtime, SAMPLING_SECONDS))
    loops.beside("clock", partial(_repeat, leading(_set_clock), runtime, CLOCK_SECONDS))
    loops.beside("watch", _minding(runtime, loops, "keeper"))
    if runtime.settings.cluster is not None:
        loops.beside("deployments", partial(keep_registered, leadership.leads), UNHURRIED)
    generator = Generator(runtime)
    loops.beside("generator", partial(_repeat, leading(lambda _: generator.look()), runtime, GENERATOR_SECONDS))
    loops.beside("gateways", partial(_repeat, leading(lambda _: plane.note()), runtime, GATEWAYS_SECONDS))
    if runtime.cluster_gateways is not None:
        loops.beside("gateways heard", runtime.cluster_gateways.hear)
        loops.beside("gateways watched", runtime.cluster_gateways.renew)
        loops.beside("gateways lost", partial(_repeat, leading(forget_lost), runtime, GATEWAYS_SECONDS))
    sight = sight_watch.SightWatch(runtime)
    loops.beside("sight", partial(_repeat, leading(lambda _: sight.look()), runtime, sight_watch.PERIOD))
    _listen_to_ledger(runtime, loops, bell.ring)
    leadership.look()
    loops.beside("election", leadership.run)
    try:
        loops.run("look", lambda stop: keeping.run(bell, stop.is_set))
    finally:
        leadership.resign()
        bell.close()


def collector() -> None:
    """Turn Envoy's access logs into tallies until stopped."""
    from sluicegate.flows.shadow.specs import shadow_specs
    from sluicegate.flows.wiring.certificate_watch import watch_certificate
    from sluicegate.flows.wiring.copy_watch import watch_drops
    from sluicegate.flows.wiring.housekeeping import keep_house
    from sluicegate.flows.wiring.keeping import KeptModels
    from sluicegate.services.bento.body_capture import bodies_log
    from sluicegate.services.loopback import own_folder
    from sluicegate.services.telemetry.pairs.collector import ShadowCollector
    from sluicegate.services.telemetry.tailing.backlog import access_logs
    from sluicegate.services.telemetry.tailing.bodies import BodyCollector
    from sluicegate.services.telemetry.tailing.collector import Collector
    from sluicegate.services.telemetry.tailing.generated import GeneratedCollector
    from sluicegate.services.telemetry.tailing.levels import Levels
    from sluicegate.services.telemetry.tailing.readers import SharedLevels
    from sluicegate.services.traffic.switch import Switch

    runtime = current_runtime()

    def build(ref: BuildRef) -> Build:  # connects to MLflow only when a shadow begins
        return runtime.catalog.build(ref)

    def spec(rollout: str) -> RolloutSpec | None:
        return rollout_spec(runtime, rollout)

    store, wall, loops = runtime.reading_store, runtime.wall, Loops("collector", runtime.heartbeats)
    asks, shadows = KeptModels(runtime.ledger, wall), shadow_specs(runtime.ledger, spec, build)
    folders = runtime.access_log_folders()
    logs = {name: access_logs(folder) for name, folder in folders.items()}
    joined = {each.name: each for each in runtime.mailboxes}  # including those that have ended and may come back
    writers = {name: str(live) for name, (live, _, _) in logs.items() if name in runtime.envoys or name in joined}
    lives = [str(live) for live, _, _ in logs.values()]
    levels = SharedLevels(store, store.host, lives, writers.values()) if store.host else Levels(lives, writers.values())
    readers: list[LogCollector[Any]] = []
    for name, (live, shadow, generated) in logs.items():
        reopen = runtime.envoys[name].reopen_logs if name in runtime.envoys else None
        readers += [
            Collector(store, live, spec, wall, reopen=reopen, asks=asks, levels=levels, joins=not readers),
            ShadowCollector(store, shadow, shadows, wall, reopen=reopen, levels=levels),
            GeneratedCollector(store, generated, spec, wall, reopen=reopen),
        ]
    bodies = bodies_log(runtime.folder.root / "services")
    own_folder(bodies.parent)  # created now, so that an empty folder is not taken for a lost disk
    readers.append(BodyCollector(store, bodies, wall))
    first, *others = readers
    loops.beside("house", partial(keep_house, runtime, readers), UNHURRIED)
    for each in others:
        loops.beside(each.name, each.run, PASS_SECONDS)
    for name, log in writers.items():
        if name in joined:
            loops.beside(f"{name} alive", partial(_hear, joined[name], levels, log, wall))
        else:
            loops.beside(f"{name} alive", partial(_listen, runtime.envoys[name], levels, log, wall))
    loops.beside("joined", partial(until_joined, runtime))
    loops.beside("drops", partial(watch_drops, runtime), PASS_SECONDS)
    loops.beside("watch", _minding(runtime, loops, "collector"))
    marks = runtime.marks()
    limit, counts_all = runtime.settings.unwatched_seconds, runtime.settings.cluster is not None
    for name, own in runtime.envoys_of(runtime.site).items():  # own connections, so that no reader waits for them
        switch = Switch(name=name, plane=own, mark=marks[name], limit=limit, counts_all=counts_all)
        loops.beside(f"{name} switch", partial(_switch, switch))
    door = runtime.door(runtime.site)
    if door is not None:
        loops.beside("certificate", partial(watch_certificate, door))
    loops.run("log", first.run, PASS_SECONDS)


def _listen(envoy: Envoy, levels: Levels, log: str, wall: Callable[[], datetime], stop: threading.Event) -> None:
    """Note until when a gateway has written its log. A dead gateway writes nothing more, so it counts as complete."""
    while not stop.is_set():
        at = int(wall().timestamp() * 1e6)
        if envoy.observe() is not None or envoy.is_away():
            levels.heard(log, at)
        stop.wait(LISTEN_SECONDS)


def _hear(mailbox: Mailbox, levels: Levels, log: str, wall: Callable[[], datetime], stop: threading.Event) -> None:
    """Note until when the log of a gateway on another host is complete, once the lines received by then were read.

    A gateway that ended in order, or was removed, logs nothing more.
    """
    complete_until, read_from = 0, 0
    while not stop.is_set():
        if levels.read_until(log) > read_from:
            if complete_until:
                levels.heard(log, complete_until)
            read_from = int(wall().timestamp() * 1e6)
            complete_until = read_from if mailbox.is_retired else mailbox.level()
        stop.wait(LISTEN_SECONDS)


def until_joined(runtime: Runtime, stop: threading.Event) -> None:
    """Return when a new gateway on another host joins, since this process lists the logs only once, at its start."""
    known = {each.name for each in runtime.mailboxes}
    while not stop.wait(LISTEN_SECONDS):
        new = {each.name for each in runtime.mailboxes} - known
        if new:
            structlog.get_logger("gateways").warning(
                "a gateway of another host joined; this process restarts to read its log",
                gateways=", ".join(sorted(new)),
            )
            return


def _switch(switch: Switch, stop: threading.Event) -> None:
    """Run the gateway's dead man's switch until stopped."""
    from sluicegate.services.traffic.switch import PERIOD

    while not stop.is_set():
        switch.look()
        stop.wait(PERIOD)


def console() -> None:
    """Serve the API, the pages and the intakes until stopped."""
    import uvicorn

    from sluicegate.flows.wiring.answering import Answering, answering_others
    from sluicegate.flows.wiring.in_cluster import hosts
    from sluicegate.services.console.app import create

    runtime = current_runtime()
    site, console_desk = runtime.site, desk()
    port = site.ports["console"]
    app = create(console_desk, hosts=["127.0.0.1", "localhost", *hosts(runtime.settings)])
    place = "127.0.0.1" if runtime.settings.cluster is None else "0.0.0.0"
    config = uvicorn.Config(app, host=place, port=port, log_level="warning", server_header=False)
    loops = Loops("console", runtime.heartbeats)
    loops.beside("watch", _minding(runtime, loops, "console"))
    _listen_to_ledger(runtime, loops, console_desk.changes.tell)
    door, others = runtime.door(site), None
    if door is not None:
        names = [str(site.listen), str(site.address)]
        others = answering_others(create(console_desk, hosts=names, secure=True), door.in_use)
    answering = Answering(uvicorn.Server(config), others, at=(str(site.address), port))
    asyncio.run(answering.serve(lambda: runtime.heartbeats.beat("console"), BEAT_SECONDS))


def _listen_to_ledger(runtime: Runtime, loops: Loops, on_change: Callable[[], object]) -> None:
    """Call `on_change` at once when any host records something, if the ledger's database sends notices."""
    from sluicegate.registry.ledger.notices import Listening, can_listen

    location = runtime.settings.ledger_url()
    if can_listen(location):
        loops.beside("notices", Listening(location, on_change).run, PASS_SECONDS)


def _minding(runtime: Runtime, loops: Loops, own: str) -> Callable[[threading.Event], None]:
    """The loop that ends what hangs: on a machine it watches the other programs; in a pod, where the kubelet checks the
    heartbeat, only this process's own loops."""
    return partial(watch, runtime, own) if runtime.settings.cluster is None else loops.end_where_one_hangs


def watch(runtime: Runtime, own: str, stop: threading.Event) -> None:
    """Restart those of our programs that hang, until stopped."""
    from sluicegate.services.host.programs.watching import PERIOD, Watch

    watching = Watch(own=own, supervisor=runtime.supervisor, beats=runtime.heartbeats)
    while not stop.wait(PERIOD):
        try:
            watching.look()
        except (SluiceError, OSError) as error:
            structlog.get_logger(own).warning("the others were not looked at; tried again", why=str(error))


def rollout_spec(runtime: Runtime, name: str) -> RolloutSpec | None:
    """What the collector needs to know about a rollout; None while the ledger does not know it."""
    from sluicegate.registry.plan.slice_rules import sliced_metrics
    from sluicegate.registry.rollout.experiment import counted_for
    from sluicegate.services.telemetry.tally.spec import RolloutSpec

    rollout = counted_for((*runtime.ledger.rollouts(Selection(experiment=name)), *_rollout(runtime, name)), name)
    if rollout is None:
        return None
    plan = rollout.judged_plan
    return RolloutSpec(
        rollout=name,
        metrics=dict(plan.metrics),
        thresholds=dict(rollout.thresholds),
        margins={gate.metric: plan.margins(gate) for gate in plan.gates},
        by_unit=plan.unit is not None,
        generates=plan.generate is not None,
        joins_more=plan.serve.capture.has_bodies,
        sliced=sliced_metrics(plan) if rollout.requested.strategy == "canary" else {},
    )


def _rollout(runtime: Runtime, name: str) -> tuple[Rollout, ...]:
    try:
        return (runtime.ledger.rollout(name),)
    except NotFound:
        return ()


def _set_clock(runtime: Runtime) -> None:
    """Set the ledger's clock by the wall clock, unless a rollout is open."""
    if all(rollout.is_ended for rollout in runtime.ledger.current()):
        runtime.clock.set_by_wall()


def _remember(runtime: Runtime) -> None:
    """Write what is new to MLflow."""
    runtime.memory.look()


def _notify(runtime: Runtime) -> None:
    """Notify Prefect and people of what is new."""
    runtime.outbox.look(runtime.clock())


def _call_hooks(runtime: Runtime) -> None:
    """Call the hooks of plans that are due."""
    runtime.hooks.look(runtime.clock())


def _repeat(look: Callable[[Runtime], None], runtime: Runtime, seconds: float, stop: threading.Event) -> None:
    """Call `look` until stopped, and log its failures. Routing and judging neither wait for it nor fail with it."""
    while not stop.is_set():
        try:
            look(runtime)
        except Exception:  # noqa: BLE001
            structlog.get_logger("keeper").exception("a look beside the keeper's failed; the next one starts afresh")
        stop.wait(seconds)


def _ignore(_: object) -> None:
    return None


PROCESSES = {"keeper": keeper, "collector": collector, "console": console}

if __name__ == "__main__":
    log_plainly()
    run_process(PROCESSES[sys.argv[1]])
