"""The Job that tries an installation with a tiny model of its own. Pure."""

from __future__ import annotations

from sluicegate.services.cluster.install.control import CONSOLE_PORT, CONSOLE_SERVICE
from sluicegate.services.cluster.install.gateways import NAME as GATEWAY_SERVICE
from sluicegate.services.cluster.install.gateways import PORT as GATEWAY_PORT
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import STATE, container, labels, named, pod, variables
from sluicegate.services.cluster.kinds import Object

COMPONENT = "conformance"


def conformance_job(installation: Installation) -> Object:
    """The Job for `kubectl create`: each has another name and is deleted a day after its end. It has no rights in the
    cluster."""
    reached = {
        "SLUICE_API": f"http://{CONSOLE_SERVICE}:{CONSOLE_PORT}",
        "SLUICE_GATEWAY": f"http://{GATEWAY_SERVICE}:{GATEWAY_PORT}",
        "SLUICE_STATE": f"{STATE}/sluicegate",
        "HOME": STATE,
    }
    token = {"secretKeyRef": {"name": installation.keys, "key": "admin_token"}}
    run = container(
        installation,
        COMPONENT,
        ("sluice", "cluster", "conform"),
        installation.resources.flow,
        [*variables(reached), {"name": "SLUICE_TOKEN", "valueFrom": token}],
        envFrom=[{"secretRef": {"name": installation.connections}}],
    )
    spec = pod(
        installation,
        installation.accounts.flow,
        [run],
        storage=installation.storage.flow,
        talks_to_api=False,
        restartPolicy="Never",
    )
    metadata = named(installation, "", COMPONENT)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": "sluicegate-conformance-",
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 86_400,
            "template": {"metadata": {"labels": labels(COMPONENT)}, "spec": spec},
        },
    }
