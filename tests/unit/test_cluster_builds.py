"""SLUICE_CLUSTER decides who runs builds, and where they answer; without it nothing of a cluster is asked."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from sluicegate.flows.wiring.desk import LocalDesk
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.settings import Settings
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.cluster.deployments import ClusterServices
from sluicegate.services.host.keys import make_keys
from tests.doubles.api_server import ADMIN, ApiServer
from tests.unit.console_office import BEARER, MemoryDesk, Office

REF = BuildRef(model="delays", version="3")
IN_CLUSTER = {
    "SLUICE_CLUSTER": "models",
    "SLUICE_LEDGER": "postgresql://host/ledger",
    "SLUICE_TELEMETRY": "postgresql://host/telemetry",
    "SLUICE_STORE": "s3://models/bentos",
    "SLUICE_IMAGE": "registry.example.com/sluicegate:1",
}


def runtime(folder: Path, **settings: str) -> Runtime:
    make_keys(folder / "secrets", secrets.token_bytes)
    return Runtime(Settings.read({"SLUICE_STATE": str(folder), **settings}))


def test_without_a_cluster_this_machine_runs_builds(tmp_path: Path) -> None:
    assert isinstance(runtime(tmp_path).fleet, Fleet)
    assert runtime(tmp_path).answers_at(REF) is None


def test_in_a_cluster_its_api_is_asked_in_the_named_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer() as server:
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {"server": server.url}}],
            "users": [{"name": "me", "user": {"token": ADMIN}}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        fleet = runtime(tmp_path, **IN_CLUSTER).fleet
        assert isinstance(fleet, ClusterServices)
        assert dict(fleet.running()) == {}
        assert all("/namespaces/models/" in line for line in server.asked)


def test_who_may_not_ask_the_api_finds_a_build_by_its_service(tmp_path: Path) -> None:
    found = runtime(tmp_path, **IN_CLUSTER).answers_at(REF)
    assert found == Endpoint(build=REF, host="sluice-delays-v3.models.svc", port=3000)


def test_a_cluster_without_an_image_for_builds_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="set it to the image that `sluice cluster render` was given"):
        _ = runtime(tmp_path, **IN_CLUSTER | {"SLUICE_IMAGE": ""}).fleet


class ClusterDesk(MemoryDesk):
    """With what the real one says of plans."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._real = LocalDesk(runtime=runtime, ledger=self.ledger)

    def check(self, plan: Plan) -> None:
        self._real.check(plan)


def test_a_plan_that_captures_bodies_is_refused_when_it_is_applied_in_a_cluster(tmp_path: Path) -> None:
    """And not when its first build is packed and is to be started."""
    captures = {
        "kind": "plan",
        "model": "delays",
        "serve": {"capture": {"features": "full"}},
        "steps": [{"weight": 10}],
    }
    for name, settings, status in (("here", {}, 201), ("there", IN_CLUSTER, 409)):
        office = Office(ClusterDesk(runtime(tmp_path / name, **settings)))
        answer = office.client.post("/api/v1/documents", headers=BEARER, json={"values": captures})
        assert answer.status_code == status, answer.text
    assert "plan delays: the plan captures bodies" in answer.json()["detail"]
    assert "serve: {capture: …}" in answer.json()["fix"]
    assert office.ledger.applied("plan", "delays") is None
