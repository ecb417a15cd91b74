"""Audiences and connections as JSON values, and where the ledger keeps them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

from sluicegate.registry.audience.connections import (
    FALLBACK,
    Connection,
    Connections,
    Copied,
    StandIn,
    Terms,
    Weighted,
    settled,
)
from sluicegate.registry.audience.layout import SlotRun
from sluicegate.registry.audience.rules import faults
from sluicegate.registry.audience.short_form import audience_recorded, audience_written
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.guarding import guard_rollouts
from sluicegate.registry.words.digest import digest_of
from sluicegate.registry.words.errors import UsageError

KIND = "traffic"
"""The kind of document in which connections are applied. Its name is the model's."""

Row = TypeVar("Row", Weighted, Copied, SlotRun)


class Documents(Protocol):
    """Read access to applied documents."""

    def applied(self, kind: str, name: str) -> Applied | None: ...

    def all_applied(self, kind: str) -> Sequence[Applied]: ...


class NamedDocuments(Protocol):
    """Read access to the applied documents with given names."""

    def applied_among(self, kind: str, names: Collection[str]) -> Sequence[Applied]: ...


def record_connections(draft: Draft, wanted: Connections, actor: str) -> bool:
    """Record who gets what from now on, moving as few units as possible. Returns False if nothing changes.

    Rollouts in progress get a fact if what they change became protected or no longer is.

    Raises UsageError for connections that the data plane would refuse, which would block every model's changes.
    """
    _refuse(wanted)
    before = connections_of(draft, wanted.model)
    after = settled(wanted, before)
    document_ = Applied(
        kind=KIND, name=wanted.model, body=document(after), digest=digest(after), actor=actor, at=draft.now
    )
    guard_rollouts(draft, before or Connections(model=wanted.model), after, actor)
    return draft.apply(document_)


def digest(connections: Connections | None) -> str:
    """The digest that identifies connections; empty if there are none."""
    if connections is None:
        return ""
    return digest_of(document(connections))[:16]


def _refuse(wanted: Connections) -> None:
    names = [each.audience.name for each in wanted.ordered]
    twice = sorted({name for name in names if names.count(name) > 1 or name == FALLBACK})
    if twice:
        raise UsageError(
            f"{wanted.model}: audience {', '.join(twice)} is named twice, or is {FALLBACK}, the fallback's name."
        )
    wrong = [(each.audience.name, fault) for each in wanted.ordered for fault in faults(each.audience.condition)]
    if wrong:
        raise UsageError("; ".join(f"audience {name}: {fault}" for name, fault in wrong))


def connections_of(ledger: Documents, model: str) -> Connections | None:
    """A model's connections; None if it has none."""
    applied = ledger.applied(KIND, model)
    return None if applied is None or is_withdrawn(applied) else read(applied.body)


def all_connections(ledger: Documents) -> dict[str, Connections]:
    """Every model's connections, by model."""
    return _by_model(ledger.all_applied(KIND))


def connections_among(ledger: NamedDocuments, models: Collection[str]) -> dict[str, Connections]:
    """The connections of these models, by model."""
    return _by_model(ledger.applied_among(KIND, models))


def _by_model(documents: Iterable[Applied]) -> dict[str, Connections]:
    return {applied.name: read(applied.body) for applied in documents if not is_withdrawn(applied)}


def document(connections: Connections) -> dict[str, object]:
    """The connections as JSON values, audiences in the short form."""
    ordered = [asdict(each) | {"audience": audience_written(each.audience)} for each in connections.ordered]
    return asdict(connections) | {"ordered": ordered}


def read(body: Mapping[str, Any]) -> Connections:
    """The connections that `document` wrote."""
    return Connections(
        model=body["model"],
        ordered=tuple(
            Connection(
                audience=audience_recorded(each["audience"]),
                weighted=_rows(Weighted, each["weighted"]),
                copied=_rows(Copied, each["copied"]),
                layout=_rows(SlotRun, each["layout"]),
            )
            for each in body["ordered"]
        ),
        fallback=_rows(Weighted, body["fallback"]),
        fallback_copied=_rows(Copied, body["fallback_copied"]),
        fallback_layout=_rows(SlotRun, body["fallback_layout"]),
        terms=tuple(map(_terms, body.get("terms", ()))),
    )


def _terms(row: Mapping[str, Any]) -> Terms:
    return Terms(**{**row, "stand_in": StandIn(row.get("stand_in", StandIn.NEVER))})


def _rows(kind: Callable[..., Row], rows: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(kind(**row) for row in rows)
