"""Audiences: their conditions, the variations that they get, and a tester for requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from sluicegate.registry.audience.audience import Audience
from sluicegate.registry.audience.connections import Connection, Connections
from sluicegate.registry.audience.overlap import shared_request
from sluicegate.registry.audience.sentence import sentence
from sluicegate.registry.audience.trial import Trial
from sluicegate.registry.orders.audience_store import all_users, audiences
from sluicegate.registry.orders.connections_record import all_connections
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.figures import per_cent
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.audiences import audience_view
from sluicegate.services.console.if_match import connections_tag
from sluicegate.services.console.pages.ordering import carried_out
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.recording import Recorder


def page(desk: Desk) -> Endpoint:
    """The page of audiences, with its tester."""

    def context(request: Request) -> Context:
        trial_form = {name: request.query_params.get(name, "") for name in ("model", "metadata", "unit")}
        trial, refused = _try(desk, **trial_form) if trial_form["model"] else (None, None)
        used = all_users(desk.ledger)
        return {
            "audiences": [
                audience_view(audience, used.get(audience.name, {}))
                | {"who": sentence(audience.condition), "goes": _goes(used.get(audience.name, {}))}
                for audience in audiences(desk.ledger)
            ],
            "orders": [_matching_order(connections) for connections in all_connections(desk.ledger).values()],
            "may_order": request.state.caller.role >= Role.OPERATOR,
            "models": desk.ledger.served_models(),
            "trial_form": trial_form,
            "trial": trial,
            "refused": refused or request.query_params.get("refused"),
        }

    return template(desk, "audiences.html", context)


def _goes(used: Mapping[str, Connection]) -> dict[str, str]:
    """Which variations get the audience's requests, by model."""
    return {model: _split(connection) for model, connection in used.items()}


def _split(connection: Connection) -> str:
    """The variations that get an audience's requests: `a`, or `a 70 %, b 30 %, copies of 20 % to c`."""
    whole = sum(part.weight for part in connection.weighted)
    weighted = [f"{part.variation} {per_cent(100 * part.weight / whole)}" for part in connection.weighted]
    alone = [part.variation for part in connection.weighted] if len(weighted) == 1 else weighted
    return ", ".join(
        (*alone, *(f"copies of {per_cent(part.sample / 100)} to {part.variation}" for part in connection.copied))
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """An audience at its place in a model's matching order."""

    name: str
    who: str
    shares: str
    overlaps: dict[str, str]
    """Audiences further down that also match some of its requests, each with an example of such a request."""
    up: str
    """The order with this audience one place earlier, as JSON; empty for the first."""
    down: str


@dataclass(frozen=True, kw_only=True)
class MatchingOrder:
    """A model's audiences in the order in which they are matched."""

    model: str
    tag: str
    places: tuple[Place, ...]
    rest: str
    """The variations that get the requests that no audience matches."""


def _matching_order(connections: Connections) -> MatchingOrder:
    names = [each.audience.name for each in connections.ordered]
    places = tuple(
        Place(
            name=each.audience.name, who=sentence(each.audience.condition), shares=_split(each),
            overlaps=_overlaps(each.audience, [later.audience for later in connections.ordered[position + 1 :]]),
            up=_swapped(names, position - 1), down=_swapped(names, position),
        )
        for position, each in enumerate(connections.ordered)
    )  # fmt: skip
    rest = ", ".join(part.variation for part in connections.fallback)
    return MatchingOrder(model=connections.model, tag=connections_tag(connections), places=places, rest=rest)


def _overlaps(audience: Audience, later: Sequence[Audience]) -> dict[str, str]:
    shared = {each.name: shared_request(audience.condition, each.condition) for each in later}
    return {name: _as_text(request) for name, request in shared.items() if request is not None}


def _as_text(metadata: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in metadata.items()) or "any request"


def _swapped(names: Sequence[str], position: int) -> str:
    """The names as JSON with this position and the next one exchanged; empty if either does not exist."""
    if not 0 <= position < len(names) - 1:
        return ""
    return json.dumps([*names[:position], names[position + 1], names[position], *names[position + 2 :]])


def reorder(desk: Desk) -> Endpoint:
    """Change the order in which a model's audiences are matched, from a form."""
    recorder = Recorder(desk.calls, desk.clock)

    async def endpoint(http: Request) -> Response:
        form = await http.form(max_fields=5)
        path = f"/api/v1/models/{quote(http.path_params['model'], safe='')}/connections/order"
        try:
            body: dict[str, object] = {"audiences": json.loads(str(form.get("order") or "[]"))}
        except ValueError:
            body = {"audiences": []}
        return await carried_out(
            desk, recorder, http, path, body, if_match=str(form.get("tag") or "") or None,
            key=str(form.get("key") or "") or None, back="/audiences", done=lambda _: "/audiences",
        )  # fmt: skip

    return endpoint


def _try(desk: Desk, *, model: str, metadata: str, unit: str) -> tuple[Trial | None, str | None]:
    pairs = [line.partition("=") for line in metadata.splitlines() if line.strip()]
    try:
        return desk.try_out(model, {key.strip(): value.strip() for key, _, value in pairs}, unit or None), None
    except SluiceError as error:
        return None, str(error)
