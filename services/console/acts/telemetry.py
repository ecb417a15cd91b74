"""Acts on telemetry: take outcomes in, show counts."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from sluicegate.registry.words.errors import Forbidden, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

INTAKE = ("/api/v1/outcomes", "/outcomes")
"""The paths that take outcomes."""


class OutcomesBody(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """One outcome, a list of them, or {"outcomes": [...]}."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The outcomes. Raises UsageError if one is not an object."""
        batch = self.root.get("outcomes") if isinstance(self.root, dict) else self.root
        items: list[Any] = batch if isinstance(batch, list) else [self.root]
        for position, item in enumerate(items):
            if not isinstance(item, dict):
                raise UsageError(f"outcomes[{position}]: not a JSON object.", fix='send {"prediction_id": ..., ...}')
        return items


class TelemetryActs:
    """Handlers; counts and outcomes are in the telemetry store."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def counts(self, _: Request, __: Body) -> Answer:
        return 200, self._desk.counts()

    def outcomes(self, request: Request, body: OutcomesBody) -> Answer:
        model = request.only_model
        items = body.items if model is None else [_limited(item, model, at) for at, item in enumerate(body.items)]
        return 202, self._desk.record_outcomes(items)


def _limited(item: dict[str, Any], model: str, position: int) -> dict[str, Any]:
    """The outcome with the one model that its sender may report; joining skips it if the prediction is another model's.

    Raises Forbidden if the outcome names another model.
    """
    if item.get("model", model) != model:
        raise Forbidden(
            f"outcomes[{position}].model is {str(item['model'])[:80]!r}; this token may only report outcomes of "
            f"{model}.",
            fix="send it with that model's token",
        )
    return item | {"model": model}


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on telemetry."""
    acts = TelemetryActs(desk)
    return (
        Operation(
            method="GET", path="/api/v1/counts", role=Role.VIEWER, act=acts.counts,
            summary="What the collector has counted, what waits to be joined, and what it could not read.",
            gives={200: "`counters`, their `meanings`, `waiting`, `quarantined`."},
        ),
        *(
            Operation(
                method="POST", path=path, role=Role.REPORTER, takes=OutcomesBody, act=acts.outcomes, is_recorded=False,
                summary="Report outcomes. One malformed outcome refuses the whole batch.",
                gives={
                    202: "`accepted`, `duplicate`, `contradictory`, `unasked` (models), `refused` (`index`, `reason`)."
                },
            )
            for path in INTAKE
        ),
    )  # fmt: skip
