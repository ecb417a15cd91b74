"""Acts on audiences: their conditions, the models that use them, and which build a given request would get."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from sluicegate.registry.audience.audience import Audience, matches
from sluicegate.registry.audience.connections import Connection
from sluicegate.registry.audience.short_form import condition_written
from sluicegate.registry.audience.trial import Considered, explain
from sluicegate.registry.orders.audience_store import all_users, audiences, known_audience, shares, users
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import DeleteAudience
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Nothing, Operation, Request
from sluicegate.services.console.ports import Desk


class TestBody(Body):
    """A request to evaluate without sending it."""

    metadata: dict[str, str] = Field(default_factory=dict)
    """Its headers."""
    model: str | None = None
    """The model that the request is for; none: only list the audiences that match."""
    unit: str | None = None
    """Its unit; none: the value of the unit's header, if that is among the metadata."""


class AudienceActs:
    """Handlers; audiences are documents of the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, _: Request, __: Body) -> Answer:
        used = all_users(self._desk.ledger)
        return 200, {
            "audiences": [audience_view(each, used.get(each.name, {})) for each in audiences(self._desk.ledger)]
        }

    def show(self, request: Request, _: Body) -> Answer:
        return 200, self._view(known_audience(self._desk.ledger, request.path["name"]))

    def _view(self, audience: Audience) -> dict[str, object]:
        return audience_view(audience, users(self._desk.ledger, audience.name))

    def delete(self, request: Request, _: Body) -> Answer:
        name = request.path["name"]
        give(self._desk.ledger, request.order(DeleteAudience(name=name)), self._desk.clock())
        return 200, {"deleted": name}

    def test(self, _: Request, body: TestBody) -> Answer:
        if body.model is not None:
            return 200, self._desk.try_out(body.model, body.metadata, body.unit)
        considered = [
            Considered(
                audience=audience.name,
                takes=matches(audience.condition, body.metadata),
                why=explain(audience.condition, body.metadata),
            )
            for audience in audiences(self._desk.ledger)
        ]
        return 200, {"considered": considered}


def audience_view(audience: Audience, used: Mapping[str, Connection]) -> dict[str, object]:
    """An audience as the API and the pages show it: its condition in the short form, and its shares by model."""
    return {
        "name": audience.name,
        "description": audience.description,
        "when": condition_written(audience.condition),
        "users": [{"model": model, "shares": shares(connection)} for model, connection in used.items()],
    }


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on audiences."""
    acts = AudienceActs(desk)
    root = "/api/v1/audiences"
    one = "`name`, `description`, `when`, and `users`, each with `model` and `shares`"
    return (
        Operation(
            method="GET", path=root, role=Role.VIEWER, act=acts.list, summary="Every audience and who uses it.",
            gives={200: f"`audiences`, each with {one}."},
        ),
        Operation(
            method="POST", path=f"{root}/test", role=Role.VIEWER, takes=TestBody, act=acts.test,
            summary="Which build a request would get, and why, without sending it.",
            gives={200: "`audience`, `considered` (each with `why`), `parts` with shares, and the unit's `slot`."},
        ),
        Operation(
            method="GET", path=f"{root}/{{name}}", role=Role.VIEWER, act=acts.show, summary="One audience.",
            gives={200: f"{one.capitalize()}."},
        ),
        Operation(
            method="DELETE", path=f"{root}/{{name}}", role=Role.OPERATOR, takes=Nothing, act=acts.delete,
            summary="Delete an audience that nobody uses.", gives={200: "`deleted`: its name."},
        ),
    )  # fmt: skip
