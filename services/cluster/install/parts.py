"""The pieces that every manifest is built of: metadata, and pods that the standard "restricted" admits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate.services.cluster.install.installation import Installation, Resources
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import COMPONENT_LABEL, NAME_LABEL
from sluicegate.services.cluster.objects import of_lost_nodes

USER = 65532
"""The user of every process, and the group that may write to the folders."""
PRODUCT = "sluicegate"
STATE, SECRETS = "/state", "/secrets"
HEADER = {"name": "Host", "value": "localhost"}
"""The Host header of the kubelet's probes. By default it is the pod's address, and programs refuse unknown names."""


def labels(component: str) -> dict[str, str]:
    """The labels of an object of the installation."""
    return {NAME_LABEL: PRODUCT, COMPONENT_LABEL: component}


def named(installation: Installation, name: str, component: str) -> Object:
    """The metadata of an object."""
    return {"name": name, "namespace": installation.namespace, "labels": labels(component)}


def variables(values: Mapping[str, str]) -> list[Object]:
    """Environment variables with plain values."""
    return [{"name": name, "value": value} for name, value in values.items()]


def secret_variable(secret: str, name: str, *, optional: bool = False) -> Object:
    """A variable whose value is a Secret's key of the same name."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name, "optional": optional}}}


def own_variables() -> list[Object]:
    """The variables of every process of ours: the namespace that it acts in, and where it may write."""
    namespace = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return [
        {"name": "SLUICE_CLUSTER", "valueFrom": namespace},
        *variables({"SLUICE_STATE": f"{STATE}/{PRODUCT}", "HOME": STATE, "PREFECT_HOME": f"{STATE}/prefect"}),
    ]


def container(
    installation: Installation,
    name: str,
    command: Sequence[str],
    resources: Resources,
    env: Sequence[Object],
    *,
    mounts: Sequence[Object] = (),
    **more: Any,
) -> Object:
    """A container that may do nothing but run: no other user, no capability, and it writes only to its folders."""
    return {
        "name": name,
        "image": installation.image,
        "imagePullPolicy": installation.pull_policy,
        "command": list(command),
        "env": list(env),
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {"memory": resources.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *mounts,
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def pod(
    installation: Installation,
    account: str,
    containers: Sequence[Object],
    *,
    storage: str,
    volumes: Sequence[Object] = (),
    talks_to_api: bool = True,
    leaves_lost_node: bool = True,
    **more: Any,
) -> Object:
    """A pod's specification, as the standard "restricted" admits it.

    `leaves_lost_node`: after its node is lost, the pod is soon replaced elsewhere, and its folder is gone even if the
    node returns.
    """
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": talks_to_api,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": each.name} for each in installation.pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": of_lost_nodes() if leaves_lost_node else [],
        "containers": list(containers),
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": storage}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            *volumes,
        ],
        **more,
    }


def secret_volume(name: str, secret: str) -> Object:
    """A Secret as files that only our group may read."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def deployment(
    installation: Installation, name: str, component: str, replicas: int, spec: Object, **more: Any
) -> Object:
    """A Deployment that never has fewer pods than desired while it changes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": named(installation, name, component),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels(component)},
            "template": {"metadata": {"labels": labels(component)}, "spec": spec},
            **more,
        },
    }


def disruption_budget(installation: Installation, name: str, component: str) -> Object:
    """When a node is drained, one pod at a time may be evicted."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": named(installation, name, component),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(component)}},
    }


def service(installation: Installation, name: str, component: str, ports: Mapping[str, int]) -> Object:
    """A Service of pods of one kind."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named(installation, name, component),
        "spec": {
            "selector": labels(component),
            "ports": [
                {"name": each, "port": port, "targetPort": each, "protocol": "TCP"} for each, port in ports.items()
            ],
        },
    }


def beat_probe(program: str, silent: int) -> Object:
    """Liveness by a program's heartbeat. No import: it runs every ten seconds in each pod.

    A beat is the time of a file, set from the monotonic clock (`services/heartbeat.py`).
    """
    look = (
        "import os,sys,time;"
        f"sys.exit(time.monotonic()-os.stat('{STATE}/{PRODUCT}/run/beats/{program}').st_mtime>{silent})"
    )
    return {"exec": {"command": ["python3", "-I", "-S", "-c", look]}}
