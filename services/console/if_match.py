"""If-Match: an order that holds only while the rollout is as its reader saw it (RFC 9110, section 13.1.1)."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from registry.errors import PreconditionFailed, UsageError
from registry.facts import Fact
from registry.ledger import Ledger
from registry.rollout import Rollout


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
