"""Acts on what was counted: outcomes in, counts out."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from sluicegate.registry.words.errors import UsageError
from sluicegate.services.console.operations import Answer, Body, Operation, Request, Role
from sluicegate.services.console.ports import Desk


class OutcomesBody(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """One outcome, a list of them, or {"outcomes": [...]}."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The outcomes. Raises UsageError where one is not an object."""
        batch = self.root.get("outcomes") if isinstance(self.root, dict) else self.root
        items: list[Any] = batch if isinstance(batch, list) else [self.root]
        for position, item in enumerate(items):
            if not isinstance(item, dict):
                raise UsageError(f"outcomes[{position}]: not a JSON object.", fix='send {"prediction_id": ..., ...}')
        return items


class TelemetryActs:
    """Handlers; what was counted is in the telemetry store."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def counts(self, _: Request, __: Body) -> Answer:
        return 200, self._desk.counts()

    def outcomes(self, _: Request, body: OutcomesBody) -> Answer:
        return 202, self._desk.record_outcomes(body.items)


def operations(desk: Desk) -> tuple[Operation, ...]:
    """What can be asked about counts."""
    acts = TelemetryActs(desk)
    intake = ("/api/v1/outcomes", "/outcomes")
    return (
        Operation(
            method="GET", path="/api/v1/counts", role=Role.VIEWER, act=acts.counts,
            summary="What was counted, what waits, what could not be read.",
            gives={200: "`counters`, `waiting`, `quarantined`."},
        ),
        *(
            Operation(
                method="POST", path=path, role=Role.OPERATOR, takes=OutcomesBody, act=acts.outcomes, is_recorded=False,
                summary="Take outcomes in. One that is malformed refuses the whole batch.",
                gives={202: "`accepted`, `duplicate`, `contradictory`, `refused` (each with `index` and `reason`)."},
            )
            for path in intake
        ),
    )  # fmt: skip
