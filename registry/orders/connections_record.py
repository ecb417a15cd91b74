"""Audiences and connections as JSON values, and where the ledger keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Audience,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
)
from sluicegate.registry.audience.connections import FALLBACK, Connection, Connections, Copied, Weighted, settled
from sluicegate.registry.audience.layout import Held
from sluicegate.registry.audience.rules import faults
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.words.errors import UsageError

KIND = "traffic"
"""The kind of applied document that connections are; its name is the model's."""


class Documents(Protocol):
    """What is read of applied documents."""

    def applied(self, kind: str, name: str) -> Applied | None: ...

    def all_applied(self, kind: str) -> Sequence[Applied]: ...


def record_connections(draft: Draft, wanted: Connections, actor: str) -> bool:
    """Record who gets what from now on, moving as few units as possible; False when nothing changes.

    Raises UsageError for what the data plane would refuse: that would hold up every model's changes.
    """
    _refuse(wanted)
    after = settled(wanted, connections_of(draft, wanted.model))
    document_ = Applied(
        kind=KIND, name=wanted.model, body=document(after), digest=digest(after), actor=actor, at=draft.now
    )
    return draft.apply(document_)


def digest(connections: Connections | None) -> str:
    """What the ledger knows connections by; empty where there are none."""
    if connections is None:
        return ""
    text = json.dumps(document(connections), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse(wanted: Connections) -> None:
    names = [each.audience.name for each in wanted.ordered]
    twice = sorted({name for name in names if names.count(name) > 1 or name == FALLBACK})
    if twice:
        raise UsageError(f"{wanted.model}: audience {', '.join(twice)} is named twice; {FALLBACK} is the rest of all.")
    found = [(each.audience.name, fault) for each in wanted.ordered for fault in faults(each.audience.condition)]
    if found:
        raise UsageError("; ".join(f"audience {name}: {fault}" for name, fault in found))


def connections_of(ledger: Documents, model: str) -> Connections | None:
    """A model's connections; None when it has none."""
    found = ledger.applied(KIND, model)
    return None if found is None or is_withdrawn(found) else read(found.body)


def all_connections(ledger: Documents) -> dict[str, Connections]:
    """Every model's connections, by model."""
    return {found.name: read(found.body) for found in ledger.all_applied(KIND) if not is_withdrawn(found)}


def document(connections: Connections) -> dict[str, object]:
    """The connections as JSON values."""
    return {
        "model": connections.model,
        "ordered": [
            {
                "audience": audience_document(each.audience),
                "weighted": _weighted(each.weighted),
                "copied": _copied(each.copied),
                "layout": _layout(each.layout),
            }
            for each in connections.ordered
        ],
        "fallback": _weighted(connections.fallback),
        "fallback_copied": _copied(connections.fallback_copied),
        "fallback_layout": _layout(connections.fallback_layout),
    }


def read(body: Mapping[str, Any]) -> Connections:
    """The connections that `document` wrote."""
    return Connections(
        model=body["model"],
        ordered=tuple(
            Connection(
                audience=read_audience(each["audience"]),
                weighted=_read_weighted(each["weighted"]),
                copied=_read_copied(each["copied"]),
                layout=_read_layout(each["layout"]),
            )
            for each in body["ordered"]
        ),
        fallback=_read_weighted(body["fallback"]),
        fallback_copied=_read_copied(body["fallback_copied"]),
        fallback_layout=_read_layout(body["fallback_layout"]),
    )


def audience_document(audience: Audience) -> dict[str, object]:
    """The audience as JSON values."""
    condition = condition_document(audience.condition)
    return {"name": audience.name, "condition": condition, "description": audience.description}


def read_audience(body: Mapping[str, Any]) -> Audience:
    """The audience that `audience_document` wrote."""
    return Audience(name=body["name"], condition=read_condition(body["condition"]), description=body["description"])


def condition_document(condition: Condition) -> dict[str, object]:
    """The condition as JSON values: one key, which says what it is."""
    match condition:
        case Match(header=header, operator=operator, operands=operands):
            return {"match": {"header": header, "operator": str(operator), "operands": list(operands)}}
        case Present(header=header):
            return {"present": header}
        case Range(header=header, low=low, high=high):
            return {"range": {"header": header, "low": low, "high": high}}
        case Not(condition=inner):
            return {"not": condition_document(inner)}
        case AllOf(conditions=conditions):
            return {"all": [condition_document(each) for each in conditions]}
        case AnyOf(conditions=conditions):
            return {"any": [condition_document(each) for each in conditions]}


def read_condition(body: Mapping[str, Any]) -> Condition:
    """The condition that `condition_document` wrote. Raises ValueError for a word it never wrote."""
    ((word, said),) = body.items()
    match word:
        case "match":
            operator = Operator(said["operator"])
            return Match(header=said["header"], operator=operator, operands=tuple(said["operands"]))
        case "present":
            return Present(header=said)
        case "range":
            return Range(header=said["header"], low=said["low"], high=said["high"])
        case "not":
            return Not(condition=read_condition(said))
        case "all":
            return AllOf(conditions=tuple(read_condition(each) for each in said))
        case "any":
            return AnyOf(conditions=tuple(read_condition(each) for each in said))
        case _:
            raise ValueError(f"no condition is called {word!r}")


def _weighted(weighted: tuple[Weighted, ...]) -> list[list[object]]:
    return [[part.variation, part.weight] for part in weighted]


def _copied(copied: tuple[Copied, ...]) -> list[list[object]]:
    return [[part.variation, part.sample] for part in copied]


def _layout(layout: tuple[Held, ...]) -> list[list[object]]:
    return [[held.variation, held.slots] for held in layout]


def _read_weighted(rows: list[list[Any]]) -> tuple[Weighted, ...]:
    return tuple(Weighted(variation=variation, weight=weight) for variation, weight in rows)


def _read_copied(rows: list[list[Any]]) -> tuple[Copied, ...]:
    return tuple(Copied(variation=variation, sample=sample) for variation, sample in rows)


def _read_layout(rows: list[list[Any]]) -> tuple[Held, ...]:
    return tuple(Held(variation=variation, slots=slots) for variation, slots in rows)
