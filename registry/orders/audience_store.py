"""Applied audiences: where the ledger keeps them, which models use them, and how a change reaches these models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sluicegate.registry.audience.audience import Audience
from sluicegate.registry.audience.connections import Connection, Connections
from sluicegate.registry.audience.short_form import audience_recorded
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.authority import refuse_unjudged
from sluicegate.registry.orders.connecting import record_connections
from sluicegate.registry.orders.connections_record import Documents, all_connections, connections_of
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Order
from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.registry.words.suggestions import suggestion

KIND = "audience"


def audiences(record: Documents) -> tuple[Audience, ...]:
    """Every applied audience, sorted by name."""
    return tuple(audience_recorded(document.body) for document in record.all_applied(KIND))


def known_audience(record: Documents, name: str) -> Audience:
    """The applied audience with this name. Raises NotFound."""
    document = record.applied(KIND, name)
    if document is None:
        known = [each.name for each in record.all_applied(KIND)]
        fix = suggestion(name, known) if known else "sluice audience apply -f FILE"
        raise NotFound(f"there is no audience {name}.", fix=fix)
    return audience_recorded(document.body)


def users(record: Documents, name: str) -> Mapping[str, Connection]:
    """The models that route this audience, and where to."""
    return all_users(record).get(name, {})


def all_users(record: Documents) -> Mapping[str, Mapping[str, Connection]]:
    """The same for every audience in use, by its name. Reads the connections once for all of them."""
    by_audience: dict[str, dict[str, Connection]] = {}
    for model, connections in all_connections(record).items():
        for each in connections.ordered:
            by_audience.setdefault(each.audience.name, {})[model] = each
    return by_audience


def apply_audience(draft: Draft, order: Order, document: Applied) -> None:
    """Record an audience and update every model that uses it."""
    draft.apply(document)
    audience = audience_recorded(document.body)
    for model in users(draft, audience.name):
        present = connections_of(draft, model) or Connections(model=model)
        wanted = _with(present, audience)
        refuse_unjudged(order, present, wanted)
        record_connections(draft, wanted, document.actor)


def delete_audience(draft: Draft, order: Order, name: str) -> None:
    """Withdraw an audience. Raises NotFound, or Refused with the names of its users."""
    known_audience(draft, name)
    used = users(draft, name)
    if used:
        where = "; ".join(f"{model} -> {shares(each)}" for model, each in used.items())
        model, each = next(iter(used.items()))
        raise Refused(
            f"the audience {name} is in use: {where}.",
            fix=f"sluice variation disconnect {model} {each.weighted[0].variation} --audience {name}",
        )
    draft.withdraw(KIND, name, order.actor)


def shares(connection: Connection) -> str:
    """Which variations get an audience's requests, in words: `a 70, b 30, copies of 20 % to c`."""
    weighted = [f"{part.variation} {part.weight}" for part in connection.weighted]
    copied = [f"copies of {part.sample / 100:g} % to {part.variation}" for part in connection.copied]
    return ", ".join((*weighted, *copied))


def _with(connections: Connections, audience: Audience) -> Connections:
    ordered = (
        replace(each, audience=audience) if each.audience.name == audience.name else each
        for each in connections.ordered
    )
    return replace(connections, ordered=tuple(ordered))
