"""The act on the machine: run the checks of `sluice doctor`."""

from __future__ import annotations

from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

PATIENCE = 10.0
"""Seconds to wait for checks before answering."""


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operation on the machine."""

    def checks(_: Request, __: Body) -> Answer:
        return 200, {"checks": desk.checks(PATIENCE)}

    return (
        Operation(
            method="GET", path="/api/v1/checks", role=Role.VIEWER, act=checks,
            summary="What `sluice doctor` finds on the machine of the console.",
            gives={
                200: "`checks`, each with `check`, `status` (pass, warn, fail, or pending: no answer in 10 s), `found` "
                "and `fix`."
            },
        ),
    )  # fmt: skip
