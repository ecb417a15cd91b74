"""The act on gateways of other hosts."""

from __future__ import annotations

from contextlib import suppress

from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Tokens


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operation on gateways of other hosts."""

    def remove(request: Request, _: Body) -> Answer:
        name = request.path["name"]
        missing = desk.remove_gateway(name)
        with suppress(NotFound):  # already revoked
            Tokens(desk.ledger, desk.admin_token, desk.clock).revoke(name, actor=request.actor)
        return 200, {"removed": name, "missing": missing}

    return (
        Operation(
            method="DELETE", path="/api/v1/gateways/{name}", role=Role.ADMIN, act=remove,
            summary="Remove a gateway of another host that is lost for good, and revoke its token.",
            gives={200: "`removed`: its name; `missing`: the requests that it served and that will never be counted."},
        ),
    )  # fmt: skip
