"""How long a change of weight takes, from the ledger's append to every gateway serving it, with callers who ask without
pause.

The keeper is the real one, on a ledger in SQLite; services are the constant ones. The callers are a process of their
own, as in life.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.results import Figure
from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.flows.wiring.ringing import RingingLedger
from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import Choice, Decision
from sluicegate.registry.rollout.facts import Aborted, Fact, Packed, StepEntered
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.services.keeper.fleet_pass import FleetPass
from sluicegate.services.keeper.keeper import Keeper
from sluicegate.services.keeper.waking import Doorbell
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.gateways import Gateways
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests import giving as orders
from tests.doubles.one_each import OneEach
from tests.giving import Giver
from tests.integration.traffic_rig import Gateway, eventually

STEPS = 99
PLAN = Plan.model_validate(
    {"model": "delays", "unit": "x-user-id", "steps": [{"weight": step + 1} for step in range(STEPS)], "bake": "1m"}
)
WHO = Giver(actor="bench", cause="cli")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Fleet(OneEach):
    """Services that run already."""

    there: Endpoints

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None: ...

    def stop(self, build: BuildRef) -> None: ...

    def endpoints(self) -> Endpoints:
        return self.there

    def running(self) -> Mapping[BuildRef, int]:
        return dict.fromkeys(self.there, 1)

    def probe(self, build: BuildRef) -> str | None: ...

    def gave_up(self, build: BuildRef) -> str | None: ...


class Plane:
    """Envoy, or several, and when all were seen to serve each epoch."""

    def __init__(self, envoy: Envoy | Gateways | GatewayPlane) -> None:
        self.observe, self.in_flight = envoy.observe, envoy.in_flight
        self._envoy = envoy
        self.served: dict[tuple[str | None, int | None], float] = {}

    def compile(
        self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken
    ) -> RouteTable:
        return replace(routes(standings, running), made_from=made_from)

    def renew(self) -> None:
        self._envoy.renew()

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        self._envoy.apply(table, endpoints)
        at = time.perf_counter()
        for model in table.models:
            for part in model.audiences[-1].slices:
                mark = part.target.assigned
                self.served.setdefault((mark.rollout, mark.epoch if mark.rollout else None), at)


def together(running: Sequence[Gateway]) -> Envoy | Gateways:
    """Gateways of this machine as a keeper reaches them."""
    planes = {str(number): each.plane for number, each in enumerate(running)}
    return running[0].plane if len(running) == 1 else Gateways(planes, now)


def measure(
    gateways: Envoy | Gateways | GatewayPlane, url: str, endpoints: Endpoints, folder: Path, changes: int,
    at_most: float, *, many: int,
) -> list[Figure]:  # fmt: skip
    """Figures of `changes` weight changes at so many gateways, under load, which comes to the one at this URL."""
    folder.mkdir(exist_ok=True)
    ledger, plane = RingingLedger(f"sqlite:///{folder / 'ledger.db'}", folder / "bell"), Plane(gateways)
    with keeping(ledger, plane, Fleet(endpoints), folder / "bell"):
        _deploy(ledger)
        with asking(url) as seen:
            taken = [took for _ in range(-(-changes // (STEPS + 1))) for took in _ramp(ledger, plane)][:changes]
    return [
        Figure(name="gateways", value=many),
        Figure(name="changes of weight under load, one in a hundred an abort", value=changes),
        Figure(name="requests meanwhile", value=seen["requests"]),
        Figure(name="of these failed", value=seen["failed"], at_most=0),
        Figure(name="from append to all serving, p50", value=statistics.median(taken), unit="ms"),
        Figure(name="from append to all serving, p99", value=_p99(taken), unit="ms", at_most=at_most),
        Figure(name="from append to all serving, worst", value=max(taken), unit="ms"),
    ]


@contextlib.contextmanager
def keeping(ledger: RingingLedger, plane: Plane, fleet: Fleet, bell: Path) -> Iterator[None]:
    """The keeper, looking when it is rung."""
    pool, doorbell, stop = ThreadPoolExecutor(2), Doorbell(bell), threading.Event()
    keeper = Keeper(
        ledger=ledger,
        made_from=MadeFrom(ledger, lambda: 0),
        leads=lambda: True,
        services=fleet,
        plane=plane,
        see_to_drivers=lambda _, __: None,
        judge=lambda rollout, _: (ledger.rollout(rollout), Decision(choice=Choice.HOLD, reason="a benchmark")),
        fleet=FleetPass(ledger=ledger, services=fleet, plane=plane, pool=pool),
        catalog_look=lambda _: None,
        clock=now,
    )
    thread = threading.Thread(target=keeper.run, args=(doorbell, stop.is_set))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        doorbell.close()
        pool.shutdown()


@contextlib.contextmanager
def asking(url: str) -> Iterator[dict[str, int]]:
    """Callers over HTTP/1.1 and HTTP/2; what they saw is there after the block."""
    command = [sys.executable, "-m", "benchmarks.gateway.callers", f"{url}/delays/predict"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    seen: dict[str, int] = {}
    try:
        time.sleep(2.0)
        yield seen
        output, _ = process.communicate("", timeout=60)
        seen.update(json.loads(output))
    finally:
        process.kill()
        process.wait()


def _deploy(ledger: RingingLedger) -> None:
    first = orders.deploy(ledger, plan=PLAN, version="1", request=WHO, now=now()).rollout
    _pack(ledger, first.id)
    eventually(lambda: orders.complete(ledger, first.id, now()).is_ended)


def _ramp(ledger: RingingLedger, plane: Plane) -> Iterator[float]:
    """Milliseconds that each step of a rollout took, and the abort at its end."""
    name = orders.start(ledger, plan=PLAN, version="2", request=WHO, now=now()).rollout.id
    _pack(ledger, name)
    eventually(lambda: ledger.rollout(name).ready)
    for step in range(STEPS):
        yield _change(
            ledger, plane, name, StepEntered(step=step, weight=(step + 1) * 100, actor="bench", reason="next")
        )
    yield _change(ledger, plane, name, Aborted(actor="bench", reason="the next one"))


def _pack(ledger: RingingLedger, name: str) -> None:
    rollout = eventually(lambda: (seen := ledger.rollout(name)).began_at and seen)
    fact = Packed(bento=f"delays:{rollout.requested.version}", bento_digest="b", model_digest="d")
    ledger.append(name, rollout.seq + 1, fact, now())


def _change(ledger: RingingLedger, plane: Plane, name: str, fact: Fact) -> float:
    """Milliseconds from the append to Envoy serving the weight, once the keeper has seen the one before."""
    rollout = eventually(lambda: (seen := ledger.rollout(name)).observed_epoch == seen.epoch and seen)
    plane.served.clear()
    began = time.perf_counter()
    after = ledger.append(name, rollout.seq + 1, fact, now())
    mark = (None, None) if after.is_ended else (name, after.epoch)
    eventually(lambda: mark in plane.served)
    return (plane.served[mark] - began) * 1e3


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
