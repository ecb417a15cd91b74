"""Connections as JSON values, and where the ledger keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from pydantic import TypeAdapter

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.audience.short_form import audience_recorded, audience_written
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.words.digest import digest_of

KIND = "traffic"
"""The kind of document in which connections are applied. Its name is the model's."""


class Documents(Protocol):
    """Read access to applied documents."""

    def applied(self, kind: str, name: str) -> Applied | None: ...

    def all_applied(self, kind: str) -> Sequence[Applied]: ...


class NamedDocuments(Protocol):
    """Read access to the applied documents with given names."""

    def applied_among(self, kind: str, names: Collection[str]) -> Sequence[Applied]: ...


def digest(connections: Connections | None) -> str:
    """The digest that identifies connections; empty if there are none."""
    if connections is None:
        return ""
    return digest_of(document(connections))[:16]


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
    ordered = [{**each, "audience": audience_recorded(each["audience"])} for each in body["ordered"]]
    return _CONNECTIONS.validate_python({**body, "ordered": ordered})


_CONNECTIONS = TypeAdapter(Connections)
