"""ServiceMonitor: how the Prometheus operator finds the console's metrics. Pure."""

from __future__ import annotations

from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import labels, named
from sluicegate.services.cluster.kinds import Object


def monitor(installation: Installation) -> list[Object]:
    """The console serves all metrics, those of the gateways too, to a token of the role viewer."""
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": named(installation, "sluicegate", "control"),
            "spec": {
                "selector": {"matchLabels": labels("control")},
                "endpoints": [
                    {
                        "port": "console",
                        "path": "/metrics",
                        "authorization": {"credentials": {"name": installation.monitor_secret, "key": "token"}},
                    }
                ],
            },
        }
    ]
