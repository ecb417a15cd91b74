"""gateway remove: remove a gateway on another host that is lost."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit
from sluicegate.flows.cli.reach import call, segment


def remove(
    name: Annotated[str, Parameter(help="The gateway's name, which is that of its token.")],
    *,
    output: Output = Format.TABLE,
) -> None:
    """Remove a gateway of another host that is lost for good, and revoke its token.

    Weights, aborts and late labels no longer wait for it. The log lines that it sent are counted; requests that it
    served and whose lines never came are shown as missing. To remove one that still runs, stop it on its host instead.
    """
    answer = call("DELETE", f"/api/v1/gateways/{segment(name)}")
    missing = answer["missing"]
    count = f"{missing:,} requests that it served are" if missing else "no request that it served is known to be"
    emit(answer, output, table=f"{name} is removed, and its token revoked; {count} missing from what was counted")
