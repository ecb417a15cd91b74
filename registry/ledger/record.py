"""The record as values: documents that were applied, facts as they are fed, what an order adds. Pure."""

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
    """A document that somebody applied, such as a plan; the latest of its kind and name counts."""

    kind: str
    name: str
    body: dict[str, object]
    digest: str
    actor: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Fed:
    """An entry and its place in the order in which all rollouts' facts were appended."""

    place: int
    """From 1, growing; not every number need occur."""
    entry: Entry


LONGEST_LEASE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A driver's courtesy note that it works on a rollout. Correctness never rests on it."""

    rollout: str
    owner: str
    expires_at: datetime

    def keeps_away(self, now: datetime) -> bool:
        """Whether another driver must wait. One that ends in the far future was written by a clock set back since."""
        return now < self.expires_at <= now + LONGEST_LEASE


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is known of a keeper: whether it leads, or stands by."""

    keeper: str
    """Which process it is."""
    term: int = 0
    """Grows with each keeper that takes over; 0 where it only stands by."""
    until: datetime | None = None
    """When its lease ends."""
    seen_at: datetime
    """When it stood for election last."""


class Record(Protocol):
    """What orders are decided from. Inside `commit` it stays as it is until what was decided is recorded."""

    def rollout(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        ...

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        """The rollouts on which something rests: open ones, what targets trust, whole experiments; oldest first."""
        ...

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        """Those of all rollouts that are wanted, oldest first. Reading the past costs what is read of it."""
        ...

    def models(self) -> tuple[str, ...]:
        """Every model that has a rollout, by name."""
        ...

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        """Every build that a target came to trust, oldest first."""
        ...

    def applied(self, kind: str, name: str) -> Applied | None:
        """The document of this kind and name that counts."""
        ...

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The documents of this kind that count, by name."""
        ...

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first; one that ends the ones before it among them."""
        ...


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What came of an order."""

    rollout: str | None = None
    """The rollout that it is about, or that it led to; none for orders on documents."""
    changed: bool = True
    """Whether anything was recorded; an order for what is so already changes nothing."""
    created: bool = False
    """Whether it made a rollout."""
    repeated: bool = False
    """Whether an order with the same key was carried out before, and this is its receipt."""
    proposal: str | None = None
    """The proposal that it is kept as, until a second named person approves it; none: it was carried out."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Everything that one order records: all of it at once, or nothing."""

    entries: tuple[Entry, ...] = ()
    """Facts in the order in which they follow from one another, over as many rollouts as it takes."""
    documents: tuple[Applied, ...] = ()
    """Documents that are applied or withdrawn."""
    receipt: Receipt


@dataclass(frozen=True, kw_only=True)
class OrderKey:
    """By what an order is known when it is sent again."""

    key: str
    """Chosen by whoever gives the order, once for each order."""
    digest: str
    """Of the order: the same key with another digest is a mistake."""
    at: datetime
    """When the order was given."""
