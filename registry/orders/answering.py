"""Answering: which variations answer callers, now and while an earlier build was stable. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from sluicegate.registry.audience.connections import FALLBACK, Connections, Weighted
from sluicegate.registry.ledger.record import Applied, Record
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders.connections_record import KIND, connections_of, read
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import Refused

Period = tuple[datetime | None, datetime | None]
"""Beginning and end; None: open on that side."""


def has_traffic(record: Record, model: str, variation: str) -> bool:
    """Whether this variation answers callers."""
    return _answers(present_connections(record, model, None), variation)


def moves_callers(record: Record, former: Rollout) -> bool:
    """Whether a rollback would give a build callers that it never had while it was stable."""
    model, variation = former.target
    if not _answers(connections_of(record, model) or unrecorded(model), variation):
        return False
    over = record.takeovers(model, variation)
    ends = [*(each.at for each in over[1:]), None]
    answering = list(_answering(record, model, variation))
    return not any(
        _overlap((each.at, end), period)
        for each, end in zip(over, ends, strict=True)
        if each.version == former.requested.version
        for period in answering
    )


def others_serve(record: Record, model: str, variation: str) -> bool:
    """Whether another variation holds a build. If not, there are no callers who could be moved."""
    return any(each.variation != variation for each in standings(record.current(model)))


def main_variation(record: Record, model: str) -> str:
    """The variation that serves requests of no audience; if there are several, the heaviest."""
    recorded = connections_of(record, model)
    return recorded.fallback_variation if recorded is not None else FALLBACK


def unrecorded(model: str) -> Connections:
    """The connections of a model without recorded ones: the variation `default` gets every request."""
    return Connections(model=model, fallback=(Weighted(variation=FALLBACK),))


def present_connections(record: Record, model: str, fallback: str | None) -> Connections:
    """The model's connections. Raises Refused if it has none and no variation is the fallback."""
    recorded = connections_of(record, model)
    if recorded is not None:
        return recorded
    variations = filled(record, model)
    chosen = fallback or (variations[0] if len(variations) == 1 else FALLBACK)
    if variations and chosen not in variations:
        raise Refused(
            f"{model} has the variations {', '.join(variations)}, but none of them is the fallback yet.",
            fix=f"sluice variation connect {model} {variations[0]} --fallback",
        )
    return Connections(model=model, fallback=(Weighted(variation=chosen),))


def filled(record: Record, model: str) -> list[str]:
    """A model's variations that hold a build or are getting their first one, sorted by name."""
    return filled_by(record.current(model))


def filled_by(rollouts: Sequence[Rollout]) -> list[str]:
    """The same from a model's current rollouts."""
    getting = {each.requested.variation for each in rollouts if each.is_under_way and not each.is_aside}
    return sorted(getting | {each.variation for each in standings(rollouts)})


def _recorded(model: str, document: Applied | None) -> Connections:
    """The connections in a document; the unrecorded ones if there was none yet or they were withdrawn."""
    return unrecorded(model) if document is None or is_withdrawn(document) else read(document.body)


def _answering(record: Record, model: str, variation: str) -> Iterator[Period]:
    """The periods in which this variation answered callers."""
    for document, after in pairwise([None, *record.history(KIND, model), None]):
        if _answers(_recorded(model, document), variation):
            yield (document.at if document else None), (after.at if after else None)


def _overlap(one: Period, other: Period) -> bool:
    (since, until), (begin, end) = one, other
    return (begin is None or until is None or begin < until) and (end is None or since is None or since < end)


def _answers(connections: Connections, variation: str) -> bool:
    groups = [connections.fallback, *(each.weighted for each in connections.ordered)]
    return any(part.variation == variation and part.weight > 0 for group in groups for part in group)
