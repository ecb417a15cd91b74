"""The control pods: keeper and console, from one image, with one folder of state. Pure."""

from __future__ import annotations

import json

from sluicegate.services.cluster.install.installation import Installation, Resources
from sluicegate.services.cluster.install.parts import (
    HEADER,
    SECRETS,
    beat_probe,
    container,
    deployment,
    disruption_budget,
    labels,
    own_variables,
    pod,
    secret_volume,
    service,
    variables,
)
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.objects import spread

NAME, CONSOLE_SERVICE, CONSOLE_PORT = "sluicegate-control", "sluicegate-console", 8081
KEYS = f"{SECRETS}/keys"
FLOWS = "/flows"
"""Where the keeper finds how Prefect is to start flow runs."""
_SILENT = 20
"""Seconds without a heartbeat: as on one machine."""


def control(installation: Installation) -> list[Object]:
    """The Deployment, its budget, and the Service of the console."""
    asks = installation.resources
    containers = [
        _container(installation, "keeper", asks.keeper, livenessProbe=_alive("keeper")),
        _container(
            installation,
            "console",
            asks.console,
            ports=[{"name": "console", "containerPort": CONSOLE_PORT, "protocol": "TCP"}],
            livenessProbe=_alive("console"),
            readinessProbe={
                "httpGet": {"port": "console", "path": "/healthz", "httpHeaders": [HEADER]},
                "periodSeconds": 5,
                "timeoutSeconds": 5,
            },
        ),
    ]
    spec = pod(
        installation,
        installation.accounts.control,
        containers,
        storage=installation.storage.control,
        volumes=[
            secret_volume("keys", installation.keys),
            {"name": "flows", "configMap": {"name": "sluicegate-flows"}},
        ],
        terminationGracePeriodSeconds=45,
        **spread(labels("control")),
    )
    return [
        _console_service(installation),
        deployment(installation, NAME, "control", installation.controls, spec),
        disruption_budget(installation, NAME, "control"),
    ]


def _console_service(installation: Installation) -> Object:
    """The pods answer although their keeper is not ready: people must see why, and abort."""
    found = service(installation, CONSOLE_SERVICE, "control", {"console": CONSOLE_PORT})
    found["spec"]["publishNotReadyAddresses"] = True
    return found


def _container(installation: Installation, role: str, resources: Resources, **more: Object | list[Object]) -> Object:
    env = [
        *own_variables(),
        *variables(
            {
                "SLUICE_CONSOLE_HOSTS": installation.console_hosts,
                "SLUICE_IMAGE": installation.image,
                "SLUICE_CONNECTIONS": installation.connections,
                "SLUICE_PULL_SECRETS": json.dumps(
                    [{"name": each.name} for each in installation.pull_secrets], separators=(",", ":")
                ),
            }
        ),
    ]
    return container(
        installation,
        role,
        ("sluice", "cluster", "run", role),
        resources,
        env,
        mounts=[
            {"name": "keys", "mountPath": KEYS, "readOnly": True},
            {"name": "flows", "mountPath": FLOWS, "readOnly": True},
        ],
        envFrom=[{"secretRef": {"name": installation.connections}}],
        startupProbe={**beat_probe(role, _SILENT), "periodSeconds": 5, "failureThreshold": 36},
        **more,
    )


def _alive(role: str) -> Object:
    return {**beat_probe(role, _SILENT), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}
