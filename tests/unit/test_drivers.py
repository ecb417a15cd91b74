"""Whether a rollout gets a driver, over a Prefect that fails in every way: what is done, noted and said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sluicegate.flows.wiring import in_cluster
from sluicegate.registry.ledger.attempt import last_attempt
from sluicegate.registry.ledger.keeper_notes import all_undriven
from sluicegate.registry.ledger.port import Lease
from sluicegate.registry.ledger.reading import read_for_report, read_for_views, undriven
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import ServiceFailed, Unreachable
from sluicegate.registry.words.obstacle import Driver, Hindrance, Obstacle
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.doctor.deployed import deployments_finding, pool_finding
from sluicegate.services.host.doctor.examination import of_ledger
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.host.prefect_setup.deployments import Packaged, WorkPool
from sluicegate.services.keeper.driver_pass import SLOW, DriverPass
from sluicegate.services.keeper.drivers import UNMADE, UNRENEWED, LeaseWatch, PrefectDrivers
from sluicegate.services.keeper.registration import DEADLINE, EVERY, Registration
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}], "bake": "1m"})
WHO = Giver(actor="ada", cause="cli")
SECOND = timedelta(seconds=1)


@dataclass
class FakePrefect:
    """As Prefect 3.8 answers, with its words."""

    deployed: bool = True
    pool: str | None = "sluice"
    runs: dict[str, dict[str, object]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    answers: Callable[[httpx.Request], httpx.Response] | None = None
    """Instead of its own."""
    requests: list[str] = field(default_factory=list)
    deleted_before_create: bool = False

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://prefect/api", transport=httpx.MockTransport(self.handle))

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if self.answers is not None:
            return self.answers(request)
        path = request.url.path.removeprefix("/api")
        if path.startswith("/flow_runs/"):
            run = self.runs.get(path.removeprefix("/flow_runs/"))
            return httpx.Response(404, json={"detail": "Flow run not found"}) if run is None else ok(run)
        if not self.deployed or (request.method == "POST" and self.deleted_before_create):
            return httpx.Response(404, json={"detail": "Deployment not found"})
        if request.method == "GET":
            return ok({"id": "d1", "work_pool_name": self.pool})
        key = json.loads(request.content)["idempotency_key"]
        run = self.keys.setdefault(key, f"run-{len(self.keys) + 1}")
        self.runs.setdefault(run, {"id": run, "state_type": "SCHEDULED", "state": {}, "work_pool_name": self.pool})
        return ok(self.runs[run])

    def put(self, run: str, state: str, message: str = "") -> None:
        self.runs[run] = {"id": run, "state_type": state, "state": {"message": message}, "work_pool_name": self.pool}


def ok(body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def status(code: int, text: str = "") -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(code, text=text)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused", request=request)


@dataclass
class FakeRegistering:
    """A registration that ends when told."""

    prefect: FakePrefect
    begins: list[str]
    done: bool = False
    fails: str = ""
    refuses: str = ""
    cancelled: bool = False

    def begin(self) -> None:
        self.begins.append("begun")
        if self.refuses:
            raise Unreachable(self.refuses)

    def is_done(self) -> bool:
        if self.fails:
            raise ServiceFailed(self.fails)
        self.prefect.deployed |= self.done
        return self.done

    def cancel(self) -> None:
        self.cancelled = True


class House:
    """A ledger with a rollout that needs a driver, a Prefect, and the keeper's half that brings the two together."""

    def __init__(self) -> None:
        self.ledger, self.prefect, self.begins, self.now = MemoryLedger(), FakePrefect(), list[str](), START
        self.registering = FakeRegistering(self.prefect, self.begins)
        self.first = orders.deploy(self.ledger, plan=PLAN, version="1", request=WHO, now=START).rollout
        self.restart()

    def restart(self) -> None:
        self.drivers = PrefectDrivers(self.ledger, self.prefect.client(), elapsed=self.elapsed)
        registration = Registration(lambda: self.registering, self.elapsed)
        self.passing = DriverPass(self.ledger, self.drivers, registration, self.elapsed)

    def elapsed(self) -> float:
        return (self.now - START).total_seconds()

    @property
    def rollout(self) -> Rollout:
        return self.ledger.rollout(self.first.id)

    def look(self, after: timedelta = SECOND) -> None:
        self.now += after
        self.passing.look([self.rollout], self.now)

    def noted(self) -> Obstacle | None:
        note = all_undriven(self.ledger).get(self.first.id)
        return note.hindrance.obstacle if note is not None else None

    def shown(self) -> str | None:
        return rollout_view(read_for_views(self.ledger, [self.rollout])[0], self.now).no_driver

    def lease(self) -> None:
        lease = Lease(rollout=self.first.id, owner="x", expires_at=self.now + timedelta(minutes=10))
        self.ledger.take_lease(lease, self.now)

    def run(self) -> str:
        attempt = last_attempt(self.ledger, self.first.id)
        assert attempt is not None
        return attempt.run


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    ("answers", "obstacle", "words"),
    [
        (refuse, Obstacle.UNREACHABLE, "Prefect does not answer (ConnectError"),
        (status(401, '{"exception_message":"Unauthorized"}'), Obstacle.DENIED, "Prefect refuses the credentials (401"),
        (status(403), Obstacle.DENIED, "Prefect refuses the credentials (403)"),
        (status(500, "boom"), Obstacle.ERROR, "Prefect answers 500 boom to a request for canary/canary"),
        (status(503), Obstacle.ERROR, "Prefect answers 503"),
        (status(404, '{"detail":"Deployment not found"}'), Obstacle.MISSING, "not have the deployment canary/canary"),
        (status(404, '{"detail":"Not Found"}'), Obstacle.ERROR, "Prefect answers 404"),
        (status(200, "<html>hello</html>"), Obstacle.ERROR, "not Prefect"),
        (status(200, "[]"), Obstacle.ERROR, "not Prefect"),
        (status(409, '{"detail":"Validation failed"}'), Obstacle.STALE, "refuses the run (409"),
    ],
    ids=["away", "401", "403", "500", "503", "missing", "no Prefect there", "a page", "other JSON", "other form"],
)
def test_what_keeps_a_driver_away_is_noted_and_said_with_its_fix(
    house: House, answers: Callable[[httpx.Request], httpx.Response], obstacle: Obstacle, words: str
) -> None:
    house.prefect.answers = answers
    house.look()
    assert house.noted() is obstacle
    said = house.shown()
    assert said is not None
    assert said.startswith("no driver is at work since 2026-01-01 00:00:01 UTC: ")
    assert words in said
    assert " Fix: " in said
    whole = rollout_report(read_for_report(house.ledger, house.rollout), house.now)
    assert explanation(whole).next == said


def test_it_is_said_since_when_whatever_came_between(house: House) -> None:
    house.prefect.answers = refuse
    house.look()
    house.prefect.answers = status(503)
    house.look(timedelta(minutes=9))
    assert house.noted() is Obstacle.ERROR
    assert "since 2026-01-01 00:00:01 UTC" in str(house.shown())
    house.restart()
    house.look()
    assert "since 2026-01-01 00:00:01 UTC" in str(house.shown()), "a keeper that was restarted knows it, too"


def test_nothing_is_said_once_a_run_is_created_and_when_none_is_needed(house: House) -> None:
    house.prefect.answers = refuse
    house.look()
    house.prefect.answers = None
    house.look()
    assert house.shown() is None
    house.prefect.answers = refuse
    house.look(timedelta(minutes=3))
    assert house.shown() is not None
    orders.pause(house.ledger, house.first.id, actor="ada", reason="r", now=house.now)
    assert house.shown() is None, "whoever is paused waits for no driver, though the note is still there"
    house.passing.look([], house.now)
    assert house.noted() is None


def test_a_deployment_that_went_is_registered_again_and_then_used(house: House) -> None:
    house.prefect.deployed = False
    house.look()
    assert house.begins == ["begun"]
    assert "it is being registered again" in str(house.shown())
    house.look()
    assert house.begins == ["begun"], "one at a time"
    house.registering.done = True
    house.look()
    assert house.noted() is None
    assert house.run() == "run-1"


def test_registering_is_not_repeated_soon_and_its_failure_is_said(house: House) -> None:
    house.prefect.deployed, house.registering.fails = False, "no pool."
    house.look()
    house.look()
    said = str(house.shown())
    assert "registering it failed (no pool.); it is registered again at 00:05:01 UTC" in said
    house.look(EVERY - 2 * SECOND)
    assert len(house.begins) == 1
    house.look(2 * SECOND)
    assert len(house.begins) == 2


def test_registering_that_hangs_is_ended(house: House) -> None:
    house.prefect.deployed = False
    house.look()
    house.look(DEADLINE)
    assert not house.registering.cancelled
    house.look()
    assert house.registering.cancelled
    assert "it was not done after 120 s" in str(house.shown())


def test_registering_that_cannot_begin_is_said(house: House) -> None:
    house.prefect.deployed, house.registering.refuses = False, "the pool cannot be created."
    house.look()
    assert "registering it failed (the pool cannot be created.)" in str(house.shown())


@pytest.mark.parametrize("answers", [refuse, status(401), status(500)])
def test_nothing_is_registered_where_that_would_not_help(
    house: House, answers: Callable[[httpx.Request], httpx.Response]
) -> None:
    house.prefect.answers = answers
    house.look()
    assert house.begins == []


def test_a_deployment_without_a_work_pool_is_registered_again(house: House) -> None:
    house.prefect.pool = None
    house.look()
    assert house.noted() is Obstacle.MISSING
    assert house.begins == ["begun"]


def test_a_deployment_deleted_between_look_and_create(house: House) -> None:
    house.prefect.deleted_before_create = True
    house.look()
    assert house.noted() is Obstacle.MISSING
    assert last_attempt(house.ledger, house.first.id) is None
    house.prefect.deleted_before_create = False
    house.look()
    assert house.run() == "run-1"


def test_a_run_that_went_with_its_deployment_is_followed_by_another(house: House) -> None:
    house.look()
    house.prefect.runs.clear()
    house.look()
    assert house.run() == "run-1", "too soon to give it up"
    house.look(2 * SECOND)
    assert house.run() == "run-2"


def test_asked_twice_for_a_driver_it_is_one_run(house: House) -> None:
    house.look()
    other = MemoryLedger()
    orders.deploy(other, plan=PLAN, version="1", request=WHO, now=START)
    PrefectDrivers(other, house.prefect.client()).ensure([house.rollout], house.now + SECOND)
    assert list(house.prefect.runs) == ["run-1"], "a keeper that died before it noted the run creates no second one"


def test_a_run_that_no_worker_takes_is_said_and_not_replaced(house: House) -> None:
    house.look()
    house.look(timedelta(seconds=10))
    assert house.shown() is None, "a worker has a moment"
    for _ in range(5):
        house.look(timedelta(minutes=2))
    assert house.noted() is Obstacle.WAITING
    assert "Prefect does not start its run run-1" in str(house.shown())
    assert list(house.prefect.runs) == ["run-1"], "a worker that comes back starts one, not five"
    house.lease()
    house.look()
    assert house.noted() is None


def test_a_run_whose_work_pool_was_deleted_is_replaced(house: House) -> None:
    house.look()
    house.prefect.runs["run-1"]["work_pool_name"] = None
    house.look(3 * SECOND)
    assert house.run() == "run-2"


def test_runs_that_crash_one_after_the_other_are_said_until_a_driver_works(house: House) -> None:
    house.look()
    for number in (1, 2, 3):
        house.prefect.put(f"run-{number}", "CRASHED", "no module named sluicegate.")
        house.look(SECOND)
        assert house.noted() is Obstacle.CRASHED
        house.look(timedelta(minutes=1))
        assert house.run() == f"run-{number + 1}"
        assert house.noted() is Obstacle.CRASHED, "another run proves nothing yet"
    assert "crashed: no module named sluicegate. Fix: " in str(house.shown())
    assert "since 2026-01-01 00:00:02 UTC" in str(house.shown())
    house.lease()
    house.look()
    assert house.noted() is None


def test_a_server_that_does_not_answer_is_asked_once_for_all(house: House) -> None:
    for model in ("a", "b", "c"):
        plan = Plan.model_validate({"model": model, "steps": [{"weight": 10}]})
        orders.deploy(house.ledger, plan=plan, version="1", request=WHO, now=START)
    house.prefect.answers = refuse
    states = house.drivers.ensure(house.ledger.rollouts(), START)
    assert len(house.prefect.requests) == 1
    assert {getattr(state, "obstacle", None) for state in states.values()} == {Obstacle.UNREACHABLE}


def test_who_has_a_driver_is_not_hindered_by_a_server_that_is_away(house: House) -> None:
    house.lease()
    house.prefect.answers = refuse
    assert house.drivers.ensure([house.rollout], house.now) == {house.first.id: Driver.AT_WORK}
    assert house.prefect.requests == []


@pytest.fixture
def hanging(house: House) -> Iterator[threading.Event]:
    go_on = threading.Event()

    def hang(request: httpx.Request) -> httpx.Response:
        go_on.wait(30)
        return refuse(request)

    house.prefect.answers = hang
    yield go_on
    go_on.set()


def test_no_look_waits_for_a_prefect_that_hangs_and_that_is_said(house: House, hanging: threading.Event) -> None:
    house.passing.see_to([house.rollout], house.now)
    house.now += timedelta(seconds=SLOW)
    house.passing.see_to([house.rollout], house.now)
    assert house.noted() is None, "it may be slow"
    house.now += SECOND
    house.passing.see_to([house.rollout], house.now)
    assert house.noted() is Obstacle.UNREACHABLE
    assert "has not finished its answer for 61 s" in str(house.shown())
    assert len(house.prefect.requests) == 1, "and no second thread asks meanwhile"


def test_a_pass_that_fails_is_followed_by_another(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def see_to() -> None:
        house.passing.see_to([house.rollout], START)
        assert house.passing._thread is not None
        house.passing._thread.join()

    with monkeypatch.context() as broken:
        broken.setattr(house.ledger, "leases", lambda: 1 / 0)
        see_to()
    see_to()
    assert house.run() == "run-1"


def test_a_note_of_another_version_is_no_obstacle(house: House) -> None:
    house.ledger.remember("undriven", {house.first.id: {"obstacle": "of a later version"}})
    assert house.shown() is None
    house.look()
    assert house.run() == "run-1"


def test_a_look_at_nothing_asks_nobody(house: House) -> None:
    house.passing.look([], house.now)
    house.passing.see_to([], house.now)
    assert house.passing._thread is None, "once nothing is noted and nothing registered"


def test_a_rollout_that_ended_waits_for_a_driver_until_mlflow_is_told(house: House) -> None:
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
        orders.append(house.ledger, house.first.id, lambda _, fact=fact: fact, house.now)
    orders.complete(house.ledger, house.first.id, house.now)
    house.prefect.answers = refuse
    house.look()
    assert house.rollout.is_ended
    assert (
        "no driver is at work"
        in explanation(rollout_report(read_for_report(house.ledger, house.rollout), house.now)).next
    )


def test_the_note_is_written_once_not_at_every_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    remember = house.ledger.remember
    monkeypatch.setattr(house.ledger, "remember", lambda key, value: (written.append(key), remember(key, value)))
    house.prefect.answers = refuse
    for _ in range(5):
        house.look()
    assert written == ["undriven"]


def test_a_lease_is_believed_while_it_is_renewed_whatever_the_clocks_say() -> None:
    now = [0.0]
    tomorrow, yesterday = START + timedelta(days=1), START - timedelta(days=1)

    def live(watch: LeaseWatch, until: datetime) -> bool:
        return bool(watch.live([Lease(rollout="r", owner="x", expires_at=until)], START))

    ahead, behind = LeaseWatch(lambda: now[0]), LeaseWatch(lambda: now[0])
    assert live(ahead, tomorrow)
    assert not live(behind, yesterday), "it may be a dead driver's"
    now[0] += UNRENEWED - 1
    assert live(ahead, tomorrow)
    assert live(behind, yesterday + SECOND), "it is renewed: its driver's clock is behind"
    now[0] += UNRENEWED + 1
    assert not live(ahead, tomorrow), "it was not renewed: its driver is dead, for a day by the clock"
    assert not live(behind, yesterday + SECOND)


def test_a_clock_that_was_set_back_keeps_no_dead_run_from_being_replaced(house: House) -> None:
    house.look()
    house.prefect.put(house.run(), "CRASHED")
    house.now -= timedelta(days=1)
    house.look()
    assert house.run() == "run-2"


@dataclass
class FakePods:
    """The pods of runs, by run; and Jobs without a pod."""

    pods: dict[str, Hindrance | None] = field(default_factory=dict)
    unmade_jobs: dict[str, Hindrance] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def hindrances(self) -> dict[str, Hindrance | None]:
        return self.pods

    def unmade(self, job: str) -> Hindrance | None:
        return self.unmade_jobs.get(job)

    def remove(self, run: str) -> None:
        self.removed.append(run)


NO_ROOM = Hindrance(obstacle=Obstacle.HELD_UP, detail="no node has room", fix="add a node")
EVICTED = Hindrance(obstacle=Obstacle.LOST, detail="Kubernetes ended its pod", fix="give it more")
EXITED = Hindrance(obstacle=Obstacle.CRASHED, detail="its pod ended: no module", fix="read its log")


@pytest.fixture
def pods(house: House) -> FakePods:
    """The house in a cluster."""
    pods = FakePods()
    house.drivers = PrefectDrivers(
        house.ledger, house.prefect.client(), are_jobs=True, pods=pods, elapsed=house.elapsed
    )
    house.passing.drivers = house.drivers
    return pods


def test_a_pod_that_no_node_has_room_for_is_told_at_once_and_given_up_after_ten_minutes(
    house: House, pods: FakePods
) -> None:
    house.look()
    house.prefect.put("run-1", "PENDING")
    pods.pods["run-1"] = NO_ROOM
    house.look()
    assert str(house.shown()).endswith("UTC: no node has room. Fix: add a node")
    house.look(timedelta(minutes=9))
    assert (house.run(), pods.removed) == ("run-1", []), "it starts by itself once there is room"
    house.look(timedelta(minutes=2))
    assert (house.run(), pods.removed) == ("run-2", ["run-1"]), "the next one gets what was changed meanwhile"
    pods.pods = {"run-2": None}
    house.look()
    assert house.noted() is Obstacle.HELD_UP, "that a run is created says nothing yet"
    house.lease()
    house.look()
    assert house.noted() is None


def test_a_driver_whose_pod_was_evicted_is_told_at_once_and_replaced_when_its_lease_has_ended(
    house: House, pods: FakePods
) -> None:
    house.look()
    house.prefect.put("run-1", "RUNNING")
    house.lease()
    house.look()
    assert house.noted() is None
    pods.pods["run-1"] = EVICTED
    house.look()
    assert "Kubernetes ended its pod. Fix: give it more" in str(house.shown()), (
        "though Prefect and the lease say nothing"
    )
    line = of_ledger(None, {}, {}, undriven(house.ledger))[-1]
    assert (line.check, line.status, line.fix) == ("drivers", CheckStatus.FAIL, "give it more")
    assert line.found == f"{house.first.id}: Kubernetes ended its pod, since 00:00:03 UTC"
    house.look(timedelta(seconds=UNRENEWED + 1))
    assert house.run() == "run-2"
    assert house.noted() is Obstacle.LOST, "until the next one works"


@pytest.mark.parametrize("pod", [NO_ROOM, EXITED], ids=["waits", "ended"])
def test_a_pod_of_an_earlier_run_is_nothing_to_a_driver_at_work(house: House, pods: FakePods, pod: Hindrance) -> None:
    house.look()
    house.lease()
    pods.pods = {"run-1": pod, "run-0": EVICTED}
    house.look()
    assert house.noted() is None


def test_a_run_whose_pod_ended_before_prefect_heard_of_it_is_told_and_replaced(house: House, pods: FakePods) -> None:
    house.look()
    house.prefect.put("run-1", "PENDING")
    pods.pods["run-1"] = EXITED
    house.look()
    assert "its pod ended: no module. Fix: read its log" in str(house.shown())
    house.look(timedelta(seconds=3))
    assert house.run() == "run-2"
    house.prefect.put("run-2", "FAILED", "no such build")
    pods.pods["run-2"] = EXITED
    house.look()
    assert "failed: no such build" in str(house.shown()), "where Prefect says why, it knows better"
    assert pods.removed == [], "somebody may read their logs"


def test_a_run_that_prefect_itself_starts_again_after_its_pod_was_lost_is_told_and_not_doubled(
    house: House, pods: FakePods
) -> None:
    house.look()
    house.prefect.put("run-1", "SCHEDULED", "rescheduled")
    pods.pods["run-1"] = EVICTED
    house.look()
    assert house.noted() is Obstacle.LOST
    house.look(timedelta(minutes=1))
    assert house.run() == "run-1"


def test_a_pod_that_runs_is_waited_for_and_one_that_is_gone_is_not(house: House, pods: FakePods) -> None:
    house.look()
    house.prefect.put("run-1", "PENDING")
    pods.pods["run-1"] = None
    house.look(timedelta(minutes=5))
    assert (house.run(), house.noted()) == ("run-1", None), "it starts on a busy node"
    house.drivers = PrefectDrivers(house.ledger, house.prefect.client(), are_jobs=True, elapsed=house.elapsed)
    house.passing.drivers = house.drivers
    house.look()
    assert house.run() == "run-1", "who cannot see pods does not take them for gone"
    house.passing.drivers = PrefectDrivers(
        house.ledger, house.prefect.client(), are_jobs=True, pods=FakePods(), elapsed=house.elapsed
    )
    house.look()
    assert house.run() == "run-2"


def test_a_job_that_gets_no_pod_is_told_with_the_reason(house: House, pods: FakePods) -> None:
    house.look()
    house.prefect.put("run-1", "PENDING")
    house.prefect.runs["run-1"]["infrastructure_pid"] = "ml:ridge-canary-x"
    pods.unmade_jobs["ridge-canary-x"] = NO_ROOM
    house.look()
    assert house.noted() is None, "Kubernetes has a moment"
    house.look(UNMADE)
    assert house.noted() is Obstacle.HELD_UP


def test_what_to_do_in_a_cluster_is_told_in_its_words(house: House) -> None:
    """There is no `sluice up` there, and no log of this machine."""
    database = "postgresql://db/sluice"
    shared = {"SLUICE_LEDGER": database, "SLUICE_TELEMETRY": database, "SLUICE_STORE": "mlflow-artifacts:/bentos"}
    settings = Settings.read(shared | {"SLUICE_CLUSTER": "ml"})
    fixes = in_cluster.fixes(settings)
    house.passing.fixes = fixes
    house.prefect.deployed = False
    house.look()
    assert "kubectl --namespace ml rollout restart deployment/sluicegate-control" in str(house.shown())
    assert fixes.keys() == set(Obstacle)
    pool = WorkPool(name="sluice", type="kubernetes", paused=False, workers=0)
    packaged = Packaged(prefect_file=ROOT / "prefect.yaml", code=())
    of_doctor = (
        deployments_finding(packaged, (), in_cluster.register(settings)),
        pool_finding(pool, in_cluster.work(settings)),
    )
    told = [*fixes.values(), *(str(each.fix) for each in of_doctor)]
    assert not [fix for fix in told if "sluice up" in fix or "sluice status" in fix or "sluice logs" in fix]
    assert "kubectl --namespace ml rollout restart deployment/sluicegate-worker" in told[-1]
