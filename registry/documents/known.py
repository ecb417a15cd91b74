"""Documents in force: those that were applied, and the record of traffic in the form of documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sluicegate.registry.documents.connections_document import ConnectionsDocument, connections_document
from sluicegate.registry.documents.diff import Known
from sluicegate.registry.documents.documents import KINDS, VIEWS
from sluicegate.registry.documents.variation_document import VariationDocument, variation_document
from sluicegate.registry.ledger.record import Record
from sluicegate.registry.orders.answering import filled_by, unrecorded
from sluicegate.registry.orders.connections_record import KIND as TRAFFIC
from sluicegate.registry.orders.connections_record import all_connections
from sluicegate.registry.rollout.rollout import Rollout

View = ConnectionsDocument | VariationDocument


def known_documents(record: Record) -> tuple[Known, ...]:
    """Every document in force, by kind and name."""
    stored = (each for kind in KINDS if kind not in VIEWS for each in record.all_applied(kind))
    applied = [
        Known(kind=each.kind, name=each.name, digest=each.digest, body=each.body, actor=each.actor, at=each.at)
        for each in stored
    ]
    return (*applied, *_views(record))


def known_view(record: Record, kind: str, name: str) -> View | None:
    """The record of traffic for a name, as a document of this kind; None if there is none."""
    return next((view for view in _all_views(record) if (view.kind, KINDS[view.kind].name(view)) == (kind, name)), None)


def _views(record: Record) -> Iterator[Known]:
    by_model = {each.name: each for each in record.all_applied(TRAFFIC)}
    for view in _all_views(record):
        recorded = by_model.get(view.model)
        yield Known(
            kind=view.kind, name=KINDS[view.kind].name(view), digest=view.digest, body=view.document(),
            is_bare=view.is_bare, actor=recorded.actor if recorded else None, at=recorded.at if recorded else None,
        )  # fmt: skip


def _all_views(record: Record) -> Iterator[View]:
    """The connections of every model that has a variation, then the properties of every variation."""
    recorded, current = all_connections(record), defaultdict[str, list[Rollout]](list)
    for rollout in record.current():
        current[rollout.requested.model].append(rollout)
    connections = {model: recorded.get(model) or unrecorded(model) for model in sorted({*record.models(), *recorded})}
    variations = {model: filled_by(current[model]) for model in connections}
    yield from (connections_document(each) for model, each in connections.items() if variations[model])
    for model, names in variations.items():
        yield from (variation_document(model, connections[model].terms_of(name)) for name in names)
