"""The gateway pods, their Service, and the ConfigMap that tells them the routes. Pure."""

from __future__ import annotations

from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import (
    HEADER,
    beat_probe,
    container,
    deployment,
    disruption_budget,
    labels,
    named,
    own_variables,
    pod,
    secret_variable,
    service,
)
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.objects import spread

NAME, PORT = "sluicegate-gateway", 8080
TABLE, TABLE_FOLDER = "sluicegate-table", "/table"
_NEEDED = ("SLUICE_LEDGER", "SLUICE_TELEMETRY", "SLUICE_STORE")
_OPTIONAL = ("SLUICE_UNWATCHED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS")
"""What a gateway must know of the settings: no password of MLflow or Prefect."""
_AWAY_SECONDS = 5
"""Until everybody has heard that a pod ends; it answers meanwhile."""


def table(installation: Installation) -> list[Object]:
    """The ConfigMap of the routes. It has no data here, so that no later apply touches what the keeper wrote."""
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": named(installation, TABLE, "gateway")}]


def gateways(installation: Installation) -> list[Object]:
    """The Deployment, its budget and its Service."""
    connections = installation.connections
    env = [
        *own_variables(),
        {"name": "SLUICE_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "SLUICE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        *(secret_variable(connections, name) for name in _NEEDED),
        *(secret_variable(connections, name, optional=True) for name in _OPTIONAL),
    ]
    gateway = container(
        installation,
        "gateway",
        ("sluice", "gateway", "--cluster", "--port", str(PORT)),
        installation.resources.gateway,
        env,
        mounts=[{"name": "table", "mountPath": TABLE_FOLDER, "readOnly": True}],
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        startupProbe={**_ready(), "periodSeconds": 2, "failureThreshold": 90},
        readinessProbe={**_ready(), "periodSeconds": 3, "failureThreshold": 2},
        livenessProbe={**beat_probe("gateway", 60), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        lifecycle={"preStop": {"sleep": {"seconds": _AWAY_SECONDS}}},
    )
    spec = pod(
        installation,
        installation.accounts.gateway,
        [gateway],
        storage=installation.storage.gateway,
        volumes=[{"name": "table", "configMap": {"name": TABLE, "optional": True}}],
        leaves_lost_node=False,  # its log may not be counted yet, and the other gateways serve
        terminationGracePeriodSeconds=75,
        **spread(labels("gateway")),
    )
    return [
        service(installation, NAME, "gateway", {"http": PORT}),
        deployment(installation, NAME, "gateway", installation.gateways, spec, minReadySeconds=5),
        disruption_budget(installation, NAME, "gateway"),
    ]


def _ready() -> Object:
    """It answers so once it holds a table of routes."""
    return {"httpGet": {"port": "http", "path": "/-/ready", "httpHeaders": [HEADER]}, "timeoutSeconds": 3}
