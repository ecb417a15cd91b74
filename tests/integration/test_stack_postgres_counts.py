"""Ledger and telemetry of a whole stack in one PostgreSQL, two gateways under load, whatever counts is killed or hangs:
no request fails, each one and each outcome counts once, and an abort is in force. `-s`: figures.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack
from tests.integration.test_collector_postgres import kill_server
from tests.own_postgres import own_postgres
from tests.stopped import hung

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres, pytest.mark.timeout(900)]

PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s}
metrics:
  errors: {source: status}
  repaid: {source: outcome, outcome: repaid, score: outcome, worse: lower, range: [0, 1], matures_after: 2s}
gates:
  - {metric: errors, alpha: 0.01, below: 20%}
  - {metric: repaid, alpha: 0.01, margin: 50%}
steps:
  - {weight: 30, min_requests: 1000000}
  - {weight: 50, min_requests: 1000000}
expect: {requests_per_day: 100000}
"""
EVERY = 5
"""Each so manieth answer gets an outcome."""


@dataclass
class LabelledLoad(Load):
    """Requests at one gateway, with ids of predictions to be labelled."""

    predictions: list[str] = field(default_factory=list)

    def ask(self, unit: str, value: float) -> tuple[int, dict[str, str]]:
        status, headers = super().ask(unit, value)
        if self.sent % EVERY == 0 and status == 200:
            self.predictions.append(headers["x-request-id"])
        time.sleep(0.01)
        return status, headers


class Outcomes:
    """Sends an outcome for each prediction until it is taken in, every third one twice."""

    def __init__(self, stack: Stack, loads: list[LabelledLoad]) -> None:
        known = stack.clients()
        self._url, self._token, self._loads = f"{known['SLUICE_API']}/outcomes", known["SLUICE_TOKEN"], loads
        self._over, self.taken, self.unanswered = threading.Event(), set[str](), 0

    @contextmanager
    def running(self) -> Iterator[Outcomes]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(240)
            assert not thread.is_alive(), "outcomes are not taken in"

    def _run(self) -> None:
        while True:
            is_last = self._over.is_set()
            known = [each for load in self._loads for each in list(load.predictions) if each not in self.taken][:200]
            if known and self._sent([*known, *known[::3]]):
                self.taken.update(known)
            if is_last and not known:
                return
            time.sleep(0.3)

    def _sent(self, predictions: list[str]) -> bool:
        body = [{"prediction_id": each, "name": "repaid", "value": 1} for each in predictions]
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        request = urllib.request.Request(self._url, data=json.dumps(body).encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                told = json.load(answer)
                assert not told["refused"], told
                return True
        except OSError:  # 503, or no answer: it may have been taken in all the same
            self.unanswered += 1
            return False


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with own_postgres() as running:
        yield running


@pytest.fixture
def telemetry(server: tuple[str, int]) -> str:
    """A database for the telemetry beside that of the ledger."""
    engine = create_engine(make_url(server[0]).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE telemetry"))
    engine.dispose()
    return make_url(server[0]).set(database="telemetry").render_as_string(hide_password=False)


@pytest.fixture
def stack(server: tuple[str, int], telemetry: str) -> Iterator[Stack]:
    environment = {"SLUICE_LEDGER": server[0], "SLUICE_TELEMETRY": telemetry}
    with serving_stack(plan_text=PLAN, environment=environment) as running:
        running.run("up", "--gateways", "2")
        yield running


def eventually(is_true: Callable[[], bool], told: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if is_true():
                return
        except Unreachable as error:
            why: object = error
        else:
            why = told()
        assert time.monotonic() < end, why
        time.sleep(0.3)


def program(stack: Stack, name: str) -> psutil.Process:
    """A program of the stack, from its heartbeat: `status` waits for a server that hangs."""
    return next(
        each for each in stack.processes() if each.cmdline()[1:] == ["-m", "sluicegate.flows.wiring.processes", name]
    )


def test_each_request_and_outcome_counts_once_whatever_is_killed_or_hangs(
    stack: Stack, server: tuple[str, int], telemetry: str
) -> None:
    rollout, urls = str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"]), stack.urls()
    stack.until(rollout, lambda view: view["weight"] == 30 and view["observed"])
    store = Store(telemetry)
    queries = Queries(store, lambda: datetime.now(UTC))
    loads = [LabelledLoad(urls[name]) for name in ("gateway", "gateway-2")]
    before = queries.counters()

    def counted(what: Count) -> int:
        return queries.counters()[what] - before[what]

    def grew() -> None:
        """Counting goes on."""
        now: list[int] = []

        def is_more() -> bool:
            now.append(counted(Count.EXPOSURES))
            return now[-1] > now[0] + 100

        eventually(is_more, lambda: now[-1])

    with ExitStack() as under_load:
        # Ends last, when no prediction comes any more.
        outcomes = under_load.enter_context(Outcomes(stack, loads).running())
        for load in loads:
            under_load.enter_context(load.running(2))
        grew()
        for _ in range(2):
            program(stack, "collector").kill()
            grew()
            kill_server(server[1])
            grew()
            with hung(program(stack, "collector").pid):
                time.sleep(4)
            grew()
            with hung(server[1]):
                time.sleep(8)
            grew()
        began = time.monotonic()
        stack.run("rollout", "abort", rollout, "--reason", "enough was counted")
        stack.until(rollout, lambda view: view["observed"])
        in_force = time.monotonic() - began
        grew()
    sent, labelled = sum(load.sent for load in loads), len(outcomes.taken)
    statuses = sum((load.statuses for load in loads), Counter[int]())
    builds = sum((load.builds for load in loads), Counter[str]())
    eventually(lambda: counted(Count.EXPOSURES) >= sent, lambda: (sent, queries.counters()))
    eventually(lambda: counted(Count.JOINED) >= labelled, lambda: (labelled, queries.counters()))
    time.sleep(2)  # for what would be counted twice
    print(f"\n{sent} requests {dict(statuses)} of builds {dict(builds)}, {labelled} outcomes, {outcomes.unanswered} "
          f"batches sent again; the abort was seen in force after {in_force:.1f} s")  # fmt: skip
    assert (statuses, [load.errors for load in loads]) == (Counter({200: sent}), [[], []])
    assert builds["2"] > 100
    assert counted(Count.EXPOSURES) == sent
    assert counted(Count.QUARANTINED) == 0
    assert counted(Count.OUTCOMES) == counted(Count.JOINED) == labelled
    with store.read() as connection:
        kept = connection.exec_driver_sql("SELECT count(*), count(DISTINCT rid) FROM exposures").one()
    assert tuple(kept) == (sent + before[Count.EXPOSURES],) * 2
    store.close()
    told = (stack.state / "logs" / "keeper.log").read_text()
    assert "notices of the ledger come again" in told, "the keeper listens to the ledger again"
    assert Path(stack.state / "telemetry.db").exists() is False
