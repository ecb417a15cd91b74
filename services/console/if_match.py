"""If-Match: an order that holds only while what it is about is as its reader saw it (RFC 9110, section 13.1.1)."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.ledger.port import Applied, Ledger
from sluicegate.registry.orders.connections_record import KIND, digest
from sluicegate.registry.rollout.facts import Fact
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import PreconditionFailed, UsageError


def etag(rollout: Rollout) -> str:
    """The entity tag of a rollout: it changes with every fact."""
    return f'"{rollout.id}.{rollout.seq}"'


def expecting(ledger: Ledger, if_match: str | None) -> Ledger:
    """The ledger, which appends only to a rollout that still has this entity tag; without one, to any.

    Raises UsageError for a tag that `etag` did not make.
    """
    if if_match is None or if_match == "*":
        return ledger
    name, _, seq = if_match.strip('"').rpartition(".")
    if not name or not seq.isdigit():
        raise UsageError(f"If-Match: {if_match!r} is not an entity tag of a rollout.", fix="send the ETag of its GET")
    return cast("Ledger", _Expecting(ledger, int(seq)))


def connections_etag(connections: Connections | None) -> str:
    """The entity tag of a model's connections, without quotes."""
    return f"c-{digest(connections)}"


def expecting_connections(ledger: Ledger, model: str, if_match: str | None) -> Ledger:
    """The ledger, which changes the model's connections only while they have this entity tag; without one, any.

    Raises UsageError for a tag that `connections_etag` did not make.
    """
    if if_match is None or if_match == "*":
        return ledger
    prefix, _, seen = if_match.strip('"').partition("-")
    if prefix != "c":
        raise UsageError(
            f"If-Match: {if_match!r} is not an entity tag of connections.",
            fix=f"send the ETag of GET /api/v1/models/{model}/connections",
        )
    return cast("Ledger", _ExpectingConnections(ledger, model, seen))


class _ExpectingConnections:
    def __init__(self, ledger: Ledger, model: str, seen: str) -> None:
        self._ledger = ledger
        self._model = model
        self._seen = seen

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        if (document.kind, document.name) == (KIND, self._model) and over != self._seen:
            raise PreconditionFailed(
                f"the connections of {self._model} are others by now.", fix="read them again, then decide anew."
            )
        return self._ledger.apply(document, over=over)


class _Expecting:
    def __init__(self, ledger: Ledger, seq: int) -> None:
        self._ledger = ledger
        self._seq = seq

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        if expected != self._seq + 1:
            raise PreconditionFailed(
                f"rollout {rollout} has moved on: it is at seq {expected - 1}, not {self._seq}.",
                fix="read it again, then decide anew.",
            )
        return self._ledger.append(rollout, expected, fact, at)
