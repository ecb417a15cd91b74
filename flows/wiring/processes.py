"""The long-lived processes: `python -m sluicegate.flows.wiring.processes keeper | collector | console`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.desk import desk
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.registry.rollout.standing import Standing
    from sluicegate.registry.words.build import Build, BuildRef, Endpoint
    from sluicegate.services.telemetry.tally.spec import RolloutSpec
    from sluicegate.services.traffic.table import RouteTable

CLEAN_SECONDS = 86_400.0
MEMORY_SECONDS = 5.0
"""Time between two looks at what MLflow is to be told."""
OUTBOX_SECONDS = 1.0
"""Time between two looks at what Prefect and people are to be told."""


def log_plainly() -> None:
    """One line an event, tracebacks without local values: these may be secrets."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ]
    )


def keeper() -> None:
    """Make the world follow the ledger until told to stop."""
    from sluicegate.flows.stages.tick import Authority, tick
    from sluicegate.flows.wiring.machine import registering
    from sluicegate.services.keeper.catalog_watch import look_at_catalog
    from sluicegate.services.keeper.driver_pass import DriverPass
    from sluicegate.services.keeper.fleet_pass import FleetPass
    from sluicegate.services.keeper.keeper import Keeper
    from sluicegate.services.keeper.registration import Registration
    from sluicegate.services.keeper.waking import Doorbell

    runtime = current_runtime()
    plane = GatewayPlane(runtime)
    pool = ThreadPoolExecutor(8, thread_name_prefix="keeper")
    fleet = FleetPass(ledger=runtime.ledger, services=runtime.fleet, plane=plane, pool=pool, clock=runtime.clock)

    registration = Registration(registering)
    drivers = DriverPass(ledger=runtime.ledger, drivers=runtime.drivers, registration=registration)

    def judge(rollout: str, now: datetime) -> tuple[Rollout, Decision]:
        seen = tick(runtime.ledger, runtime.telemetry, rollout, now, Authority.STOP)
        return seen.rollout, seen.decision

    keeping = Keeper(
        ledger=runtime.ledger,
        services=runtime.fleet,
        plane=plane,
        judge=judge,
        fleet=fleet,
        see_to_drivers=drivers.see_to,
        catalog_look=lambda now: _ignore(look_at_catalog(runtime.ledger, runtime.catalog, now)),
        clock=runtime.clock,
        poll_seconds=runtime.settings.poll_seconds,
    )
    stop = _stopping()
    bell = Doorbell(runtime.bell)
    pool.submit(_clean_daily, runtime, stop)
    pool.submit(_again_and_again, _remember, runtime, MEMORY_SECONDS, stop)
    pool.submit(_again_and_again, _tell, runtime, OUTBOX_SECONDS, stop)
    try:
        keeping.run(bell, stop.is_set)
    finally:
        bell.close()
        pool.shutdown(wait=True)


def collector() -> None:
    """Turn Envoy's access logs into tallies until told to stop."""
    from sluicegate.flows.shadow.specs import shadow_specs
    from sluicegate.flows.wiring.copy_watch import watch_drops
    from sluicegate.flows.wiring.housekeeping import keep_house
    from sluicegate.services.bento.body_capture import bodies_log
    from sluicegate.services.telemetry.pairs.collector import ShadowCollector
    from sluicegate.services.telemetry.tailing.bodies import BodyCollector
    from sluicegate.services.telemetry.tailing.collector import Collector

    runtime = current_runtime()

    def build(ref: BuildRef) -> Build:  # MLflow is looked for when a shadow begins
        return runtime.catalog.build(ref)

    log = runtime.envoy.logs / "live.jsonl"
    collecting = Collector(runtime.reading_store, log, lambda rollout: rollout_spec(runtime, rollout), runtime.clock)
    bodies = BodyCollector(runtime.reading_store, bodies_log(runtime.folder.root / "services"), runtime.clock)
    stop = _stopping()
    specs = shadow_specs(runtime.ledger, lambda rollout: rollout_spec(runtime, rollout), build)
    copies = ShadowCollector(runtime.reading_store, runtime.envoy.logs / "shadow.jsonl", specs, runtime.clock)
    besides = (
        (keep_house, (runtime, [collecting, bodies, copies], stop)), (bodies.run, (stop,)), (copies.run, (stop,)),
        (watch_drops, (runtime, stop)),
    )  # fmt: skip
    for work, what in besides:
        threading.Thread(target=work, args=what, daemon=True).start()
    collecting.run(stop)


def console() -> None:
    """Serve the API, the pages and the intakes until told to stop."""
    import uvicorn

    from sluicegate.services.console.app import create

    runtime = current_runtime()
    port = runtime.site.ports["console"]
    app = create(desk(), hosts=["127.0.0.1", "localhost"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", server_header=False)


class GatewayPlane:
    """Envoy as the keeper sees it: the compiler and the data plane in one."""

    def __init__(self, runtime: Runtime) -> None:
        self._ledger = runtime.ledger
        self.apply = runtime.envoy.apply
        self.observe = runtime.envoy.observe
        self.in_flight = runtime.envoy.in_flight

    def compile(self, standings: Sequence[Standing], endpoints: Mapping[BuildRef, Endpoint]) -> RouteTable:
        """The route table that follows from the ledger."""
        from sluicegate.registry.orders.connections_record import all_connections
        from sluicegate.registry.rollout.experiment import splits
        from sluicegate.services.traffic.routes import routes

        experiments = splits(self._ledger.rollouts(), standings)
        return routes(standings, endpoints, all_connections(self._ledger), experiments)


def rollout_spec(runtime: Runtime, name: str) -> RolloutSpec | None:
    """What the collector must know of a rollout; None while the ledger does not know it."""
    from sluicegate.registry.rollout.experiment import counted_for
    from sluicegate.services.telemetry.tally.spec import RolloutSpec

    rollout = counted_for(runtime.ledger.rollouts(), name)
    if rollout is None:
        return None
    plan = rollout.plan
    return RolloutSpec(
        rollout=name,
        metrics=dict(plan.metrics),
        thresholds=dict(rollout.thresholds),
        margins={gate.metric: plan.margins(gate) for gate in plan.gates},
        by_unit=plan.unit is not None,
    )


def _clean_daily(runtime: Runtime, stop: threading.Event) -> None:
    """Remove bentos, environments and logs that nothing needs and nobody used for a while: at start, then every day."""
    import structlog

    while not stop.is_set():
        packed = [r.packed for r in runtime.ledger.rollouts() if r.packed and (r.is_under_way or r.took_over)]
        keep = {each.bento for each in packed} | {each.env for each in packed}
        try:
            runtime.packer.clean(keep, runtime.clock())
            runtime.fleet.clean(runtime.clock())
        except (SluiceError, OSError) as error:
            structlog.get_logger("keeper").warning("housekeeping failed; tried again tomorrow", why=str(error))
        stop.wait(CLEAN_SECONDS)


def _remember(runtime: Runtime) -> None:
    """Write what is new into MLflow."""
    runtime.memory.look()


def _tell(runtime: Runtime) -> None:
    """Tell Prefect and people what is new."""
    runtime.outbox.look(runtime.clock())


def _again_and_again(look: Callable[[Runtime], None], runtime: Runtime, seconds: float, stop: threading.Event) -> None:
    """Look until told to stop. Routing and judging never wait for this, and never suffer from it."""
    import structlog

    while not stop.is_set():
        try:
            look(runtime)
        except Exception:  # noqa: BLE001
            structlog.get_logger("keeper").exception("a look beside the keeper's failed; the next one starts afresh")
        stop.wait(seconds)


def _ignore(_: object) -> None:
    return None


def _stopping() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


PROCESSES = {"keeper": keeper, "collector": collector, "console": console}

if __name__ == "__main__":
    log_plainly()
    PROCESSES[sys.argv[1]]()
