"""The ports of the ledger: facts, looks, samples, documents, leases, keepers, notes, chain. Adapters: `memory`, `sql`.

Code that needs one of them takes that one. `Ledger` is all of them, for adapters and the composition root.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
    """The facts of every rollout, and the states that result from them."""

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        """Append Requested as the first fact of a new rollout. Raises LedgerConflict if the id is in use."""
        ...

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        """Append a fact and return the state after it."""
        ...

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        """Record what an order leads to. If `decide` raises, nothing is recorded.

        Raises UsageError for a key that was used for another order.
        """
        ...

    def rollout(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        ...

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        """The rollouts that matter now: open, trusted by a target, or of an open experiment; oldest first."""
        ...

    def current_of(self, models: Collection[str]) -> tuple[Rollout, ...]:
        """The rollouts of these models that matter now, oldest first. Costs as much as these have."""
        ...

    def served_models(self) -> tuple[str, ...]:
        """Every model that has a build in service, by name."""
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

    def count(self, selection: Selection = ALL, *, most: int | None = None) -> int:
        """How many rollouts the selection admits, ignoring its `newest`; counts no further than `most`."""
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
        """At most `limit` facts of all rollouts or of one model's, in the order of recording, from the place after
        `after`
        to the one before `before`."""
        ...

    def feed_end(self) -> int:
        """The place of the last fact; 0 if there is none."""
        ...

    def position(self) -> int:
        """A number that grows with every append and every applied or withdrawn document. If equal, nothing changed."""
        ...


class Looks(Protocol):
    """Recorded judgements, each stored once."""

    def record_look(self, look: Look) -> Look:
        """Store a look, or return the one that is already stored."""
        ...

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        """The rollout's looks, ordered by metric and k."""
        ...

    def last_looks(self, *rollouts: str) -> tuple[Look, ...]:
        """The look with the highest k of each metric of these rollouts, ordered by rollout and metric."""
        ...


class Samples(Protocol):
    """Readings for external gates, each stored once."""

    def record_sample(self, sample: Sample) -> Sample:
        """Store a sample, or return the one that is already stored under its number."""
        ...

    def samples(self, rollout: str, gate: str, *, most: int) -> tuple[Sample, ...]:
        """The last `most` samples of a rollout for a gate, ordered by k."""
        ...


class Documents(Protocol):
    """Documents that people apply: plans, audiences, connections, freezes."""

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        """Store a document. Returns False if the latest of its kind and name has the same digest.

        `over` is the digest of the latest document that the caller knows, empty if it knows none. Raises LedgerConflict
        if
        another one is the latest by now.
        """
        ...

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        """Take a document out of force; its history stays. Returns False if none is in force."""
        ...

    def applied(self, kind: str, name: str) -> Applied | None:
        """The latest document of this kind and name."""
        ...

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The latest documents of this kind, sorted by name."""
        ...

    def applied_among(self, kind: str, names: Collection[str]) -> Sequence[Applied]:
        """The latest documents of this kind that have one of these names, sorted by name."""
        ...

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first, withdrawals included."""
        ...


class Leases(Protocol):
    """Which driver says that it works on which rollout. A courtesy: correctness never depends on it."""

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        """Take or renew a lease. Returns False while another owner's lease has not expired."""
        ...

    def drop_lease(self, rollout: str, owner: str) -> None:
        """Give a lease back. Another owner's lease is left alone."""
        ...

    def leases(self) -> Sequence[Lease]:
        """Every lease, expired ones included."""
        ...


class Election(Protocol):
    """Which of the ledger's keepers leads. A fence checks its acts, so the election may be wrong for moments."""

    def stand(self, keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]) -> Keeping:
        """Take or renew the lease, unless another keeper's has not ended and that keeper is not known to be gone.

        Returns the leader. A database that several hosts share uses its own clock; otherwise `now` counts.
        """
        ...

    def resign(self, keeper: str) -> None:
        """End a keeper's lease. Another keeper's lease is left alone."""
        ...

    def keepers(self, now: datetime) -> tuple[Keeping, ...]:
        """Recently seen keepers, the one that took the lease last first. `until` is set only for the leader."""
        ...


class Notes(Protocol):
    """What a process wants to know again after a restart. Notes next to the facts: nothing depends on them."""

    def remember(self, key: str, value: dict[str, object]) -> None:
        """Store a small value that is not a fact, such as the result of the last poll. The last write counts."""
        ...

    def recall(self, key: str) -> dict[str, object] | None:
        """The value that `remember` stored under this key."""
        ...


class Verified(Protocol):
    """A record whose facts, looks and documents are linked to each other."""

    def verify(self, kept: Head | None = None) -> Examination:
        """Find what was changed, removed, added or reordered. `kept` is a head that somebody kept elsewhere."""
        ...


class Ledger(Facts, Looks, Samples, Documents, Leases, Election, Notes, Verified, Protocol):
    """The record that all processes share.

    Promises, each tested on every adapter by tests/contract/test_ledger.py:

    - `append` succeeds only if `expected` is the seq after the rollout's last fact. Of two writers, one gets
      LedgerConflict. Nothing is ever changed or removed.
    - A fact that the rollout's phase does not allow raises IllegalMove and leaves no trace.
    - At most one rollout holds a target: `Begun` raises TargetBusy while another one does.
    - `record_look` stores a look once for each (rollout, metric, k) and returns the stored one, whoever was first.
    - `record_sample` does the same for each (rollout, gate, k).
    - `commit` records everything that `decide` returns, or nothing, and nobody else records in between. A key that was
      committed before returns its first receipt, without calling `decide`.
    - One of all keepers that stand for election leads at a time, by the ledger's clock, and each that takes over has a
      higher term than any before.
    - `verify` finds whatever was changed, removed, added or reordered among facts, looks and documents.
    - What a call has recorded is durable before the call returns.
    - Times are aware and in UTC. Any number of processes may read and write.
    """
