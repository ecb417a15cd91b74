"""NetworkPolicies: who may reach which of our pods. Connections that our pods open are not restricted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.services.cluster.install.control import CONSOLE_PORT
from sluicegate.services.cluster.install.gateways import PORT as GATEWAY_PORT
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import labels, named
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import COMPONENT_LABEL

SERVICE_PORT = 3000
ANYBODY: Sequence[Object] = ({"namespaceSelector": {}},)
"""Every pod of the cluster. Callers from outside come through the user's Ingress, which is a pod as well."""


_FLOWS: Object = {"podSelector": {"matchLabels": {COMPONENT_LABEL: "flow"}}}


def policies(installation: Installation) -> list[Object]:
    """Builds answer gateways, control, and flows that replay requests; gateways answer the cluster, the console answers
    gateways and whoever tries the installation; flows answer nobody."""
    ours = [_pods("gateway"), _pods("control"), _FLOWS]
    askers = [_pods("gateway"), _pods("conformance")]
    return [
        _policy(installation, "sluicegate-service", labels("service"), ours, SERVICE_PORT),
        _policy(installation, "sluicegate-gateway", labels("gateway"), ANYBODY, GATEWAY_PORT),
        _policy(installation, "sluicegate-control", labels("control"), askers, CONSOLE_PORT),
        _nobody(installation, "sluicegate-worker", labels("worker")),
        _nobody(installation, "sluicegate-flow", _FLOWS["podSelector"]["matchLabels"]),
    ]


def console_callers(installation: Installation) -> list[Object]:
    """The console also answers the namespaces that the user names."""
    key = "kubernetes.io/metadata.name"
    named_ones = {"matchExpressions": [{"key": key, "operator": "In", "values": list(installation.console_from)}]}
    callers = [{"namespaceSelector": named_ones}]
    return [_policy(installation, "sluicegate-console", labels("control"), callers, CONSOLE_PORT)]


def _pods(component: str) -> Object:
    return {"podSelector": {"matchLabels": labels(component)}}


def _policy(
    installation: Installation, name: str, selected: dict[str, str], callers: Sequence[Object], port: int
) -> Object:
    policy = _nobody(installation, name, selected)
    policy["spec"]["ingress"] = [{"from": list(callers), "ports": [{"protocol": "TCP", "port": port}]}]
    return policy


def _nobody(installation: Installation, name: str, selected: dict[str, str]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": named(installation, name, selected[COMPONENT_LABEL]),
        "spec": {"podSelector": {"matchLabels": selected}, "policyTypes": ["Ingress"]},
    }
