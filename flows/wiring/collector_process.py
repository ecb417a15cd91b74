"""The collector's process: reads the access logs of every gateway here, and runs the gateways' dead man's switches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.flows.shadow.specs import shadow_specs
from sluicegate.flows.wiring.certificate_watch import watch_certificate
from sluicegate.flows.wiring.copy_watch import watch_drops
from sluicegate.flows.wiring.housekeeping import keep_house
from sluicegate.flows.wiring.keeping import KeptModels
from sluicegate.flows.wiring.loops import PASS_SECONDS, UNHURRIED, Loops
from sluicegate.flows.wiring.program_watch import end_hanging
from sluicegate.flows.wiring.rollout_specs import rollout_spec
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.services.bento.body_capture import bodies_log
from sluicegate.services.loopback import own_folder
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.tailing.backlog import access_logs
from sluicegate.services.telemetry.tailing.bodies import BodyCollector
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.generated import GeneratedCollector
from sluicegate.services.telemetry.tailing.levels import Levels
from sluicegate.services.telemetry.tailing.readers import SharedLevels
from sluicegate.services.traffic.switch import PERIOD, Switch

if TYPE_CHECKING:
    from sluicegate.registry.words.build import Build, BuildRef
    from sluicegate.services.telemetry.tailing.log_collector import LogCollector
    from sluicegate.services.telemetry.tally.spec import RolloutSpec
    from sluicegate.services.traffic.envoy.plane import Envoy
    from sluicegate.services.traffic.joined import Mailbox

LISTEN_SECONDS = 1.0
"""Seconds between two checks whether a gateway that writes a log is alive."""


def run() -> None:
    """Turn Envoy's access logs into tallies until stopped."""
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
    loops.beside("watch", end_hanging(runtime, loops, "collector"))
    _run_switches(runtime, loops)
    served_name = runtime.served_name(runtime.site)
    if served_name is not None:
        loops.beside("certificate", partial(watch_certificate, served_name))
    loops.run("log", first.run, PASS_SECONDS)


def _run_switches(runtime: Runtime, loops: Loops) -> None:
    """Run the dead man's switch of each gateway of this machine."""
    marks = runtime.marks()
    limit, counts_all = runtime.settings.unwatched_seconds, runtime.settings.cluster is not None
    for name, own in runtime.envoys_of(runtime.site).items():  # own connections, so that no reader waits for them
        switch = Switch(name=name, plane=own, mark=marks[name], limit=limit, counts_all=counts_all)
        loops.beside(f"{name} switch", partial(_switch, switch))


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

    while not stop.is_set():
        switch.look()
        stop.wait(PERIOD)
