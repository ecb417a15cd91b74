"""gateway: answer callers on this host for an installation of another one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number


def gateway(
    *,
    port: Annotated[
        int, Parameter(validator=Number(gte=1, lte=65535), help="Port at which callers are answered.")
    ] = 8443,
) -> None:
    """Run a gateway here for an installation on another host, until it is stopped.

    When it is stopped, it first finishes open requests and sends the rest of its log.

    SLUICE_API, SLUICE_TOKEN (of the role gateway) and SLUICE_CA name the console to join. Callers of other hosts are
    answered where SLUICE_LISTEN is set.
    """
    from sluicegate.flows.wiring.joining import serve
    from sluicegate.flows.wiring.loops import log_plainly
    from sluicegate.flows.wiring.runtime import current_runtime

    log_plainly()
    serve(current_runtime(), port)
