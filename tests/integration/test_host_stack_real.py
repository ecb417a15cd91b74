"""The true MLflow server, Prefect server and worker under the true supervisor."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from sluicegate.services.host.authorization import mlflow_authorization, prefect_authorization
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.host.doctor.servers import Running
from sluicegate.services.host.machine import Machine, Recipe
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.prefect_setup.deployments import Packaged
from sluicegate.services.host.raising import Progress
from sluicegate.services.host.stack import stack
from sluicegate.services.host.wire import ask
from tests.integration.host_rig import ENVIRONMENT, eventually, is_alive, state_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLOW = """
import json, os
from pathlib import Path
from prefect import flow

@flow
def hello(path: str) -> None:
    Path(path).write_text(json.dumps(dict(os.environ)))
"""
PREFECT_YAML = """
name: test
deployments:
  - name: hello
    entrypoint: hello.py:hello
    work_pool: {name: sluice}
    version: "{{ $SLUICE_DEPLOYMENT_VERSION }}"
"""


class Rig:
    """One machine of MLflow, Prefect and a worker, raised once for this file."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.machine = Machine(recipe)
        self.said: list[Progress] = []
        self.site = self.machine.up(self.said.append, seconds=300)

    @property
    def clients(self) -> dict[str, str]:
        return self.machine.environment()

    def prefect(self, path: str, body: object) -> dict[str, object]:
        url, headers = f"{self.site.prefect_api_url}{path}", prefect_authorization(self.clients)
        answer = ask(HttpProbe(url=url, headers=headers, body=json.dumps(body)), seconds=30)
        assert answer is not None
        assert answer.status in (200, 201), answer.text
        found: dict[str, object] = json.loads(answer.text)
        return found


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    project = tmp_path_factory.mktemp("project")
    (project / "hello.py").write_text(FLOW)
    (project / "prefect.yaml").write_text(PREFECT_YAML)
    with state_folder() as folder:
        environment = {**ENVIRONMENT, "HOME": str(project), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        recipe = Recipe(
            folder=folder,
            environment=environment,
            draw=secrets.token_bytes,
            parts=lambda site, keys: stack(site, keys, folder, environment),
            prepare=lambda site: None,
            drain=lambda site: None,
            packaged=Packaged(prefect_file=project / "prefect.yaml", code=(project,)),
        )
        yield Rig(recipe)


def test_mlflow_lets_in_only_who_has_the_password(rig: Rig) -> None:
    url = f"{rig.site.mlflow_url}/api/2.0/mlflow/registered-models/search"
    stranger = ask(HttpProbe(url=url), seconds=30)
    friend = ask(HttpProbe(url=url, headers=mlflow_authorization(rig.clients)), seconds=30)
    assert stranger is not None
    assert stranger.status == 401
    assert friend is not None
    assert friend.status == 200


def test_prefect_lets_in_only_who_has_the_password(rig: Rig) -> None:
    stranger = ask(HttpProbe(url=f"{rig.site.prefect_api_url}/flows/filter", body="{}"), seconds=30)
    assert stranger is not None
    assert stranger.status == 401
    assert rig.prefect("/flows/filter", {})


def test_a_flow_run_reaches_mlflow_and_the_ledger_and_says_nothing_to_others(rig: Rig, tmp_path: Path) -> None:
    out = tmp_path / "environment.json"
    found = rig.prefect("/deployments/filter", {})
    assert isinstance(found, list)
    [deployment] = found
    rig.prefect(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"path": str(out)}})
    eventually(lambda: out.exists() and out.read_text().endswith("}"), "the flow's file", seconds=120)
    seen = json.loads(out.read_text())
    for name, value in rig.clients.items():
        assert seen[name] == value
    assert seen["DO_NOT_TRACK"] == "true"
    assert seen["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_nothing_listens_beyond_loopback_and_the_doctor_agrees(rig: Rig) -> None:
    running = Running.find(rig.recipe)
    findings = [*running.programs(), *running.ports(), *running.loopback_only(), *running.reachable()]
    assert [each for each in findings if each.status is not CheckStatus.PASS] == []
    closed = {each.check: each.status for each in running.closed()}
    assert closed["mlflow credentials"] is CheckStatus.PASS
    assert closed["prefect credentials"] is CheckStatus.PASS


def test_a_second_up_starts_nothing_and_deploys_nothing(rig: Rig) -> None:
    def spawned() -> int:
        return rig.recipe.folder.log("supervisord").read_text().count("spawned")

    log = rig.recipe.folder.log("deployments")
    before = (spawned(), log.stat().st_size, rig.machine.status(NOW).programs)
    rig.machine.up(rig.said.append, seconds=60)
    assert (spawned(), log.stat().st_size) == before[:2]
    pids = {state.name: state.pid for state in before[2]}
    assert {state.name: state.pid for state in rig.machine.status(NOW).programs} == pids


def test_down_leaves_no_process_and_the_next_up_finds_its_deployments(rig: Rig) -> None:
    supervisor = Running.find(rig.recipe).supervisor
    pids = [each.pid for group in supervisor.processes().values() for each in group]
    assert len(pids) >= 4
    assert rig.machine.down(rig.said.append)
    assert not any(is_alive(pid) for pid in pids)
    assert supervisor.processes() == {}
    log = rig.recipe.folder.log("deployments")
    size = log.stat().st_size
    rig.machine.up(rig.said.append, seconds=300)
    assert log.stat().st_size == size
    assert [each for each in Running.find(rig.recipe).reachable() if each.status is not CheckStatus.PASS] == []
    assert all(psutil.pid_exists(state.pid or 0) for state in rig.machine.status(NOW).programs)
