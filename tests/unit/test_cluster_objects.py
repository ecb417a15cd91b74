"""A build's objects in a cluster, by its plan; and what Kubernetes says of pods that do not run, in plain words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.cluster.names import build_of, labels
from sluicegate.services.cluster.objects import (
    PROGRESS,
    Component,
    Kit,
    autoscaler,
    deployment,
    disruption_budget,
    service,
)
from sluicegate.services.cluster.obstacles import given_up, is_given_up, lost_to, unpulled_image, waiting
from sluicegate.services.cluster.slices import all_of, endpoints_of, ready_of
from sluicegate.services.cluster.workload import packed_of
from sluicegate.services.keeper.fleet_pass import LAUNCH_SECONDS

REF = BuildRef(model="delays", version="3")
PACKED = Packed(bento="delays:v3-ab", env="project", bento_digest="b" * 64, model_digest="m" * 64)
KIT = Kit(image="registry.example.com/sluicegate:1", connections="sluicegate-connections", pull_secrets=("ours",))


def pod(packed: Packed = PACKED, **serve: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployment(REF, packed, Serve.model_validate(serve), KIT)["spec"]["template"]["spec"]
    return found


def serving(**serve: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**serve)["containers"][0]
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_a_deployment_never_has_fewer_pods_than_it_is_to_have_and_no_number_of_its_own() -> None:
    spec = deployment(REF, PACKED, Serve(replicas=3), KIT)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in spec
    assert spec["progressDeadlineSeconds"] == PROGRESS < LAUNCH_SECONDS


def test_a_pod_is_admitted_by_the_standard_restricted_and_talks_to_no_api() -> None:
    found = pod()
    assert found["automountServiceAccountToken"] is False
    assert found["securityContext"]["runAsNonRoot"]
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*found["initContainers"], *found["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_only_who_fetches_the_bento_is_told_how_the_store_is_reached() -> None:
    found = pod()
    assert "AWS_SECRET_ACCESS_KEY" in variables(found["initContainers"][0])
    assert not {"SLUICE_STORE", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"} & variables(serving()).keys()
    assert "SLUICE_LEDGER" not in json.dumps(found)


def test_the_plan_says_what_a_pod_gets() -> None:
    found = serving(workers=2, timeout="4.5s", resources={"cpu": 2, "memory": "2GiB", "gpu": 1})
    assert found["resources"]["requests"] == {
        "cpu": "2000m", "memory": str((2 << 30) + (256 << 20)), "nvidia.com/gpu": "1",
    }  # fmt: skip
    assert found["resources"]["limits"] == {"memory": str((2 << 30) + (256 << 20)), "nvidia.com/gpu": "1"}
    assert found["command"][3:] == ["3000", "2", "5", "delays:v3-ab", str(1 << 30)]
    assert variables(found)["OMP_NUM_THREADS"] == "1"
    assert pod(timeout="4.5s")["terminationGracePeriodSeconds"] == 15


def test_the_plan_says_where_a_pod_runs() -> None:
    found = pod(
        image="registry.example.com/delays:4",
        placement={
            "node_selector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "effect": "NoSchedule"}, {"key": "team", "value": "ml"}],
            "pull_secrets": ["registry", "ours"],
        },
    )
    assert found["nodeSelector"] == {"pool": "gpu"}
    assert found["tolerations"][:2] == [
        {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "ml"},
    ]
    assert {each["tolerationSeconds"] for each in found["tolerations"][2:]} == {10}
    assert found["imagePullSecrets"] == [{"name": "registry"}, {"name": "ours"}]
    assert found["containers"][0]["image"] == "registry.example.com/delays:4"
    assert found["initContainers"][0]["image"] == KIT.image


def test_pods_of_a_build_are_on_different_nodes_whether_or_not_these_have_zones() -> None:
    [by_node] = pod()["topologySpreadConstraints"]
    assert by_node["topologyKey"] == "kubernetes.io/hostname"
    assert by_node["labelSelector"] == {"matchLabels": labels(Component.SERVICE, REF)}
    assert pod()["affinity"]["podAntiAffinity"].keys() == {"preferredDuringSchedulingIgnoredDuringExecution"}


def test_an_environment_of_its_own_is_made_in_the_pod_unless_an_image_has_it() -> None:
    isolated = Packed(bento="delays:v3-ab", env="isolated:0a1b", bento_digest="b", model_digest="m")
    made = pod(isolated, env="isolated")
    assert made["initContainers"][0]["command"][-1] == "isolated:0a1b"
    assert made["containers"][0]["command"][0] == "/bento/envs/0a1b/bin/python"
    held = pod(isolated, env="isolated", image="registry.example.com/delays:4")
    assert held["initContainers"][0]["command"][-1] == ""
    assert held["containers"][0]["command"][0] == "python3"


def test_what_is_not_to_be_told_of_predictions_is_not() -> None:
    assert "BENTO_CAPTURE" not in variables(serving())
    assert json.loads(variables(serving(capture={"predictions": "off"}))["BENTO_CAPTURE"])["predictions"] == "off"


def test_pods_that_leave_are_not_of_the_service_and_stay_of_the_deployment() -> None:
    selected = service(REF)["spec"]["selector"]
    kept = deployment(REF, PACKED, Serve(), KIT)["spec"]["selector"]["matchLabels"]
    assert selected == kept | {"sluicegate.dev/serving": "true"}
    assert kept == labels(Component.SERVICE, REF) == disruption_budget(REF)["spec"]["selector"]["matchLabels"]


def test_a_deployment_says_which_build_it_is_and_from_which_bento() -> None:
    found = deployment(REF, PACKED, Serve(), KIT)
    assert (build_of(found), packed_of(found)) == (REF, PACKED)
    assert build_of(found["spec"]["template"]) == REF


def test_each_build_gets_an_autoscaler_like_the_named_one() -> None:
    pattern = {"spec": {"minReplicas": 2, "maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "other"}}}
    spec = autoscaler(REF, pattern)["spec"]
    assert (spec["minReplicas"], spec["scaleTargetRef"]["name"]) == (2, "sluice-delays-v3")


def held(held_by: str, message: str = "", name: str = "service", said: str = "", **last: Any) -> dict[str, Any]:
    status = {
        "name": name, "image": "ours:1", "state": {"waiting": {"reason": held_by, "message": message}},
        "lastState": {"terminated": {"message": said, **last}} if last else {},
    }  # fmt: skip
    kind = "initContainerStatuses" if name == "fetch" else "containerStatuses"
    return {"metadata": {"name": "sluice-delays-v3-x"}, "status": {kind: [status]}}


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (held("InvalidImageName"), "the image ours:1 cannot be pulled: InvalidImageName"),
        (
            held("CreateContainerConfigError", 'secret "x" not found'),
            'the container service of sluice-delays-v3-x cannot be created: secret "x" not found',
        ),
        (
            held("CrashLoopBackOff", exitCode=1, said="ValueError: no such file\n"),
            "its process keeps ending: ValueError: no such file",
        ),
        (
            held("CrashLoopBackOff", exitCode=137, reason="OOMKilled"),
            "it was killed because it used more memory than its plan allows by serve: {resources: {memory: …}}",
        ),
        (held("CrashLoopBackOff", exitCode=3), "its process keeps ending: exit code 3, without a message"),
        (
            held("CrashLoopBackOff", name="fetch", exitCode=1, said="bento delays:v3-ab is not in the store"),
            "the bento cannot be fetched: bento delays:v3-ab is not in the store",
        ),
    ],
)
def test_a_pod_that_cannot_run_says_why(pod: dict[str, Any], why: str) -> None:
    assert given_up([pod], {}) == why
    assert is_given_up(pod)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_is_not_pulled_is_given_up_only_when_that_lasts(reason: str) -> None:
    pod, why = held(reason, "503 from the registry"), "the image ours:1 cannot be pulled: 503 from the registry"
    assert given_up([pod], {}) is None
    assert not is_given_up(pod)
    assert (unpulled_image(pod), waiting([pod], {})) == (why, why)
    assert given_up([pod], {}, {"sluice-delays-v3-x"}) == why
    assert is_given_up(pod, {"sluice-delays-v3-x"})
    assert not is_given_up(held("ContainerCreating"), {"sluice-delays-v3-x"})


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_pod_that_is_being_made_is_not_given_up(reason: str) -> None:
    assert given_up([held(reason)], {}) is None
    assert not is_given_up(held(reason))


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status, "reason": reason, "message": message}]}}


def test_room_on_a_node_is_waited_for_until_kubernetes_finds_it_takes_too_long() -> None:
    full = {"metadata": {"name": "a"}} | condition("PodScheduled", "False", "Unschedulable", "0/3 nodes: no gpu")
    late = condition("Progressing", "False", "ProgressDeadlineExceeded")
    assert given_up([full], condition("Progressing", "True", "ReplicaSetUpdated")) is None
    assert waiting([full], {}) == "no node has room for the pod a: 0/3 nodes: no gpu"
    assert given_up([full], late) == "no node has room for the pod a: 0/3 nodes: no gpu"


STOP = "0/1 nodes are available. Preemption is not helpful for scheduling."
"""Kubernetes ends its messages with a full stop; ours go on behind them, or end with a full stop of their own."""


@pytest.mark.parametrize(
    "why",
    [
        waiting([{"metadata": {"name": "a"}} | condition("PodScheduled", "False", "Unschedulable", STOP)], {}),
        waiting([], condition("ReplicaFailure", "True", "FailedCreate", STOP)),
        unpulled_image(held("ErrImagePull", STOP)),
        given_up([held("CreateContainerError", STOP)], {}),
        given_up([held("CrashLoopBackOff", exitCode=1, said=STOP)], {}),
        (lost_to({"status": {"phase": "Failed", "reason": "Evicted", "message": STOP}}) or ("", ""))[1],
        (lost_to(condition("DisruptionTarget", "True", "TerminationByKubelet", STOP)) or ("", ""))[1],
    ],
)
def test_a_reason_ends_without_a_full_stop(why: str | None) -> None:
    assert str(why).endswith("Preemption is not helpful for scheduling")


def test_pods_that_are_not_even_made_are_said_not_to_be() -> None:
    refused = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: pods=10")
    assert waiting([], refused) == "Kubernetes creates no pod for it: exceeded quota: pods=10"


def piece(*endpoints: tuple[str, dict[str, bool]], name: str = "sluice-delays-v3", port: int = 3000) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": [address], "conditions": said} for address, said in endpoints],
        "ports": [{"name": "http", "port": port}],
    }


def at(*hosts: str) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(build=REF, host=host, port=3000) for host in hosts)


def test_callers_are_sent_to_pods_that_are_ready_else_to_those_that_will_be() -> None:
    ready, coming, ending = {"ready": True}, {"ready": False}, {"ready": False, "terminating": True}
    slices = [piece(("10.0.0.2", ready), ("10.0.0.3", coming)), piece(("10.0.0.1", {}), ("10.0.0.4", ending))]
    other = piece(("10.0.0.9", ready), name="sluice-delays-v2")
    assert endpoints_of(REF, [*slices, other]) == ready_of(REF, slices) == at("10.0.0.1", "10.0.0.2")
    assert all_of(REF, slices) == at("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert endpoints_of(REF, [piece(("10.0.0.3", coming), ("10.0.0.4", ending))]) == at("10.0.0.3")
    assert endpoints_of(REF, [other]) == ()


def test_a_slice_without_ports_or_endpoints_says_nothing() -> None:
    empty = {"metadata": {"labels": {"kubernetes.io/service-name": "sluice-delays-v3"}}, "endpoints": None, "ports": []}
    assert endpoints_of(REF, [empty]) == ()
