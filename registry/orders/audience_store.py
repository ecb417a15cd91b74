"""Applied audiences: where the ledger keeps them, who uses them, and how a change reaches their users."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sluicegate.registry.audience.audience import Audience
from sluicegate.registry.audience.connections import Connection, Connections
from sluicegate.registry.audience.short_form import audience_recorded
from sluicegate.registry.ledger.port import Applied, Ledger
from sluicegate.registry.orders.connections_record import all_connections, change, connections_of
from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.registry.words.suggestions import suggestion

KIND = "audience"


def audiences(ledger: Ledger) -> tuple[Audience, ...]:
    """Every applied audience, by name."""
    return tuple(audience_recorded(found.body) for found in ledger.all_applied(KIND))


def known_audience(ledger: Ledger, name: str) -> Audience:
    """The applied audience of this name. Raises NotFound."""
    found = ledger.applied(KIND, name)
    if found is None:
        known = [each.name for each in ledger.all_applied(KIND)]
        fix = suggestion(name, known) if known else "sluice audience apply -f FILE"
        raise NotFound(f"there is no audience {name}.", fix=fix)
    return audience_recorded(found.body)


def users(ledger: Ledger, name: str) -> dict[str, Connection]:
    """The models that send this audience somewhere, and where to."""
    return {
        model: each
        for model, connections in all_connections(ledger).items()
        for each in connections.ordered
        if each.audience.name == name
    }


def apply_audience(ledger: Ledger, document: Applied) -> bool:
    """Record an audience and carry it to every model that uses it; False when nothing changed.

    Applied again after a crash in between, it carries on.
    """
    changed = ledger.apply(document)
    audience = audience_recorded(document.body)
    carried = [_carry(ledger, model, audience, document) for model in users(ledger, audience.name)]
    return changed or any(carried)


def _carry(ledger: Ledger, model: str, audience: Audience, document: Applied) -> bool:
    """Have a model's connections mean the audience as it is now; whether that changed them."""

    def made() -> Connections:
        return _with(connections_of(ledger, model) or Connections(model=model), audience)

    before = connections_of(ledger, model)
    return change(ledger, model, made, document.actor, document.at) != before


def delete_audience(ledger: Ledger, name: str, *, actor: str, now: datetime) -> None:
    """Withdraw an audience. Raises NotFound, and Refused with the names of its users."""
    known_audience(ledger, name)
    found = users(ledger, name)
    if found:
        where = "; ".join(f"{model} -> {shares(each)}" for model, each in found.items())
        model, each = next(iter(found.items()))
        raise Refused(
            f"the audience {name} is in use: {where}.",
            fix=f"sluice variation disconnect {model} {each.weighted[0].variation} --audience {name}",
        )
    ledger.withdraw(KIND, name, actor=actor, at=now)


def shares(connection: Connection) -> str:
    """Who gets an audience, in words: `a 70, b 30, copies of 20 % to c`."""
    weighted = [f"{part.variation} {part.weight}" for part in connection.weighted]
    copied = [f"copies of {part.sample / 100:g} % to {part.variation}" for part in connection.copied]
    return ", ".join((*weighted, *copied))


def _with(connections: Connections, audience: Audience) -> Connections:
    ordered = (
        replace(each, audience=audience) if each.audience.name == audience.name else each
        for each in connections.ordered
    )
    return replace(connections, ordered=tuple(ordered))


def apply_document(ledger: Ledger, document: Applied) -> bool:
    """Record a document of any kind; False when nothing changed."""
    return apply_audience(ledger, document) if document.kind == KIND else ledger.apply(document)
