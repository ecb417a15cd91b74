"""gateway: run a gateway on this host for an installation on another host, or in a pod of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

_JOINED, _IN_CLUSTER = 8443, 8080


def gateway(
    *,
    cluster: Annotated[
        bool, Parameter(negative=(), help="Run in a pod, with the routes and builds of its namespace.")
    ] = False,
    port: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=65535),
            help=f"The port for callers; by default {_JOINED}, with --cluster {_IN_CLUSTER}.",
        ),
    ] = None,
    table: Annotated[
        Path, Parameter(help="With --cluster: where the ConfigMap of routes is mounted, for a start without the API.")
    ] = Path("/table"),
) -> None:
    """Run a gateway here for an installation on another host, or in a cluster, until it is stopped.

    When it is stopped, it first finishes open requests and sends the rest of its log.

    SLUICE_API, SLUICE_TOKEN (with the role gateway) and SLUICE_CA name the console to join. Set SLUICE_LISTEN to answer
    callers on other hosts. With --cluster, SLUICE_CLUSTER names the namespace, and everybody who can reach the pod is
    answered.
    """
    from sluicegate.flows.wiring import gateway_pod, joining
    from sluicegate.flows.wiring.loops import log_plainly
    from sluicegate.flows.wiring.runtime import current_runtime

    log_plainly()
    if cluster:
        gateway_pod.serve(current_runtime(), port or _IN_CLUSTER, table)
    else:
        joining.serve(current_runtime(), port or _JOINED)
