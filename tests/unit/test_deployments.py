"""Our deployments at a Prefect server: which are wrong, and what the doctor says of them and of the work pool."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.host.doctor.deployed import deployments_finding, pool_finding
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.prefect_setup import server
from sluicegate.services.host.prefect_setup.deployments import Packaged, Registered, WorkPool
from sluicegate.services.host.wire import Answer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packaged(tmp_path: Path) -> Packaged:
    code = tmp_path / "code"
    code.mkdir()
    (code / "flow.py").write_text("x = 1\n")
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: canary}, {name: shadow}]\n")
    return Packaged(prefect_file=tmp_path / "prefect.yaml", code=(code,))


def registered(packaged: Packaged) -> list[Registered]:
    return [Registered(name=name, version=packaged.version, pool="sluice", paused=False) for name in packaged.names]


def test_what_is_registered_as_packaged_passes(packaged: Packaged) -> None:
    assert deployments_finding(packaged, registered(packaged)).status is CheckStatus.PASS


def test_what_is_missing_is_named_with_its_fix(packaged: Packaged) -> None:
    finding = deployments_finding(packaged, registered(packaged)[1:])
    assert finding.status is CheckStatus.FAIL
    assert finding.found.endswith(": canary")
    assert "sluice up" in str(finding.fix)


def test_what_belongs_to_no_work_pool_is_as_good_as_missing(packaged: Packaged) -> None:
    there = registered(packaged)
    assert packaged.missing([replace(there[0], pool=None), there[1]]) == ("canary",)


def test_what_is_of_another_version_or_paused_warns(packaged: Packaged) -> None:
    there = registered(packaged)
    stale = deployments_finding(packaged, [there[0], replace(there[1], version="sluicegate-0")])
    assert (stale.status, stale.fix) == (CheckStatus.WARN, "sluice up")
    assert stale.found.endswith(": shadow")
    paused = deployments_finding(packaged, [there[0], replace(there[1], paused=True)])
    assert paused.status is CheckStatus.WARN
    assert "shadow" in paused.found


def test_the_version_changes_with_file_and_source_and_not_with_the_place(packaged: Packaged, tmp_path: Path) -> None:
    before, moved = packaged.version, tmp_path / "elsewhere"
    (tmp_path / "code").rename(moved)
    assert Packaged(prefect_file=packaged.prefect_file, code=(moved,)).version == before
    (moved / "flow.py").write_text("x = 2\n")
    assert Packaged(prefect_file=packaged.prefect_file, code=(moved,)).version != before
    packaged.prefect_file.write_text("deployments: [{name: canary}]\n")
    assert Packaged(prefect_file=packaged.prefect_file, code=()).names == ("canary",)


def test_the_packaged_file_takes_its_version_from_the_variable() -> None:
    text = (ROOT / "prefect.yaml").read_text()
    packaged = Packaged(prefect_file=ROOT / "sluicegate" / "prefect.yaml", code=())
    assert {"canary", "shadow", "watch"} <= set(packaged.names)
    assert text.count('version: "{{ $SLUICE_DEPLOYMENT_VERSION }}"') == 2


@pytest.mark.parametrize(
    ("pool", "status", "words"),
    [
        (WorkPool(name="p", type="process", paused=False, workers=2), CheckStatus.PASS, "2 workers take runs from p"),
        (WorkPool(name="p", type="process", paused=True, workers=2), CheckStatus.FAIL, "paused"),
        (WorkPool(name="p", type="process", paused=False, workers=0), CheckStatus.FAIL, "no worker takes runs from p"),
    ],
)
def test_a_work_pool_that_starts_no_run_fails(pool: WorkPool, status: CheckStatus, words: str) -> None:
    finding = pool_finding(pool)
    assert finding.status is status
    assert words in finding.found
    assert (finding.fix is None) == (status is CheckStatus.PASS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "does not answer"),
        (Answer(status=401, text="Unauthorized"), "refuses the credentials"),
        (Answer(status=500, text="boom"), "Prefect answers 500 boom"),
    ],
)
def test_a_server_that_does_not_say_is_told_apart(
    answer: Answer | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ask", lambda probe, *, seconds, method: answer)
    with pytest.raises(Unreachable, match=words) as caught:
        server.registered({"PREFECT_API_URL": "http://prefect/api"}, ["canary"])
    assert caught.value.fix


class PoolApi:
    """The part of Prefect's API that our work pool needs."""

    def __init__(self, pool: dict[str, Any] | None = None) -> None:
        self.pool, self.writes = pool, 0

    def ask(self, probe: HttpProbe, *, seconds: float, method: str) -> Answer:
        assert seconds
        body = json.loads(probe.body or "null")
        if method == "POST" and probe.url.endswith("/work_pools/filter"):
            return Answer(status=200, text=json.dumps([self.pool]))
        if method == "POST" and self.pool is not None:
            return Answer(status=409, text=json.dumps({"detail": "it exists"}))
        self.writes += 1
        self.pool = {**(self.pool or {}), **body, "id": "1"}
        return Answer(status=201 if method == "POST" else 204, text=json.dumps(self.pool) if method == "POST" else "")

    @property
    def command(self) -> str | None:
        assert self.pool is not None
        command: str | None = self.pool["base_job_template"]["variables"]["properties"]["command"].get("default")
        return command


def with_command(type_: str = "process", **command: object) -> dict[str, Any]:
    template = {"variables": {"properties": {"command": {"type": "string", **command}}}}
    return {"name": "sluice", "type": type_, "base_job_template": template}


@pytest.mark.parametrize(
    ("pool", "command", "writes"),
    [
        (None, server.DIRECTLY, 1),
        (with_command(), server.DIRECTLY, 1),
        (with_command(default=None), server.DIRECTLY, 1),
        (with_command(default=server.DIRECTLY), server.DIRECTLY, 0),
        (with_command(default="nice python -m prefect.engine"), "nice python -m prefect.engine", 0),
        (with_command("docker"), None, 0),
    ],
)
def test_the_pool_starts_runs_directly_unless_somebody_set_another_command(
    pool: dict[str, Any] | None, command: str | None, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = PoolApi(pool)
    monkeypatch.setattr(server, "ask", api.ask)
    server.ensure_pool({"PREFECT_API_URL": "http://prefect/api"})
    server.ensure_pool({"PREFECT_API_URL": "http://prefect/api"})
    assert (api.command, api.writes) == (command, writes)


def test_a_pool_that_no_worker_has_polled_yet_is_left_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    api = PoolApi({"name": "sluice", "type": "process", "base_job_template": {}})
    monkeypatch.setattr(server, "ask", api.ask)
    server.ensure_pool({"PREFECT_API_URL": "http://prefect/api"})
    assert api.writes == 0


@pytest.mark.parametrize("is_told", [True, False])
def test_a_run_is_the_process_that_the_worker_started(tmp_path: Path, is_told: bool) -> None:
    """The worker stops a run by its pid: no shell stands between them. A worker of others has its own interpreter."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$$ $@"\n')
    python.chmod(0o700)
    known = {"SLUICE_PYTHON": str(python), "PATH": os.defpath} if is_told else {"PATH": f"{tmp_path}:{os.defpath}"}
    run = subprocess.Popen(shlex.split(server.DIRECTLY), env=known, stdout=subprocess.PIPE, text=True)
    said, _ = run.communicate(timeout=60)
    assert said.split() == [str(run.pid), "-m", "prefect.engine"]


def test_our_pool_is_what_prefects_own_worker_would_make_it_but_for_the_command() -> None:
    from prefect.workers.process import ProcessWorker

    theirs = ProcessWorker.get_default_base_job_template()
    assert server.PROCESSES["job_configuration"] == theirs["job_configuration"]
    ours = server.PROCESSES["variables"]["properties"]
    assert {name: each.get("default") for name, each in ours.items() if name != "command"} == {
        name: each.get("default") for name, each in theirs["variables"]["properties"].items() if name != "command"
    }
