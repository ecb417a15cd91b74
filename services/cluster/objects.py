"""The objects of a build: a Deployment, its headless Service, a PodDisruptionBudget and perhaps an autoscaler. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sluicegate.registry.plan.fields import Serve, ServeEnv
from sluicegate.registry.plan.placement import Toleration
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef
from sluicegate.services.bento.process_environment import (
    SILENT,
    capture_told,
    is_default,
    memory_of_worker,
    serving_environment,
)
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import (
    BENTO,
    BENTO_DIGEST,
    ENVIRONMENT,
    MODEL_DIGEST,
    SERVING,
    Component,
    build_name,
    exact_words,
    labels,
)

PORT, PORT_NAME = 3000, "http"
USER = 65532
FETCH, SERVE = "fetch", "service"
"""The containers of a pod: the first fetches the bento, the second serves it."""
PRE_STOP = 5
"""Seconds for which an ending pod keeps answering, until every gateway knows that it ends."""
PROGRESS = 150
"""Seconds after which Kubernetes reports that a Deployment makes no progress: earlier than a launch times out."""
_MARGIN = 5
_LOST = 10
"""Seconds that a pod stays bound to a node that does not answer."""
_HOME = PurePosixPath("/bento")
_SCRATCH = PurePosixPath("/tmp")  # noqa: S108
_COST = "controller.kubernetes.io/pod-deletion-cost"
_OVERHEAD = 256 << 20
"""Bytes that a pod needs besides what its workers may allocate: for the code, and the process that supervises them."""
_STORE_SETTINGS = (
    "SLUICE_STORE", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What all pods of builds have in common."""

    image: str
    """Our image: it fetches the bento, and serves it unless the plan names another image."""
    connections: str
    """The Secret that says where the store of bentos is and how it is reached."""
    pull_secrets: tuple[str, ...] = ()


def deployment(build: BuildRef, packed: Packed, serve: Serve, kit: Kit) -> Object:
    """The Deployment, without a number of replicas, which others may decide."""
    ours = labels(Component.SERVICE, build)
    return {
        "metadata": _metadata(build, packed),
        "spec": {
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": PROGRESS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": ours},
            "template": {
                "metadata": {"labels": ours | {SERVING: "true"}, "annotations": exact_words(build)},
                "spec": _pod(ours, packed, serve, kit),
            },
        },
    }


def service(build: BuildRef) -> Object:
    """The headless Service. Kubernetes keeps EndpointSlices of its pods, which are all but the leaving ones."""
    return {
        "metadata": _metadata(build),
        "spec": {
            "clusterIP": "None",
            "selector": labels(Component.SERVICE, build) | {SERVING: "true"},
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }


def disruption_budget(build: BuildRef) -> Object:
    """When a node is drained, one pod at a time may be evicted; pods that are not ready, always."""
    return {
        "metadata": _metadata(build),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels(Component.SERVICE, build)},
        },
    }


def autoscaler(build: BuildRef, pattern: Mapping[str, Any]) -> Object:
    """A HorizontalPodAutoscaler like the one that the plan names, for this build's Deployment."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": build_name(build)}
    return {"metadata": _metadata(build), "spec": {**pattern["spec"], "scaleTargetRef": target}}


def leaving() -> Object:
    """The change to a pod that gets no requests any more and is removed before others."""
    return {"metadata": {"labels": {SERVING: "false"}, "annotations": {_COST: "-1000"}}}


def staying() -> Object:
    """The change that undoes `leaving`."""
    return {"metadata": {"labels": {SERVING: "true"}, "annotations": {_COST: None}}}


def grace(serve: Serve) -> int:
    """Seconds that a pod may take to end."""
    return PRE_STOP + math.ceil(serve.timeout) + _MARGIN


def _metadata(build: BuildRef, packed: Packed | None = None) -> Object:
    annotations = exact_words(build) | (_words_of(packed) if packed is not None else {})
    return {"name": build_name(build), "labels": labels(Component.SERVICE, build), "annotations": annotations}


def _words_of(packed: Packed) -> dict[str, str]:
    return {
        BENTO: packed.bento,
        ENVIRONMENT: packed.env,
        BENTO_DIGEST: packed.bento_digest,
        MODEL_DIGEST: packed.model_digest,
    }


def _pod(ours: Mapping[str, str], packed: Packed, serve: Serve, kit: Kit) -> Object:
    placement = serve.placement
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace(serve),
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(placement.node_selector),
        "tolerations": [*map(_toleration, placement.tolerations), *of_lost_nodes()],
        "imagePullSecrets": [{"name": name} for name in dict.fromkeys((*placement.pull_secrets, *kit.pull_secrets))],
        **spread(ours),
        "initContainers": [_fetching(packed, serve, kit)],
        "containers": [_serving(packed, serve, kit)],
        "volumes": [{"name": "bento", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }  # fmt: skip


def _fetching(packed: Packed, serve: Serve, kit: Kit) -> Object:
    """The container that fetches the bento into the pod's folder, byte for byte as packed. Only it can reach the
    store."""
    from_secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": kit.connections, "key": name, "optional": True}}}
        for name in _STORE_SETTINGS
    ]
    wanted = (packed.bento, packed.bento_digest, packed.model_digest, packed.env if _makes_environment(serve) else "")
    return _container(
        FETCH,
        kit.image,
        ("python3", "-m", "sluicegate.flows.wiring.build_pod", str(_HOME), *wanted),
        {"HOME": str(_SCRATCH)},
        env=from_secret,
    )


def _serving(packed: Packed, serve: Serve, kit: Kit) -> Object:
    environment = serving_environment(
        serve, home=str(_HOME / "store"), load_failures="/dev/termination-log", times=str(_HOME / "times")
    )
    if not is_default(serve.capture):
        environment |= capture_told(serve.capture, folder=str(_SCRATCH / "bodies"), key="/dev/null")
    readiness = {"httpGet": {"path": "/readyz", "port": PORT_NAME}, "periodSeconds": 2, "timeoutSeconds": 2}
    return _container(
        SERVE,
        serve.image or kit.image,
        (
            python(packed, serve), "-I", str(_HOME / "serving.py"), str(PORT), str(serve.workers),
            str(math.ceil(serve.timeout)), packed.bento, *memory_of_worker(serve),
        ),
        {"HOME": str(_SCRATCH), **SILENT, **environment},
        ports=[{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        resources=_resources(serve),
        readinessProbe=readiness,
        lifecycle={"preStop": {"sleep": {"seconds": PRE_STOP}}},
    )  # fmt: skip


def python(packed: Packed, serve: Serve) -> str:
    """The interpreter that serves: the image's, or that of the environment that the pod builds for itself."""
    if not _makes_environment(serve):
        return "python3"
    return str(_HOME / "envs" / packed.env.partition(":")[2] / "bin" / "python")


def _makes_environment(serve: Serve) -> bool:
    return serve.env is ServeEnv.ISOLATED and serve.image is None


def _container(
    name: str,
    image: str,
    command: tuple[str, ...],
    variables: Mapping[str, str],
    *,
    env: list[Object] | None = None,
    **more: Any,
) -> Object:
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [*({"name": key, "value": value} for key, value in variables.items()), *(env or ())],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "bento", "mountPath": str(_HOME)},
            {"name": "tmp", "mountPath": str(_SCRATCH)},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def _resources(serve: Serve) -> Object:
    wanted = serve.resources
    memory = {} if wanted.memory is None else {"memory": str(wanted.memory + _OVERHEAD)}
    gpu = {} if wanted.gpu is None else {serve.placement.gpu: str(wanted.gpu)}
    cpu = {} if wanted.cpu is None else {"cpu": f"{round(wanted.cpu * 1000)}m"}
    return {"requests": cpu | memory | gpu, "limits": memory | gpu}


def _toleration(toleration: Toleration) -> Object:
    entry: Object = {"key": toleration.key, "operator": "Exists" if toleration.value is None else "Equal"}
    if toleration.value is not None:
        entry["value"] = toleration.value
    if toleration.effect is not None:
        entry["effect"] = toleration.effect
    return entry


def spread(ours: Mapping[str, str]) -> Object:
    """The fields by which pods with these labels get different nodes, and different zones, if there are some.

    Only pods of the same template count, since those that they replace will be gone. The zone is no constraint of its
    own: where nodes have no zone, the scheduler would ignore both.
    """
    others: Object = {"labelSelector": {"matchLabels": dict(ours)}, "matchLabelKeys": ["pod-template-hash"]}
    by_node = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    by_zone = {"weight": 100, "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone", **others}}
    return {
        "topologySpreadConstraints": [by_node | others],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [by_zone]}},
    }


def of_lost_nodes() -> list[Object]:
    """Tolerations by which a pod is soon replaced elsewhere after its node is lost; by default that takes five
    minutes."""
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _LOST}
        for what in ("not-ready", "unreachable")
    ]
