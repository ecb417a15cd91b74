"""A console over a ledger in memory, for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.testclient import TestClient

from sluicegate.flows.views.trying import try_out
from sluicegate.registry.ledger.calls import MemoryCalls
from sluicegate.registry.ledger.memory import MemoryLedger
from sluicegate.registry.orders import rollouts as orders
from sluicegate.registry.orders.rollouts import Request
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.services.console.app import create
from sluicegate.services.console.ports import Desk

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "t0ken"
SECRET = "whsecret"
BEARER = {"authorization": f"Bearer {TOKEN}"}
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}]})


class Office:
    """A console over a ledger in memory."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.looks = 0
        self.outcomes: list[dict[str, object]] = []
        self.desk = Desk(
            ledger=self.ledger, calls=MemoryCalls(), clock=lambda: datetime.now(UTC),
            plan=self.plan, resolve=self.resolve, evidence=lambda rollout: Evidence(),
            try_out=lambda model, metadata, unit: try_out(self.ledger, model, metadata, unit),
            overview=lambda models: (),
            builds=lambda model: [Build(ref=BuildRef(model=model, version="1"), source="x")],
            record_outcomes=self.record, requests=lambda rollout: (90, 10), look_at_catalog=self.look,
            metrics=lambda: b"# HELP x\n", counts=lambda: {"counters": {}},
            checks=lambda: [{"check": "disk", "status": "warn", "found": "9 % free", "fix": "free some"}],
            admin_token=TOKEN, webhook_secret=SECRET, session_secret="s", links={"gateway": "http://127.0.0.1:1"},
        )  # fmt: skip
        self.client = TestClient(create(self.desk, hosts=["127.0.0.1"]), base_url="http://127.0.0.1")

    def plan(self, model: str, variation: str) -> Plan:
        if model != "m":
            raise NotFound(f"no plan is applied for {model}/{variation}.", fix="sluice apply -f plan.yaml")
        return PLAN.model_copy(update={"variation": variation})

    def resolve(self, model: str, name: str) -> BuildRef:
        return BuildRef(model=model, version="2" if name == "latest" else name)

    def record(self, items: list[dict[str, object]]) -> dict[str, object]:
        self.outcomes += items
        return {"accepted": len(items)}

    def look(self) -> tuple[str, ...]:
        self.looks += 1
        return ()

    def running(self) -> Rollout:
        who = Request(actor="ada", cause="cli")
        first = orders.deploy(self.ledger, plan=PLAN, version="1", request=who, now=NOW).rollout
        self._launch(first.id)
        orders.complete(self.ledger, first.id, NOW)
        second = orders.start(self.ledger, plan=PLAN, version="2", request=who, now=NOW).rollout
        self._launch(second.id)
        entered = StepEntered(step=0, weight=1000, actor="policy", reason="ready")
        return self.ledger.append(second.id, self.ledger.rollout(second.id).seq + 1, entered, NOW)

    def _launch(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="2")):
            self.ledger.append(name, self.ledger.rollout(name).seq + 1, fact, NOW)
