"""The record as values: applied documents, facts of the feed, and what an order adds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A document that somebody applied, such as a plan. The latest of its kind and name is in force."""

    kind: str
    name: str
    body: dict[str, object]
    digest: str
    actor: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Fed:
    """An entry and its place in the order of recording of all rollouts' facts."""

    place: int
    """From 1, growing; numbers may be missing."""
    entry: Entry


LONGEST_LEASE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A driver's courtesy note that it works on a rollout. Correctness never depends on it."""

    rollout: str
    owner: str
    expires_at: datetime

    def keeps_away(self, now: datetime) -> bool:
        """Whether other drivers must wait. A lease far into the future was written before a clock was set back."""
        return now < self.expires_at <= now + LONGEST_LEASE


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is known about a keeper: whether it leads or stands by."""

    keeper: str
    """Which process it is."""
    term: int = 0
    """Grows with each keeper that takes over; 0 if it only stands by."""
    until: datetime | None = None
    """When its lease ends."""
    seen_at: datetime
    """When it last stood for election."""


class Record(Protocol):
    """What orders are decided from. Inside `commit` it does not change until the decision is recorded."""

    def rollout(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        ...

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        """The rollouts that matter now: open, trusted by a target, or of an open experiment; oldest first."""
        ...

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        """The rollouts that the selection admits, oldest first. Reading past ones costs as much as is read."""
        ...

    def models(self) -> tuple[str, ...]:
        """Every model that has a rollout, by name."""
        ...

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        """Every build that a target began to trust, oldest first."""
        ...

    def applied(self, kind: str, name: str) -> Applied | None:
        """The document of this kind and name that is in force."""
        ...

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The documents of this kind that are in force, sorted by name."""
        ...

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first, withdrawals included."""
        ...


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The result of an order."""

    rollout: str | None = None
    """The rollout that the order is about or created; None for orders on documents."""
    changed: bool = True
    """Whether anything was recorded. An order for what is already so changes nothing."""
    created: bool = False
    """Whether it created a rollout."""
    repeated: bool = False
    """Whether an order with the same key was carried out before, and this is its receipt."""
    proposal: str | None = None
    """The proposal that it became until a second named person approves it; None: it was carried out."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Everything that one order records, all at once or not at all."""

    entries: tuple[Entry, ...] = ()
    """Facts in the order in which they follow from each other, possibly of several rollouts."""
    documents: tuple[Applied, ...] = ()
    """Documents that are applied or withdrawn."""
    receipt: Receipt


@dataclass(frozen=True, kw_only=True)
class OrderKey:
    """Identifies an order that is sent again."""

    key: str
    """Chosen by the giver, once for each order."""
    digest: str
    """Digest of the order: the same key with another digest is a mistake."""
    at: datetime
    """When the order was given."""
