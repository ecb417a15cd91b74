"""Prefect's side, on a real server: forms explain themselves, a run of each acts on the ledger, a cancel is heeded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from sluicegate.flows.stages.calling import subject
from sluicegate.flows.stages.checks import CheckRunner
from sluicegate.flows.stages.hooks import HookCaller, HookPass
from sluicegate.flows.sync.remembered import Standing, Tree, follow, followed
from sluicegate.registry.ledger.attempt import last_attempt
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.ledger.sql_calls import SqlCalls
from sluicegate.registry.orders.authority import PREFECT, ROLE
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Checked, HookCalled, Observed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.settings import OnCancel
from sluicegate.services.host.prefect_setup.server import ensure_pool
from sluicegate.services.host.programs import identity
from sluicegate.services.host.stack import PYTHON
from sluicegate.services.keeper.drivers import PrefectDrivers
from tests import giving as orders
from tests.clean_environment import clean_environment
from tests.giving import Giver
from tests.integration.cluster_rig import until
from tests.integration.prefect_rig import ROOT, PrefectServer, prefect_server
from tests.unit.test_sync import Git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
WHO = Giver(actor="ada", cause="cli")
POOL = "a-pool-of-theirs"
NAMES = [each["name"] for each in YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]]
NEED_AN_APPROVER = ("approve as an operator", "promote as an operator")
RUN = """
import sys
from uuid import UUID
from prefect.flow_engine import load_flow_and_flow_run, run_flow
for each in sys.argv[1:]:
    run, flow = load_flow_and_flow_run(UUID(each))
    run_flow(flow, flow_run=run, return_type="state")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server to which `prefect deploy --all` was done, with a work pool that is not ours."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        running.ask("POST", "/work_pools/", {"name": POOL, "type": "process"})
        words = ("-m", "prefect", "--no-prompt", "deploy", "--all")
        running.python(*words, env={"PREFECT_DEFAULT_WORK_POOL_NAME": POOL})
        yield running


class House:
    """A ledger on disk, with a stable build and rollouts at their first step; flows find it by SLUICE_STATE."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def running(self, model: str, *, hooks: Sequence[object] = (), **first_step: object) -> Rollout:
        steps = [{"weight": 10, **first_step}, {"weight": 50}]
        plan = Plan.model_validate({"model": model, "steps": steps, "hooks": hooks})
        first = orders.deploy(self.ledger, plan=plan, version="1", request=WHO, now=self.now()).rollout
        self._ready(first.id)
        orders.complete(self.ledger, first.id, self.now())
        name = orders.start(self.ledger, plan=plan, version="2", request=WHO, now=self.now()).rollout.id
        self._ready(name)
        for fact in (StepEntered(step=0, weight=1000, actor="d", reason="ready"), Observed(epoch=1, version="x")):
            orders.append(self.ledger, name, lambda _, fact=fact: fact, self.now())
        return self.ledger.rollout(name)

    def _ready(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
            orders.append(self.ledger, name, lambda _, fact=fact: fact, self.now())

    def let_prefect(self, role: str) -> None:
        document = Applied(kind=ROLE, name=PREFECT, body={"role": role}, digest=role, actor="admin", at=self.now())
        self.ledger.apply(document)

    def create(self, name: str, order: dict[str, object]) -> str:
        """A run of a deployment, as the form of the Prefect UI creates it."""
        deployment = self.server.ask("GET", f"/deployments/name/{name}/{name}")["id"]
        body = {"parameters": {"order": order}, "state": {"type": "SCHEDULED"}}
        return str(self.server.ask("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def run(self, *runs: str) -> list[dict[str, Any]]:
        """Run them one after another, as a worker's process would; what Prefect then says of them."""
        env = {"SLUICE_STATE": str(self.folder), "SLUICE_API": "http://console.example", "SLUICE_TOKEN": "x"}
        self.server.python("-c", RUN, *runs, env=env)
        return [self.server.ask("GET", f"/flow_runs/{each}") for each in runs]


@pytest.fixture
def house(server: PrefectServer, tmp_path: Path) -> House:
    return House(server, tmp_path)


def resolved(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """A field with what it refers to."""
    refers = field.get("$ref") or next((each["$ref"] for each in field.get("allOf", ()) if "$ref" in each), None)
    return field if refers is None else {**schema["definitions"][refers.rpartition("/")[2]], **field}


@pytest.mark.parametrize("name", NAMES)
def test_a_form_explains_itself(server: PrefectServer, name: str) -> None:
    deployment = server.ask("GET", f"/deployments/name/{name}/{name}")
    schema = deployment["parameter_openapi_schema"]
    assert deployment["description"]
    assert deployment["enforce_parameter_schema"]
    assert list(schema["properties"]) == ["order"]
    form = resolved(schema, schema["properties"]["order"])
    for key, field in form["properties"].items():
        shown = resolved(schema, field)
        assert shown.get("description"), f"{name}.{key} is not explained"
        assert shown["title"][0].isupper(), f"{name}.{key} has no title for people"
        assert key in form.get("required", ()) or "default" in shown, f"{name}.{key} is neither required nor preset"
        assert shown.get("type") in ("string", "boolean") or "enum" in shown, f"{name}.{key} would be raw JSON"
    accountable = {"promote", "approve", "rollback"}
    assert (name in accountable) == ({"who", "why"} <= set(form.get("required", ())))


def test_the_scheduled_look_is_scheduled_and_nothing_else_is(server: PrefectServer) -> None:
    found = server.ask("POST", "/deployments/filter", {})
    assert {each["name"] for each in found if each["schedules"]} == {"watch"}
    assert {each["work_pool_name"] for each in found} == {POOL}


@dataclass
class Acted:
    """One run of every deployment, and of a driver, after they ran one after another in one process."""

    house: House
    rollouts: dict[str, Rollout]
    runs: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def acted(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Acted:
    house = House(server, tmp_path_factory.mktemp("acted"))
    rollouts = {model: house.running(model) for model in ("one", "two", "three", "delays", "held")}
    why = {"why": "I looked", "who": "ada"}
    refused = {
        "approve as an operator": house.create("approve", {"rollout": "held", "step": "1", **why}),
        "promote as an operator": house.create("promote", {"rollout": "held", **why}),
    }
    refusals = dict(zip(refused, house.run(*refused.values()), strict=True))
    house.let_prefect("approver")
    runs = {
        "pause": house.create("pause", {"rollout": "one", **why}),
        "resume": house.create("resume", {"rollout": rollouts["one"].id, **why}),
        "approve": house.create("approve", {"rollout": "one", "step": "1", **why}),
        "promote": house.create("promote", {"rollout": "one", **why}),
        "rollback": house.create("rollback", {"model": "one", **why}),
        "reject": house.create("approve", {"rollout": "two", "step": "1", "opinion": "reject", **why}),
        "retry": house.create("retry", {"rollout": rollouts["two"].id}),
        "abort": house.create("abort", {"rollout": "three"}),
        "too late": house.create("resume", {"rollout": "three"}),
        "watch": house.create("watch", {"look": "drivers only"}),
    }
    repo = Git.with_plan(tmp_path_factory.mktemp("git"))
    follow(house.ledger, Standing(tree=Tree(url=str(repo.bare), branch="main", path="documents")))
    runs["sync"] = house.create("sync", {"url": str(repo.bare), "path": "documents"})
    runs["sync again"] = house.create("watch", {"look": "Git only"})
    PrefectDrivers(house.ledger, server.client()).ensure([rollouts["delays"]], house.now())
    attempt = last_attempt(house.ledger, rollouts["delays"].id)
    assert attempt is not None
    runs["driver"] = attempt.run
    rollouts["checked"] = house.running("checked", check={"deployment": "watch/watch"})
    runs["check"] = check_runner(house).create_run(
        server.client(), "watch/watch", name=question_name(rollouts["checked"]), kind="check", title="check",
        data=subject(rollouts["checked"]),
    )  # fmt: skip
    said = {"state": {"type": "COMPLETED", "message": "looks good"}, "force": True}
    server.ask("POST", f"/flow_runs/{runs.pop('check')}/set_state", said)
    order = {"model": "checked", "build": "2", "rollout": rollouts["checked"].id}
    runs["checking driver"] = house.create("canary", order)
    return Acted(house, rollouts, refusals | dict(zip(runs, house.run(*runs.values()), strict=True)))


def test_every_order_acts_on_the_ledger(acted: Acted) -> None:
    ledger, rollouts = acted.house.ledger, acted.rollouts
    entries = ledger.entries(rollouts["one"].id)
    facts = [(type(entry.fact).__name__, getattr(entry.fact, "actor", "")) for entry in entries]
    assert facts[-5:] == [
        ("Paused", "prefect:ada"), ("Resumed", "prefect:ada"), ("Approved", "prefect:ada"),
        ("Promoted", "prefect:ada"), ("Baked", ""),
    ]  # fmt: skip
    assert ledger.rollouts(Selection(model="one"))[-1].requested.strategy == "rollback"
    assert ledger.rollout(rollouts["two"].id).ending is Ending.ABORTED
    assert ledger.rollouts(Selection(model="two"))[-1].phase is Phase.LAUNCHING
    assert ledger.rollout(rollouts["three"].id).actor == "prefect"


def test_a_branch_is_followed_when_asked_and_at_each_scheduled_look(acted: Acted) -> None:
    assert acted.runs["sync"]["state"]["message"].endswith("plan m/default: applied: it is new")
    [plan] = [each for each in acted.house.ledger.all_applied("plan") if each.name == "m/default"]
    assert plan.actor == "prefect:git"
    assert followed(acted.house.ledger)[0].wrong == ()


def test_a_refused_order_is_a_failed_run_that_says_why_and_what_else(acted: Acted) -> None:
    states = {name: run["state_type"] for name, run in acted.runs.items()}
    failed = {name: acted.runs[name]["state"]["message"] for name, state in states.items() if state != "COMPLETED"}
    assert set(failed) == {"too late", *NEED_AN_APPROVER}, failed
    assert states["too late"] == "FAILED"
    message = acted.runs["too late"]["state"]["message"]
    assert "does not allow Resumed" in message
    assert "sluice rollout retry" in message


@pytest.mark.parametrize("name", NEED_AN_APPROVER)
def test_what_needs_an_approver_is_refused_while_prefect_is_an_operator(acted: Acted, name: str) -> None:
    run, held = acted.runs[name], acted.rollouts["held"]
    assert run["state_type"] == "FAILED"
    assert "needs the role approver; prefect:ada has the role operator" in run["state"]["message"]
    assert "sluice token prefect approver" in run["state"]["message"]
    assert acted.house.ledger.rollout(held.id) == held
    refused = SqlCalls(f"sqlite:///{acted.house.folder / 'ledger.db'}").latest(limit=9)
    assert (name.split()[0] + " held", 403) in [(call.path, call.status) for call in refused]


def test_runs_of_orders_are_named_and_tagged(acted: Acted) -> None:
    assert acted.runs["reject"]["name"] == "reject two"
    assert set(acted.runs["pause"]["tags"]) >= {"sluice", "model:one", acted.rollouts["one"].id}


def test_a_driver_is_named_after_its_rollout_and_ends_where_a_person_is_awaited(acted: Acted) -> None:
    run, waiting = acted.runs["driver"], acted.rollouts["delays"]
    assert (run["name"], run["state_type"]) == ("delays v2 10 %", "COMPLETED"), run["state"]
    assert "waiting for approval" in run["state"]["message"]
    assert set(run["tags"]) >= {"sluice", "model:delays", "version:2", waiting.id}
    filters = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    artifacts = acted.house.server.ask("POST", "/artifacts/filter", filters)
    assert f"http://console.example/rollouts/{waiting.id}" in json.dumps(artifacts)


def test_progress_is_shown_where_it_says_something_new(server: PrefectServer, tmp_path: Path) -> None:
    model = tmp_path.name.replace("_", "-")
    name = server.python("-m", "tests.integration.progress_shown", model).split()[-1]

    def shown(kind: str) -> list[dict[str, Any]]:
        asked = {"artifacts": {"key": {"any_": [f"{kind}-{name}"]}}, "sort": "CREATED_DESC"}
        return list(server.ask("POST", "/artifacts/filter", asked))

    later, earlier = shown("gate")
    assert [row["metric"] for row in json.loads(earlier["data"])] == ["log_loss", "errors"]
    assert (earlier["description"], later["description"]) == (
        f"**{name}**, 10 % desired, 10 % observed", f"**{name}**, 25 % desired, not observed yet",
    )  # fmt: skip
    (bar,) = shown("ramp")
    assert bar["data"] == pytest.approx(100 / 3), "one bar, which grows"
    evidence, _ = shown("evidence")
    assert "data:image/svg+xml;base64," in evidence["data"]
    (ending,) = shown("report")
    assert "alias candidate removed" in ending["data"]
    assert "http://console.example/x" in ending["data"]
    assert "<b>" not in ending["data"], "what a person wrote is text"


def question_name(rollout: Rollout) -> str:
    """By which a question is known: a driver that comes later hears the answer to the same."""
    return f"{rollout.id}.{int(rollout.requested_at.timestamp())}.0.0.0"


def test_a_driver_hears_the_answer_to_the_check_of_the_step(acted: Acted) -> None:
    checked = acted.rollouts["checked"]
    facts = [entry.fact for entry in acted.house.ledger.entries(checked.id) if isinstance(entry.fact, Checked)]
    assert [(each.step, each.answer, each.actor, each.reason) for each in facts] == [
        (0, "yes", "watch/watch", "looks good")
    ]
    assert "waiting for approval" in acted.runs["checking driver"]["state"]["message"]


def test_a_run_that_fails_says_no_and_one_that_crashes_is_put_once_more(house: House) -> None:
    rollout = house.running("asked", check={"deployment": "watch/watch", "attempts": 2})
    check = rollout.plan.steps[0].check
    assert check is not None
    ends = iter([("CRASHED", "the worker went away"), ("FAILED", "the smoke test is red")])

    def end_the_run(_: float) -> None:
        """Stands where the asking driver sleeps: what a worker would do meanwhile."""
        filters = {"flow_runs": {"tags": {"all_": [rollout.id]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
        for run in house.server.ask("POST", "/flow_runs/filter", filters):
            kind, message = next(ends)
            state = {"state": {"type": kind, "message": message}, "force": True}
            house.server.ask("POST", f"/flow_runs/{run['id']}/set_state", state)

    said = check_runner(house, sleep=end_the_run, elapsed=lambda: 0.0).ask(rollout, check, lambda: True)
    assert (said.answer, said.reason) == ("no", "the smoke test is red")


def check_runner(house: House, **more: Any) -> CheckRunner:
    return CheckRunner(prefect=house.server.client, key=lambda: "x", allowed=frozenset(), clock=house.now, **more)


def test_a_hook_whose_run_fails_gets_another_one_and_a_run_that_goes_on_is_waited_for(house: House) -> None:
    rollout = house.running("hooked", hooks=[{"after": "abort", "deployment": "watch/watch", "timeout": "5s"}])
    orders.abort(house.ledger, rollout.id, actor="ada", reason="too slow", now=house.now())
    ends, seconds = iter([None, ("FAILED", "red"), ("COMPLETED", "green")]), [0.0]

    def runs() -> list[dict[str, Any]]:
        filters = {"flow_runs": {"tags": {"all_": [rollout.id, "hook"]}}}
        return list(house.server.ask("POST", "/flow_runs/filter", filters))

    def end_the_run(_: float) -> None:
        """Stands where the keeper's thread sleeps: what a worker would do meanwhile."""
        end = next(ends)
        if end is None:
            seconds[0] += 6
            return
        for run in (each for each in runs() if each["state_type"] == "SCHEDULED"):
            state = {"state": {"type": end[0], "message": end[1]}, "force": True}
            house.server.ask("POST", f"/flow_runs/{run['id']}/set_state", state)

    caller = HookCaller(
        prefect=house.server.client, key=lambda: "x", allowed=frozenset(), clock=house.now, sleep=end_the_run,
        elapsed=lambda: seconds[0],
    )  # fmt: skip
    look = HookPass(ledger=house.ledger, notify=caller.notify, clock=house.now)
    for after in range(2):
        look.look(house.now() + timedelta(hours=2 * after))
    calls = [entry.fact for entry in house.ledger.entries(rollout.id) if isinstance(entry.fact, HookCalled)]
    assert [(each.attempt, each.answer) for each in calls] == [(1, "failed"), (2, "taken")]
    assert ("did not end in time" in calls[0].reason, calls[1].reason) == (True, "green")
    assert sorted(each["state_type"] for each in runs()) == ["COMPLETED", "FAILED"]


def cancel(house: House, run: str) -> None:
    """What the Prefect UI's Cancel does to a run that no worker has begun."""
    answer = house.server.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}})
    assert answer["status"] == "ACCEPT"


def test_after_a_cancelled_run_a_person_decides_and_resuming_starts_another(house: House) -> None:
    rollout = house.running("cancelled-a")
    drivers = PrefectDrivers(house.ledger, house.server.client())
    drivers.ensure([rollout], house.now())
    first = last_attempt(house.ledger, rollout.id)
    assert first is not None
    cancel(house, first.run)
    drivers.ensure([rollout], house.now())
    held = house.ledger.rollout(rollout.id)
    assert (held.phase, held.weight, held.actor) == (Phase.PAUSED, 1000, "prefect")
    assert "sluice rollout resume" in held.reason
    resumed = orders.resume(house.ledger, rollout.id, actor="ada", reason="a slip", now=house.now())
    drivers.ensure([resumed], house.now())
    second = last_attempt(house.ledger, rollout.id)
    assert second is not None
    assert (second.number, second.run != first.run) == (2, True)
    drivers.ensure([resumed], house.now())
    assert house.ledger.rollout(rollout.id).phase is Phase.RUNNING


def test_where_the_setting_says_so_a_cancelled_run_is_replaced(house: House) -> None:
    rollout = house.running("cancelled-b")
    drivers = PrefectDrivers(house.ledger, house.server.client(), on_cancel=OnCancel.DRIVE)
    drivers.ensure([rollout], house.now())
    first = last_attempt(house.ledger, rollout.id)
    assert first is not None
    cancel(house, first.run)
    drivers.ensure([rollout], house.now() + timedelta(seconds=5))
    second = last_attempt(house.ledger, rollout.id)
    assert second is not None
    assert (second.run != first.run, house.ledger.rollout(rollout.id).phase) == (True, Phase.RUNNING)


WAITING = """
import os, time
from pathlib import Path
from prefect import flow

@flow
def wait():
    Path(os.environ["SAID"]).write_text(f"{os.getpid()} {os.environ.get('PREFECT__FLOW_ENTRYPOINT')}")
    time.sleep(600)
"""


@contextmanager
def worker_of_our_pool(server: PrefectServer, folder: Path, said: Path) -> Iterator[psutil.Process]:
    """Prefect's worker, as `sluice up` starts it, with a flow to run."""
    ensure_pool(server.environment)
    (folder / "waiting.py").write_text(WAITING)
    mine = {"PREFECT_WORKER_QUERY_SECONDS": "1", PYTHON: sys.executable, "PYTHONPATH": str(folder), "SAID": str(said)}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "sluice", "--type", "process"]
    with (folder / "worker.log").open("ab") as log:
        environment = clean_environment() | server.environment | mine
        worker = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield psutil.Process(worker.pid)
    finally:
        identity.end(identity.tree(worker.pid), grace=20)
        worker.wait()


def test_a_run_is_a_child_of_the_worker_that_is_killed_and_cancelled_by_its_pid(
    server: PrefectServer, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    with worker_of_our_pool(server, tmp_path, said) as worker:
        flow = server.ask("POST", "/flows/", {"name": "wait"})["id"]
        body = {"name": "wait", "flow_id": flow, "work_pool_name": "sluice", "entrypoint": "waiting.wait"}
        deployment = server.ask("POST", "/deployments/", body)["id"]

        def begun() -> tuple[str, psutil.Process]:
            said.unlink(missing_ok=True)
            path = f"/deployments/{deployment}/create_flow_run"
            run = server.ask("POST", path, {"state": {"type": "SCHEDULED"}})["id"]
            until(lambda: said.exists() and bool(said.read_text()), (tmp_path / "worker.log").read_text)
            pid, prepared = said.read_text().split()
            assert prepared == "None", (
                "another process prepared a folder for it first, which costs an import of Prefect"
            )
            return str(run), psutil.Process(int(pid))

        def is_told(run: str, state: str) -> None:
            shown = lambda: server.ask("GET", f"/flow_runs/{run}")["state_type"]  # noqa: E731
            until(lambda: shown() == state, lambda: f"{shown()}: {(tmp_path / 'worker.log').read_text()}")

        run, process = begun()
        assert process.ppid() == worker.pid
        process.kill()
        is_told(run, "CRASHED")
        run, process = begun()
        server.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        is_told(run, "CANCELLED")
        assert not identity.alive([process])


def test_a_server_that_goes_and_comes_back_gets_the_driver_it_missed(house: House) -> None:
    rollout = house.running("restarted")
    drivers = PrefectDrivers(house.ledger, house.server.client())
    house.server.stop()
    try:
        drivers.ensure([rollout], house.now())
        assert last_attempt(house.ledger, rollout.id) is None
        assert house.ledger.rollout(rollout.id).phase is Phase.RUNNING
    finally:
        house.server.start()
    end = time.monotonic() + 60
    while last_attempt(house.ledger, rollout.id) is None and time.monotonic() < end:
        drivers.ensure([rollout], house.now())  # Prefect's database may be busy when it has just started
    drivers.ensure([rollout], house.now())
    body = {"flow_runs": {"tags": {"all_": [rollout.id]}}}
    assert len(house.server.ask("POST", "/flow_runs/filter", body)) == 1
