"""A console over a ledger in memory, for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.testclient import TestClient

from sluicegate.flows.views.logs import Line
from sluicegate.flows.views.overview import Unobserved, overview
from sluicegate.flows.views.trying import try_out
from sluicegate.registry.audience.trial import Trial
from sluicegate.registry.ledger.calls import Calls
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.pulse import Pulse
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import CHAMPION_ALIAS, Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.services.console.app import create
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.in_time import InTime
from sluicegate.services.host.doctor.finding import Finding, warned
from tests import giving as orders
from tests.doubles.calls import MemoryCalls
from tests.doubles.ledger import MemoryLedger
from tests.experiment_lab import Lab
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "t0ken"
SECRET = "whsecret"
BEARER = {"authorization": f"Bearer {TOKEN}"}
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}]})


class FirstBuilds:
    """A catalog in which two models have a first build, and any other that is asked for."""

    def resolve(self, model: str, name: str) -> BuildRef:
        return BuildRef(model=model, version="2" if name == "latest" else name)

    def models(self) -> Sequence[str]:
        return ("churn", "m")

    def builds(self, model: str) -> Sequence[Build]:
        return [Build(ref=BuildRef(model=model, version="1"), source="x")]

    def run_metrics(self, run: str) -> dict[str, float]:
        return {}


@dataclass(kw_only=True)
class MemoryDesk:
    """A desk over a ledger in memory, or over another one."""

    ledger: Ledger = field(default_factory=MemoryLedger)
    calls: Calls = field(default_factory=MemoryCalls)
    catalog: Any = field(default_factory=FirstBuilds)
    admin_token: str = TOKEN
    webhook_secret: str = SECRET
    session_secret: str = "s"
    champion_alias: str = CHAMPION_ALIAS
    links: dict[str, str] = field(default_factory=lambda: {"gateway": "http://127.0.0.1:1"})
    looks: int = 0
    wanted: dict[str, object] = field(default_factory=dict)
    outcomes: list[dict[str, object]] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    in_time: InTime = field(default_factory=InTime)

    def check(self, plan: Plan) -> None:
        """This machine can do whatever a plan asks for."""

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def over(self, ledger: Ledger) -> MemoryDesk:
        other = copy(self)
        other.ledger = ledger
        return other

    def generated(self, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
        del rollouts
        return {}

    def errors(self, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
        del rollouts
        return {}

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        return {rollout.id: (90, 10) for rollout in rollouts}

    def evidence(self, rollout: Rollout) -> Evidence:
        return Evidence()

    def logs(self, rollout: Rollout, most: int) -> Sequence[Line]:
        texts = ("service", f"{rollout.id} <b>is</b> ready"), ("keeper", "started it"), ("keeper", "routed it")
        return [Line(source=source, text=text) for source, text in texts[:most]]

    def try_out(self, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
        return try_out(self.ledger, model, metadata, unit)

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        return ()

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        return dict.fromkeys(models, Pulse(requests=(), failed=()))

    def desired(self, models: Collection[str]) -> Sequence[Served]:
        return overview(self.ledger, Unobserved(), models, self.clock())

    def look_at_catalog(self) -> Sequence[str]:
        self.looks += 1
        return ()

    def record_outcomes(self, items: Sequence[dict[str, object]]) -> object:
        self.outcomes += items
        return {"accepted": len(items)}

    def captures(self, model: str, **wanted: object) -> object:
        self.wanted = {"model": model} | wanted
        return {"captures": [{"rid": "a"}], "next_after": None}

    def metrics(self) -> bytes:
        return b"# HELP x\n"

    def counts(self) -> dict[str, object]:
        return {"counters": {}}

    def remove_gateway(self, name: str) -> int:
        raise NotFound(f"no gateway of another host is called {name!r}.")

    def checks(self, within: float) -> Sequence[Finding]:
        return [warned("disk", "9 % free", "free some")]


class LabDesk(MemoryDesk):
    """A desk over the ledger of an experiment, at its time."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(ledger=lab.ledger)
        self.lab = lab
        orders.apply_plan(lab.ledger, lab.plan, lab.now)

    def clock(self) -> datetime:
        return self.lab.now


class Office:
    """A console over a ledger in memory."""

    def __init__(self, desk: MemoryDesk | None = None) -> None:
        self.desk = desk or MemoryDesk()
        self.ledger = self.desk.ledger
        if not self.ledger.all_applied("plan"):
            orders.apply_plan(self.ledger, PLAN, NOW)
        self.client = TestClient(create(self.desk, hosts=["127.0.0.1"]), base_url="http://127.0.0.1")

    def running(self, plan: Plan | None = None) -> Rollout:
        who = Giver(actor="ada", cause="cli")
        first = orders.deploy(self.ledger, plan=PLAN, version="1", request=who, now=NOW).rollout
        self._launch(first.id)
        orders.complete(self.ledger, first.id, NOW)
        second = orders.start(self.ledger, plan=plan or PLAN, version="2", request=who, now=NOW).rollout
        self._launch(second.id)
        entered = StepEntered(step=0, weight=1000, actor="policy", reason="ready")
        return self.ledger.append(second.id, self.ledger.rollout(second.id).seq + 1, entered, NOW)

    def _launch(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="2")):
            self.ledger.append(name, self.ledger.rollout(name).seq + 1, fact, NOW)
