"""Pods of flow runs that do not run: what is told of them, and by which rights. With KUBECONFIG also on a real API."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.registry.words.obstacle import Obstacle
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.flow_pods import RUN, FlowPods
from sluicegate.services.cluster.kinds import EVENT, POD, Object
from sluicegate.services.cluster.names import COMPONENT_LABEL, Component
from sluicegate.services.cluster.rights import RIGHTS, Role, Verb
from tests.contract.clusters import Cluster, asked

pytestmark = pytest.mark.timeout(60)


def running_pod(run: str, **status: Any) -> Object:
    labels = {COMPONENT_LABEL: str(Component.FLOW), RUN: run}
    spec = {"containers": [{"name": "prefect-job", "image": "registry.invalid/ours:1"}], "nodeName": "node-7"}
    return {"metadata": {"name": f"{run}-x", "labels": labels}, "spec": spec, "status": status}


def put(cluster: Cluster, pod: Object) -> None:
    """A pod, with the status that a kubelet or the scheduler gives it."""
    name, path = pod["metadata"]["name"], POD.path(cluster.namespace)
    body = {"apiVersion": "v1", "kind": "Pod", **pod}
    if cluster.server is not None:
        place = cluster.server.place(POD, cluster.namespace)
        cluster.server.objects.create(place, {**body, "status": {}})
        cluster.server.objects.set_status(place, name, pod["status"])
        return
    with asked(cluster.access) as http:
        http.post(path, json={**body, "spec": {**pod["spec"], "nodeName": "no-such-node"}}).raise_for_status()
        kind = {"content-type": "application/merge-patch+json"}
        http.patch(f"{path}/{name}/status", json={"status": pod["status"]}, headers=kind).raise_for_status()


def container(**state: Any) -> list[Object]:
    named = {"name": "prefect-job", "image": "registry.invalid/ours:1", "imageID": "", "ready": False}
    return [{**named, "restartCount": 0, "state": state}]


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": message}]}


UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")
DRAINED = condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
NO_SECRET = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "sluicegate-keys" not found'}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
ENDED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "SLUICE_LEDGER must be set\n"}}


@pytest.mark.parametrize(
    ("status", "obstacle", "detail", "fix"),
    [
        ({"phase": "Pending", **UNSCHEDULABLE}, Obstacle.HELD_UP, "2 Insufficient cpu", "resources: {flow:"),
        (EVICTED, Obstacle.LOST, "run-x: The node was low on resource: memory", "resources: {flow: {memory"),
        ({"phase": "Running", **DRAINED}, Obstacle.LOST, "run-x: Eviction API: evicting", "kubectl describe node n"),
        (
            {"phase": "Pending", "containerStatuses": container(**PULLING)}, Obstacle.HELD_UP,
            "the image registry.invalid/ours:1 cannot be pulled: Back-off", "describe pod run-x",
        ),
        (
            {"phase": "Pending", "containerStatuses": container(**NO_SECRET)}, Obstacle.HELD_UP,
            'secret "sluicegate-keys" not found', "describe pod run-x",
        ),
        (
            {"phase": "Failed", "containerStatuses": container(**KILLED)}, Obstacle.LOST,
            "it was killed because it used more memory", "resources: {flow: {memory",
        ),
        (
            {"phase": "Failed", "containerStatuses": container(**ENDED)}, Obstacle.CRASHED,
            "its pod run-x ended: SLUICE_LEDGER must be set", "logs run-x",
        ),
    ],
    ids=["no room", "evicted", "drained", "no image", "no secret", "out of memory", "ended"],
)  # fmt: skip
def test_a_pod_that_does_not_run_is_told_with_its_reason_and_fix(
    cluster: Cluster, status: Object, obstacle: Obstacle, detail: str, fix: str
) -> None:
    put(cluster, running_pod("run", **status))
    found = FlowPods(cluster.allow(Role.CONTROL).api()).hindrances()["run"]
    assert found is not None
    assert (found.obstacle, detail in found.detail, fix in str(found.fix)) == (obstacle, True, True), found


@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded"])
def test_a_pod_that_runs_or_will_is_not_told(cluster: Cluster, phase: str) -> None:
    put(cluster, running_pod("run", phase=phase))
    assert dict(FlowPods(cluster.api()).hindrances()) == {"run": None}


def test_of_two_pods_of_a_run_the_last_counts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    if cluster.server is None:
        pytest.skip("a real API says itself when an object was made")
    old, new = running_pod("run", **EVICTED), running_pod("run", phase="Running")
    old["metadata"]["name"], new["metadata"]["name"] = "run-b", "run-a"
    for minute, pod in enumerate((old, new)):
        monkeypatch.setattr("tests.doubles.api_objects.now", lambda minute=minute: f"2026-11-30T10:0{minute}:00Z")
        put(cluster, pod)
    assert dict(FlowPods(cluster.api()).hindrances()) == {"run": None}


def event(cluster: Cluster, job: str, message: str, at: str, reason: str = "FailedCreate") -> None:
    meant = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "namespace": cluster.namespace}
    told = {"reason": reason, "message": message, "type": "Warning", "lastTimestamp": f"2026-11-30T10:{at}:00Z"}
    cluster.api().create(EVENT, {"metadata": {"name": f"{job}.{at}"}, "involvedObject": meant, **told})


def test_a_job_whose_pod_is_refused_is_told_by_its_last_event(cluster: Cluster) -> None:
    event(cluster, "ridge-x", "exceeded quota: other", "02")
    event(cluster, "canary-x", "first", "01")
    event(cluster, "canary-x", "exceeded quota: q, requested: pods=1.", "03")
    event(cluster, "canary-x", "created", "04", "SuccessfulCreate")
    pods = FlowPods(cluster.allow(Role.CONTROL).api())
    found = pods.unmade("canary-x")
    assert found is not None
    assert found.detail == "Kubernetes creates no pod for its Job canary-x: exceeded quota: q, requested: pods=1"
    assert f"kubectl --namespace {cluster.namespace} describe job canary-x" in str(found.fix)
    assert pods.unmade("absent") is None


def test_the_pod_of_one_run_is_removed_and_no_other(cluster: Cluster) -> None:
    for run in ("one", "two"):
        pod = running_pod(run, phase="Pending")
        del pod["spec"]["nodeName"]
        cluster.api().create(POD, {**pod, "spec": {**pod["spec"], "schedulerName": "nobody"}})
    pods = FlowPods(cluster.allow(Role.CONTROL).api())
    pods.remove("one")
    assert list(pods.hindrances()) == ["two"]
    if cluster.server is not None:
        assert (Role.CONTROL, "events", Verb.LIST) not in cluster.server.used
        pods.unmade("any")
        assert {(Role.CONTROL, "events", verb) for verb in RIGHTS[Role.CONTROL][EVENT]} <= cluster.server.used


def test_an_api_that_is_away_hinders_nobody(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("a real API stays up")
    pods = FlowPods(Api(cluster.access, cluster.namespace))
    cluster.server.away()
    assert (dict(pods.hindrances()), pods.unmade("x")) == ({}, None)
    pods.remove("x")
