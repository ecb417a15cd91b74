"""The ports of the ledger: facts, looks, samples, documents, leases, keepers, notes, chain. Adapters: `memory`, `sql`.

Whoever needs one of them takes that one; `Ledger` is all of them, as adapters and the composition root know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sluicegate.registry.ledger.chain import Examination, Head
from sluicegate.registry.ledger.record import Applied, Changes, Fed, Keeping, Lease, OrderKey, Receipt, Record
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.rollout.facts import Entry, Fact, Requested
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover
from sluicegate.registry.words.sample import Sample
from sluicegate.registry.words.verdict import Look


class Facts(Protocol):
    """The facts of every rollout, and what they add up to."""

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        """Append Requested as the first fact of a new rollout. Raises LedgerConflict when the id is taken."""
        ...

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        """Append a fact and return the state after it."""
        ...

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        """Record what an order comes to. What `decide` raises leaves no trace.

        Raises UsageError for a key that stands for another order.
        """
        ...

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

    def count(self, selection: Selection = ALL, *, most: int | None = None) -> int:
        """How many rollouts are wanted, `newest` left aside; nothing is counted beyond `most`."""
        ...

    def compared_models(self) -> tuple[str, ...]:
        """Every model that had an experiment, by name."""
        ...

    def entries(self, rollout: str, *, after: int = -1) -> tuple[Entry, ...]:
        """The rollout's facts with a seq above `after`, in order."""
        ...

    def feed(
        self, *, after: int = 0, before: int | None = None, limit: int = 500, model: str | None = None
    ) -> tuple[Fed, ...]:  # fmt: skip
        """At most `limit` facts of all rollouts, or of a model's, in the order they were appended, from the place after
        `after`, up to the one before `before`."""
        ...

    def feed_end(self) -> int:
        """The place of the last fact; 0 when there is none."""
        ...

    def position(self) -> int:
        """A number that grows with every append and every applied or withdrawn document; equal: nothing changed."""
        ...


class Looks(Protocol):
    """Judgements as they were made, each once."""

    def record_look(self, look: Look) -> Look:
        """Store a look, or return the one that is already there."""
        ...

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        """The rollout's looks in order of metric and k."""
        ...

    def last_looks(self, *rollouts: str) -> tuple[Look, ...]:
        """Of each metric of each of these rollouts the look with the highest k, in order of rollout and metric."""
        ...


class Samples(Protocol):
    """Readings for external gates, each once."""

    def record_sample(self, sample: Sample) -> Sample:
        """Store a sample, or return the one that is already there under its number."""
        ...

    def samples(self, rollout: str, gate: str, *, most: int) -> tuple[Sample, ...]:
        """At most so many of a rollout's samples for a gate, the last ones, in order of k."""
        ...


class Documents(Protocol):
    """Documents that people apply: plans, audiences, connections, freezes."""

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        """Store a document; False when the latest of its kind and name has the same digest.

        `over` is the digest of the latest as the caller knows it, empty where it knows none: LedgerConflict where
        another one counts by now.
        """
        ...

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        """Let a document count no longer; its history stays. False when none counts."""
        ...

    def applied(self, kind: str, name: str) -> Applied | None:
        """The latest document of this kind and name."""
        ...

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The latest documents of this kind, by name."""
        ...

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first; one that ends the ones before it among them."""
        ...


class Leases(Protocol):
    """Who says that it works on which rollout. A courtesy: correctness never rests on it."""

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        """Take or renew; False while another owner's lease has not expired."""
        ...

    def drop_lease(self, rollout: str, owner: str) -> None:
        """Give a lease back; another owner's is left alone."""
        ...

    def leases(self) -> Sequence[Lease]:
        """Every lease, expired ones included."""
        ...


class Election(Protocol):
    """Which of all keepers of the ledger leads. What it decides is behind a fence: it need not hold at every moment."""

    def stand(self, keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]) -> Keeping:
        """Take the lease or renew it, unless another keeper's has not ended and that is not known to be gone.

        Who leads now. A database that several hosts share goes by its own clock; `now` counts elsewhere.
        """
        ...

    def resign(self, keeper: str) -> None:
        """End a keeper's lease; another keeper's is left alone."""
        ...

    def keepers(self, now: datetime) -> tuple[Keeping, ...]:
        """Every keeper that was seen lately, the one that took the lease last at first; `until` only where it leads."""
        ...


class Notes(Protocol):
    """What a process wants to know again after a restart. A note beside the facts: nothing rests on it."""

    def remember(self, key: str, value: dict[str, object]) -> None:
        """Keep a small value that is not a fact, such as what a poll saw last. The last write counts."""
        ...

    def recall(self, key: str) -> dict[str, object] | None:
        """What `remember` kept under this key."""
        ...


class Verified(Protocol):
    """A record whose facts, looks and documents are linked to one another."""

    def verify(self, kept: Head | None = None) -> Examination:
        """What was changed, is missing, was added or stands in another order; `kept` is a head kept elsewhere."""
        ...


class Ledger(Facts, Looks, Samples, Documents, Leases, Election, Notes, Verified, Protocol):
    """The record that every process shares.

    Promises, each tested on every adapter by tests/contract/test_ledger.py:

    - `append` succeeds only when `expected` is the seq after the rollout's last fact; of two writers one gets
      LedgerConflict. Nothing is ever changed or removed.
    - A fact that the rollout's phase does not admit raises IllegalMove and leaves no trace.
    - At most one rollout of a target holds it: `Begun` raises TargetBusy while another does.
    - `record_look` stores a look once for each (rollout, metric, k) and returns the stored one, whoever was first.
    - `record_sample` does the same for each (rollout, gate, k).
    - `commit` records everything that `decide` answers, or nothing; nobody else records in between. A key that was
      committed before gives its first receipt again, and `decide` is not asked.
    - Of all keepers that stand for election one leads at a time, by the ledger's clock, and each that takes over has a
      higher term than any before.
    - `verify` finds whatever was changed, removed, added or reordered among facts, looks and documents.
    - What a call returned has been made durable before it returned.
    - Times are aware and in UTC. Any number of processes may read and write.
    """
