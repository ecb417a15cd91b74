"""Memory and events on a real MLflow and a real Prefect: what is written, once, also when they were away."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from sluicegate.flows.stages.memory import Memory, Written
from sluicegate.registry.catalog.mlflow_http import MlflowCatalog
from sluicegate.registry.catalog.runs import MlflowRuns, Run
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.facts import Confirmed
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.outbox.outbox import Outbox
from sluicegate.services.outbox.prefect_events import PrefectEvents
from tests import giving as orders
from tests.acceptance.given import PLAN, Given
from tests.contract.mlflow_server import mlflow_server
from tests.integration.prefect_rig import PrefectServer, prefect_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, PrefectServer]]:
    """Both, started side by side."""
    ready, done, found = threading.Event(), threading.Event(), list[PrefectServer]()

    def run_prefect() -> None:
        try:
            with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
                found.append(server)
                ready.set()
                done.wait()
        finally:
            ready.set()

    beside = threading.Thread(target=run_prefect)
    beside.start()
    try:
        with mlflow_server(tmp_path_factory.mktemp("mlflow")) as mlflow:
            ready.wait(200)
            yield mlflow, found[0]
    finally:
        done.set()
        beside.join(60)


class Remembering:
    """A rollout, an MLflow to remember it, and what MLflow then says."""

    def __init__(self, given: Given, server: MlflowServer) -> None:
        self.given, self.runs, self.catalog = given, MlflowRuns(server), MlflowCatalog(server)

    def memory(self, runs: MlflowRuns | None = None) -> Memory:
        return Memory(
            ledger=self.given.ledger, runs=runs or self.runs, versions=self.catalog,
            evidence=lambda rollout: Evidence(), clock=lambda: self.given.now,
        )  # fmt: skip

    def register(self, model: str, versions: int) -> None:
        rest = self.catalog._rest
        home = self.runs.open(experiment="training", tag=("for", model), name=model, began=datetime.now(UTC))
        rest.post("/registered-models/create", {"name": model})
        for _ in range(versions):
            source = {"source": f"{home.artifacts}/model", "run_id": home.id}
            rest.post("/model-versions/create", {"name": model, **source})

    @property
    def run(self) -> Run:
        return self.runs.open(
            experiment=f"sluice/{self.given.plan.model}", tag=("sluice.rollout", self.given.name), name="x",
            began=self.given.now,
        )  # fmt: skip

    def told(self) -> dict[str, Any]:
        return self.catalog._rest.part("run", "/runs/get", run_id=self.run.id)

    def history(self, metric: str) -> list[dict[str, Any]]:
        found = self.catalog._rest.get("/metrics/get-history", run_id=self.run.id, metric_key=metric)
        return found.get("metrics", [])

    def artifact(self, name: str) -> str:
        path = "/api/2.0/mlflow-artifacts/artifacts/" + self.run.artifacts.partition(":/")[2].lstrip("/")
        return self.catalog._rest.text(f"{path}/{name}", {})


def of(model: str, **how: Any) -> Given:
    return Given(PLAN | {"model": model}, **how)


def test_a_rollout_is_a_run_with_metrics_plan_report_and_verdicts(servers: tuple[MlflowServer, PrefectServer]) -> None:
    given = of("remembered").runs(30_000)
    assert given.rollout.phase is Phase.BAKING
    orders.abort(given.ledger, given.name, actor="ada", reason="labels were wrong", now=given.now)
    there = Remembering(given, servers[0])
    there.register("remembered", 2)
    assert given.name in there.memory().look()

    looks = given.ledger.looks(given.name, "log_loss")
    found = there.told()
    tags = {each["key"]: each["value"] for each in found["data"]["tags"]}
    assert (found["info"]["status"], found["info"]["run_name"]) == ("FAILED", given.name)
    assert (tags["sluice.state"], tags["sluice.reason"], tags["sluice.actor"]) == (
        "aborted", "labels were wrong", "ada",
    )  # fmt: skip
    assert "labels were wrong" in tags["mlflow.note.content"]
    assert [(each["step"], each["value"]) for each in there.history("log_loss.high")] == [
        (look.k, look.verdict.high) for look in looks if look.verdict.high is not None
    ]
    assert [each["value"] for each in there.history("weight")] == [10, 25, 50]
    assert there.artifact("report.html").startswith("<!doctype html>")
    assert json.loads(there.artifact("report.json"))["rollout"]["ending"] == "aborted"
    assert len(json.loads(there.artifact("verdicts.json"))) == len(given.ledger.looks(given.name))
    assert "model: remembered" in there.artifact("plan.yaml")
    version = there.catalog.build(BuildRef(model="remembered", version="2"))
    assert version.tags["sluice.run"] == there.run.id


def test_run_and_version_say_whether_late_labels_confirm(servers: tuple[MlflowServer, PrefectServer]) -> None:
    late = {"late": {"source": "outcome", "outcome": "late", "score": "outcome", "cap": 1}}
    confirm = {"metric": "late", "margin": "5%", "max_time": "9d"}
    given = Given(PLAN | {"model": "late", "metrics": {**PLAN["metrics"], **late}, "confirm": confirm}).runs(3_000)
    orders.promote(given.ledger, given.name, actor="ada", reason="enough", now=given.now)
    there = Remembering(given, servers[0])
    there.register("late", 2)
    for fact, said in ((None, "confirming"), (Confirmed(reason="labels agree"), "confirmed")):
        if fact is not None:
            orders.append(given.ledger, given.name, lambda _, fact=fact: fact, given.now)
        assert given.name in there.memory().look()
        tags = {each["key"]: each["value"] for each in there.told()["data"]["tags"]}
        version = there.catalog.build(BuildRef(model="late", version="2"))
        assert (tags["sluice.confirmation"], version.tags["sluice.confirmation"]) == (said, said)


def test_written_twice_is_written_once(servers: tuple[MlflowServer, PrefectServer]) -> None:
    given = of("twice").runs(3_000)
    there = Remembering(given, servers[0])
    there.memory().look()
    looks = given.ledger.looks(given.name)
    before, again = there.run, there.memory()
    for _ in range(2):
        again.write(given.rollout, looks, Written())
    assert there.run == before
    assert len(there.history("log_loss.stable")) == len(given.ledger.looks(given.name, "log_loss"))
    assert again.look() == ()
    given.runs(1_000)
    assert given.name in there.memory().look()
    assert len(there.history("log_loss.stable")) == len(given.ledger.looks(given.name, "log_loss"))


def test_an_mlflow_that_was_away_is_told_everything_later(servers: tuple[MlflowServer, PrefectServer]) -> None:
    given = of("later").runs(1_000)
    there = Remembering(given, servers[0])
    away = MlflowRuns(MlflowServer(url="http://127.0.0.1:9"))
    assert there.memory(away).look() == ()
    given.runs(2_000)
    assert given.name in there.memory().look()
    assert len(there.history("log_loss.stable")) == len(given.ledger.looks(given.name, "log_loss"))


def test_artifacts_are_kept_where_mlflow_has_no_proxy_for_them(
    servers: tuple[MlflowServer, PrefectServer], tmp_path: Path
) -> None:
    runs, rest = MlflowRuns(servers[0]), MlflowCatalog(servers[0])._rest
    began = datetime(2026, 1, 1, tzinfo=UTC)

    def run(experiment: str, store: str) -> Run:
        name = f"{experiment} {tmp_path.name}"
        rest.post("/experiments/create", {"name": name, "artifact_location": store})
        return runs.open(experiment=name, tag=("for", "this test"), name="x", began=began)

    here = run("without-proxy", tmp_path.as_uri())
    runs.keep(here, "plan.yaml", "model: fraud — über\n")
    assert (tmp_path / here.id / "artifacts" / "plan.yaml").read_text(encoding="utf-8") == "model: fraud — über\n"
    nowhere = run("store-that-cannot-be-written", "file:///dev/null/x")
    with pytest.raises(CatalogUnavailable, match=r"plan\.yaml could not be stored at file:///dev/null/x"):
        runs.keep(nowhere, "plan.yaml", "model: fraud\n")


def test_a_version_that_was_deleted_leaves_the_run_in_peace(servers: tuple[MlflowServer, PrefectServer]) -> None:
    given = of("deleted")
    there = Remembering(given, servers[0])
    assert given.name in there.memory().look()
    assert there.told()["info"]["status"] == "RUNNING"


@pytest.fixture
def http(servers: tuple[MlflowServer, PrefectServer]) -> Iterator[httpx.Client]:
    with servers[1].client() as client:
        yield client


def _until(read: Callable[[], Any]) -> Any:
    """What is read, once it is there; the test's own time limit ends a wait for nothing."""
    while not (found := read()):
        time.sleep(0.2)
    return found


def _events(http: httpx.Client, given: Given) -> list[str]:
    wanted = {
        "occurred": {"since": "2025-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"},
        "resource": {"id": [f"sluice.rollout.{given.name}"]},
        "order": "ASC",
    }
    found = http.post("/events/filter", json={"filter": wanted, "limit": 50}).raise_for_status().json()["events"]
    return [each["event"].rpartition(".")[2] for each in found]


def test_every_fact_is_an_event_in_prefect_once(http: httpx.Client) -> None:
    given = of("told")
    given.ledger.remember("outbox:prefect", {"place": 0})
    given.ticks()
    away = httpx.Client(base_url="http://127.0.0.1:9/api", trust_env=False)
    assert Outbox(given.ledger, lambda: [PrefectEvents(away)]).look(given.now) == 0
    for _ in range(2):
        given.ledger.remember("outbox:prefect", {"place": 0})
        Outbox(given.ledger, lambda: [PrefectEvents(http)]).look(given.now)
    wanted = ["requested", "begun", "packed", "ready", "step-entered"]
    _until(lambda: len(_events(http, given)) >= len(wanted))
    assert _events(http, given) == wanted


AUTOMATION = Path(__file__).parents[2] / "docs" / "how-to" / "aborted-automation.json"


def test_the_documented_automation_runs_a_flow_when_a_rollout_is_aborted(http: httpx.Client) -> None:
    """The document that docs/how-to/react-and-remember.md names, as it stands there."""
    flow = http.post("/flows/", json={"name": "after-abort"}).raise_for_status().json()
    body = {"flow_id": flow["id"], "name": "after-abort", "parameter_openapi_schema": {"type": "object"},
            "enforce_parameter_schema": False}  # fmt: skip
    deployment = http.post("/deployments/", json=body).raise_for_status().json()
    text = AUTOMATION.read_text().replace("DEPLOYMENT-ID", deployment["id"])
    http.post("/automations/", json=json.loads(text)).raise_for_status()

    wanted = {"deployments": {"id": {"any_": [deployment["id"]]}}}
    for number in itertools.count():  # Prefect takes an automation up some time after it was created
        name = _abort(f"reacted-{number}", http)
        runs = _within(20, lambda: http.post("/flow_runs/filter", json=wanted).raise_for_status().json())
        if runs:
            break
    assert [run["parameters"] for run in runs] == [
        {"rollout": name, "model": f"reacted-{number}", "reason": "too slow"}
    ]


def _abort(model: str, http: httpx.Client) -> str:
    """Let a rollout be aborted and Prefect be told of it; its id."""
    given = of(model)
    given.now = datetime.now(UTC)
    given.ledger.remember("outbox:prefect", {"place": 0})
    given.ticks()
    orders.abort(given.ledger, given.name, actor="ada", reason="too slow", now=given.now)
    Outbox(given.ledger, lambda: [PrefectEvents(http)]).look(given.now)
    return given.name


def _within(times: int, read: Callable[[], Any]) -> Any:
    """What is read, as soon as it is there; None when it does not come."""
    for _ in range(times):
        if found := read():
            return found
        time.sleep(0.2)
    return None
