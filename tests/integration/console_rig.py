"""A console in a thread over a SQLite ledger whose rollouts were judged by the real gates, for a real browser."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import uvicorn

from sluicegate.flows.shadow.reading import read_shadow
from sluicegate.flows.stages.shadow import hand_over
from sluicegate.flows.views.overview import overview
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.pulse import MINUTES, Pulse
from sluicegate.registry.report.report import (
    ArmCounts,
    ArmLatency,
    Evidence,
    LatencyBin,
    OutcomeCoverage,
    RequestsAtWeight,
    SampleRatio,
)
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.app import create
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.telemetry.pairs.queries import ShadowQueries
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.store import Store
from tests import giving as orders
from tests import plain_http
from tests.acceptance import shadowed as shadow_lab
from tests.acceptance.given import PLAN, Given
from tests.acceptance.shadowed import Shadowed
from tests.experiment_lab import EQUAL, Lab
from tests.giving import Giver
from tests.unit.console_office import FirstBuilds, MemoryDesk

ADMIN = "the-admins-token"
WHO = Giver(actor="ada", cause="cli")


@dataclass(frozen=True, kw_only=True)
class Console:
    """Where it answers, and what it stands on."""

    url: str
    folder: Path
    ledger: SqlLedger
    tokens: Tokens

    def token(self, name: str, role: Role) -> str:
        """A new token."""
        return self.tokens.give(name, role, actor="ada")

    def order(self, name: str, rollout: str) -> None:
        """An order from elsewhere, such as the CLI."""
        getattr(orders, name)(
            self.ledger, rollout, actor="bob", reason="the load test needs the machine", now=datetime.now(UTC)
        )


@contextmanager
def console(folder: Path) -> Iterator[Console]:
    """A console over an empty ledger; stopped when the block is left."""
    ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create(RigDesk(ledger, folder), hosts=["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield Console(
            url=f"http://127.0.0.1:{port}",
            folder=folder,
            ledger=ledger,
            tokens=Tokens(ledger, ADMIN, lambda: datetime.now(UTC)),
        )
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        ledger.close()


def judged(ledger: SqlLedger, model: str, *, loss: float = 0.526, until: int | None = None) -> Rollout:
    """A canary that its gates judged to the end, or until it has this weight in basis points."""
    return (
        Given({**PLAN, "model": model}, ledger=ledger, candidate=loss, start=_start()).runs(20_000, until=until).rollout
    )


def _start() -> datetime:
    """A while ago; at the begin of a bucket, so that the gates see the same strata whenever the test runs."""
    now = int(datetime.now(UTC).timestamp()) - 600
    return datetime.fromtimestamp(now - now % 300, UTC)


def asked(at: Console, model: str) -> None:
    """Three audiences that overlap, which a model asks in turn."""
    whens = {
        "texas": {"state": "Texas"},
        "adults": {"age": {"from": 18, "to": 65}},
        "phones": {"device": ["ios", "android"]},
    }
    call = {"headers": {"authorization": f"Bearer {ADMIN}"}}
    for name, when in whens.items():
        document = {"values": {"kind": "audience", "name": name, "when": when}, "where": "rig"}
        plain_http.post(f"{at.url}/api/v1/documents", json=document, **call).raise_for_status()  # type: ignore[arg-type]
    body = {"audiences": [{"audience": name, "weight": 1} for name in whens]}
    plain_http.post(f"{at.url}/api/v1/models/{model}/variations/default/connect", json=body, **call).raise_for_status()  # type: ignore[arg-type]


def compared(ledger: SqlLedger) -> str:
    """An experiment of model m that goes on, one of whose variations has reached the goal; its id."""
    lab = Lab(loss=EQUAL | {"b": 0.6}, ledger=ledger, start=_start() - timedelta(days=1)).begins().runs(3_000)
    return lab.group[0].requested.experiment or ""


def shadowed(at: Console) -> tuple[Rollout, Rollout]:
    """A shadow whose scores are never quite alike, passed by the plan's tolerance, and the canary that followed."""
    plan = {
        **shadow_lab.PLAN, "model": "credit",
        "metrics": {"errors": {"source": "status"}, "far_apart": {"source": "disagreement", "agree_within": 0.05}},
        "shadow": {
            "sample": 100, "max_time": "2h", "slices": ["x-state"], "soak": "25m", "show_values": True,
            "then": "canary",
            "gates": [{"metric": "far_apart", "below": "5%"}], "guardrails": [{"metric": "errors", "alpha": 0.01}],
        },
    }  # fmt: skip
    lab = Shadowed(at.folder, plan, ledger=at.ledger, start=_start() - timedelta(hours=1))
    lab.every = timedelta(minutes=2)
    try:
        lab.runs(1_500, flips=0.01, scored=True)
        canary = hand_over(lab.ledger, lab.rollout, lab.now)
    finally:
        lab.store.close()
    assert canary is not None, lab.rollout.reason
    return lab.rollout, canary


def _latency(arm: str, middle: float) -> ArmLatency:
    """A histogram as the collector keeps it, around so many milliseconds."""
    sizes = [round(400 * math.exp(-((step / 6) ** 2))) for step in range(-14, 15)]
    edges = [middle * 10 ** (step / 20) for step in range(-14, 16)]
    bins = [LatencyBin(low=low, high=high, requests=n) for (low, high), n in zip(pairwise(edges), sizes, strict=True)]
    return ArmLatency(arm=arm, requests=sum(sizes), p50=middle, p95=2.1 * middle, p99=3 * middle, bins=tuple(bins))


EVIDENCE = Evidence(
    exposures=(
        RequestsAtWeight(
            epoch=1,
            stable=ArmCounts(requests=1641, failed=2, ends={"5xx": 1, "timeout": 1}),
            candidate=ArmCounts(requests=183, failed=4, fallbacks=4, ends={"timeout": 3, "connect": 1}),
        ),
        RequestsAtWeight(epoch=2, stable=ArmCounts(requests=824), candidate=ArmCounts(requests=252)),
    ),
    coverage=(OutcomeCoverage(metric="log_loss", exposures=2900, labelled=2900, pending=0),),
    latency=(_latency("stable", 6.0), _latency("candidate", 7.5)),
    sample_ratio=SampleRatio(answer="OK", p_value=0.41),
)
"""What telemetry would add to a canary: requests, errors by cause, labels, latency."""


class TrainedBuilds(FirstBuilds):
    """A catalog in which each model has two builds, with the runs that made them."""

    def builds(self, model: str) -> Sequence[Build]:
        refs = [BuildRef(model=model, version=version) for version in "12"]
        return [Build(ref=ref, source="runs:/x", run=f"run{ref.version}", created_at=_start()) for ref in refs]

    def run_metrics(self, run: str) -> dict[str, float]:
        return {"log_loss": 0.5142, "auc": 0.8731, "rows": 120_000}


class RigDesk(MemoryDesk):
    """A desk over a ledger and telemetry on disk, with neighbours."""

    def __init__(self, ledger: SqlLedger, folder: Path) -> None:
        neighbours = {"gateway": 1, "mlflow": 2, "prefect": 3}
        links = {name: f"http://127.0.0.1:{port}" for name, port in neighbours.items()}
        super().__init__(ledger=ledger, catalog=TrainedBuilds(), admin_token=ADMIN, links=links)
        self._store = Store(f"sqlite:///{folder / 'telemetry.db'}")
        self._telemetry = Queries(self._store, self.clock)

    def plan(self, model: str, variation: str) -> Plan:
        return Plan.model_validate({**PLAN, "model": model, "variation": variation})

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        return {rollout.id: (900, 100) for rollout in rollouts if rollout.is_tried}

    def evidence(self, rollout: Rollout) -> Evidence:
        if rollout.is_shadow:
            return Evidence(shadow=read_shadow(ShadowQueries(self._store), rollout))
        return EVIDENCE if rollout.requested.strategy == "canary" else Evidence()

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        busy = [int(400 + 90 * math.sin(minute / 2)) for minute in range(MINUTES)]
        return dict.fromkeys(models, Pulse(requests=tuple(busy), failed=tuple(each // 80 for each in busy)))

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        return overview(self.ledger, self._telemetry, models, self.clock())
