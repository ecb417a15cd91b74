"""Six doors at once, each with its own connection to one SQLite ledger: one rollout; two drivers forced: one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from httpx import HTTPStatusError
from starlette.testclient import TestClient

from sluicegate.flows.driver.driving import Unchanged, _start
from sluicegate.flows.driver.forms import StartForm
from sluicegate.flows.driver.lease import hold_lease
from sluicegate.flows.rehearsal.before_first import Replaying
from sluicegate.flows.rehearsal.shadow_replay import Answering
from sluicegate.flows.stages.launch import launch
from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.orders.certified_plans import Tried, certificate
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Start
from sluicegate.registry.plan.fields import Serve, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import IllegalMove, LedgerConflict, Refused
from sluicegate.registry.words.metric import TallyRow
from sluicegate.services.bento.predictor.answer import summary
from sluicegate.services.keeper.catalog_watch import look_at_catalog
from tests import giving as orders
from tests.doubles.catalog import MemoryCatalog
from tests.giving import Giver
from tests.unit.console_office import BEARER, MemoryDesk, Office
from tests.unit.test_console import DELIVERY, signed

PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}], "trigger": {"alias": "candidate"}})
WHO = Giver(actor="ada", cause="cli")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class WatchingDesk(MemoryDesk):
    """A desk that looks at a catalog when a webhook says so."""

    catalog: MemoryCatalog

    def plan(self, model: str, variation: str) -> Plan:
        return PLAN

    def look_at_catalog(self) -> Sequence[str]:
        return look_at_catalog(self.ledger, self.catalog, now())


class Town:
    """A ledger on disk, a catalog, and every way to ask for a rollout."""

    def __init__(self, folder: Path) -> None:
        self.url, self.catalog = f"sqlite:///{folder / 'ledger.db'}", MemoryCatalog()
        for version in (1, 2, 3):
            self.catalog.register("m", run=f"train-{version}")
        self.ledger = self.connect()
        applied = Applied(kind="plan", name="m/default", body=PLAN.document(), digest=PLAN.digest, actor="a", at=now())
        self.ledger.apply(applied)
        first = orders.deploy(self.ledger, plan=PLAN, version="1", request=WHO, now=now()).rollout
        self.ready(first.id)
        orders.complete(self.ledger, first.id, now())

    def connect(self) -> SqlLedger:
        return SqlLedger(self.url)

    def ready(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
            orders.append(self.ledger, name, lambda _, fact=fact: fact, now())

    def client(self) -> TestClient:
        return Office(WatchingDesk(ledger=self.connect(), catalog=self.catalog)).client

    def doors(self, version: str) -> dict[str, Callable[[], object]]:
        """Each door with everything that it needs, ready to be opened."""
        console, webhook = self.client(), self.client()
        poll, watch, cli, flow = (self.connect() for _ in range(4))
        found = SimpleNamespace(ledger=flow, catalog=self.catalog, clock=now, plan=lambda *_: PLAN)
        form = StartForm(model="m", build=version)
        asked = {"model": "m", "build": version}
        start = Start(model="m", variation="default", version=version)
        order = Order(act=start, actor="ada", cause="cli")
        return {
            "console": lambda: console.post("/api/v1/rollouts", headers=BEARER, json=asked).raise_for_status(),
            "webhook": lambda: webhook.post(
                "/webhooks/mlflow", content=DELIVERY, headers=signed(DELIVERY, name=f"d-{version}")
            ).raise_for_status(),
            "poll": lambda: look_at_catalog(poll, self.catalog, now()),
            "watch": lambda: look_at_catalog(watch, self.catalog, now()),
            "cli": lambda: give(cli, order, now()),
            "prefect": lambda: _start(found, form, Strategy.CANARY),
        }


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def at_once(doors: dict[str, Callable[[], object]]) -> None:
    """Open all of them in the same moment; every one must answer."""
    line = threading.Barrier(len(doors))

    def opened(door: Callable[[], object]) -> None:
        line.wait()
        door()

    with ThreadPoolExecutor(len(doors)) as pool:
        for done in [pool.submit(opened, door) for door in doors.values()]:
            done.result()


def test_six_doors_at_once_make_one_rollout(town: Town) -> None:
    for version in ("2", "3"):
        town.catalog.set_alias(BuildRef(model="m", version=version), "candidate")
        at_once(town.doors(version))
        of_version = [r for r in town.ledger.rollouts() if r.requested.version == version]
        assert len(of_version) == 1
    assert [r.phase for r in town.ledger.rollouts()] == [Phase.ENDED, Phase.LAUNCHING, Phase.QUEUED]


DOORS = ["console", "webhook", "poll", "watch", "cli", "prefect"]


@pytest.mark.parametrize("door", DOORS)
def test_each_door_alone_makes_the_same_rollout(town: Town, door: str) -> None:
    town.catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    town.doors("2")[door]()
    (rollout,) = (r for r in town.ledger.rollouts() if r.requested.version == "2")
    expected = orders.rollout_id(rollout.requested, 0)
    assert rollout.id == expected


@pytest.mark.parametrize("door", DOORS)
def test_no_door_leads_past_an_offline_gate(town: Town, tmp_path: Path, door: str) -> None:
    offline = {"offline": [{"metric": "val_auc", "worse": "lower", "margin": "1%"}]}
    orders.apply_plan(town.ledger, Plan.model_validate(PLAN.document() | offline), now())
    town.catalog.runs |= {"train-1": {"val_auc": 0.90}, "train-2": {"val_auc": 0.89}}
    town.catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    town.doors("2")[door]()
    (rollout,) = (r for r in town.ledger.rollouts() if r.requested.version == "2")
    with pytest.raises(IllegalMove, match="every offline gate"):
        town.ready(rollout.id)
    after = launch(town.ledger, town.catalog, NoPacking(), rollout, tmp_path, now)
    assert (after.ending, after.weight, after.packed) == (Ending.ABORTED, 0, None)
    assert not any(isinstance(entry.fact, StepEntered) for entry in town.ledger.entries(rollout.id))


@pytest.mark.parametrize("door", DOORS)
def test_no_door_leads_past_a_replay(town: Town, door: str) -> None:
    replay = {
        "serve": {"capture": {"features": "full"}}, "metrics": {"answers": {"source": "disagreement"}},
        "replay": {"gates": [{"metric": "answers", "below": "5%"}]},
    }  # fmt: skip
    orders.apply_plan(town.ledger, Plan.model_validate(PLAN.document() | replay), now())
    town.catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    town.doors("2")[door]()
    (rollout,) = (r for r in town.ledger.rollouts() if r.requested.version == "2")
    town.ready(rollout.id)
    held = tick(town.ledger, NoTallies(), rollout.id, now(), Authority.ADVANCE)
    assert (held.rollout.weight, held.decision.reason) == (0, "replaying requests before the first one")
    replaying = Replaying(
        ledger=town.ledger, services=lambda _: (saying("yes"), saying("no")), kinds=lambda _: {}, clock=now,
        newest=lambda *_: [{"rid": f"r{n}", "request": {"inputs": [{"x": n}]}} for n in range(100)],
        elapsed=lambda: 0.0,
    )  # fmt: skip
    after = replaying.replay(town.ledger.rollout(rollout.id))
    assert (after.ending, after.weight) == (Ending.ABORTED, 0)
    assert not any(isinstance(entry.fact, StepEntered) for entry in town.ledger.entries(rollout.id))


def saying(word: str) -> Answering:
    """A service that always answers the same."""
    return lambda _: (200, summary([word], whole=True))


@pytest.mark.parametrize("door", DOORS)
def test_no_door_leads_past_a_policy_that_asks_for_certificates(town: Town, door: str) -> None:
    gated = {"metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "50%"}]}
    plan = Plan.model_validate(PLAN.document() | gated)
    orders.apply_plan(town.ledger, plan, now())
    body = {"kind": "policy", "name": "certified-plans", "certified": True}
    town.ledger.apply(Applied(kind="policy", name="certified-plans", body=body, digest="d", actor="a", at=now()))
    town.catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    with suppress(Refused, HTTPStatusError):
        town.doors("2")[door]()
    assert not [r for r in town.ledger.rollouts() if r.requested.version == "2"]
    tried = [Tried(metric="errors", name="planted harm", ok=True, reason="is caught")]
    town.ledger.apply(certificate("m", plan.digest, tried, actor="grace", at=now()))
    town.doors("2")["poll" if door == "webhook" else door]()  # MLflow sends a delivery once
    assert [r for r in town.ledger.rollouts() if r.requested.version == "2"]


class NoPacking:
    """Nothing is packed here."""

    def pack(self, build: Build, model_path: Path, *, serve: Serve, note: object) -> Packed:
        raise AssertionError(f"{build.ref} was packed")


def test_a_lost_webhook_is_found_by_the_next_poll(town: Town) -> None:
    doors = town.doors("2")
    assert doors["poll"]() == ()
    town.catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    assert len(doors["poll"]()) == 1  # type: ignore[arg-type]


def test_a_schedule_does_not_try_an_aborted_version_again_and_a_name_does(town: Town) -> None:
    flow = SimpleNamespace(ledger=town.ledger, catalog=town.catalog, clock=now, plan=lambda *_: PLAN)
    name = _start(flow, StartForm(model="m"), Strategy.CANARY)
    orders.abort(town.ledger, name, actor="ada", reason="no", now=now())
    with pytest.raises(Unchanged, match="ended before"):
        _start(flow, StartForm(model="m"), Strategy.CANARY)
    with pytest.raises(Unchanged, match="stable already"):
        _start(flow, StartForm(model="m", build="1"), Strategy.CANARY)
    assert _start(flow, StartForm(model="m", build="3"), Strategy.CANARY) != name


class NoTallies:
    """Telemetry that has seen nothing."""

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        return 0, ()

    def progress(self, rollout: str, epoch: int) -> int:
        return 0

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        return None


def test_two_drivers_forced_on_a_rollout_take_one_step(town: Town) -> None:
    name = orders.start(town.ledger, plan=PLAN, version="2", request=WHO, now=now()).rollout.id
    town.ready(name)

    def drive(ledger: SqlLedger) -> Callable[[], object]:
        def once() -> object:
            try:
                return tick(ledger, NoTallies(), name, now(), Authority.ADVANCE)
            except LedgerConflict as conflict:
                return conflict

        return once

    at_once({f"driver {n}": drive(town.connect()) for n in range(4)})
    facts = [entry.fact for entry in town.ledger.entries(name)]
    assert sum(isinstance(fact, StepEntered) for fact in facts) == 1


def test_a_second_driver_is_told_that_another_works(town: Town) -> None:
    name = orders.start(town.ledger, plan=PLAN, version="2", request=WHO, now=now()).rollout.id
    with hold_lease(town.ledger, name, "one", now) as mine, hold_lease(town.connect(), name, "two", now) as also_mine:
        assert (mine, also_mine) == (True, False)
    with hold_lease(town.ledger, name, "two", now) as mine:
        assert mine
