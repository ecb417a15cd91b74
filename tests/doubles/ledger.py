"""The ledger in memory: for tests and simulations. Keeps every promise but durability."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from threading import RLock

from sluicegate.registry.ledger.chain import COLUMNS, START, Examination, Head, Kind, Link, Row, examine, seal
from sluicegate.registry.ledger.columns import document_columns, entry_columns
from sluicegate.registry.ledger.election import forgotten, lately_seen, leader, stand
from sluicegate.registry.ledger.folds import Folds, id_taken
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.ledger.receipts import repeated
from sluicegate.registry.ledger.record import Applied, Changes, Fed, Keeping, Lease, OrderKey, Receipt, Record
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.ledger.stale import refuse_stale
from sluicegate.registry.ledger.times import utc
from sluicegate.registry.ledger.withdrawal import is_withdrawn, withdrawn
from sluicegate.registry.rollout.external import LAST
from sluicegate.registry.rollout.facts import Entry, Fact, Requested, from_payload, to_payload
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover, takeovers
from sluicegate.registry.words.sample import Sample
from sluicegate.registry.words.verdict import Look


class MemoryLedger:
    """A Ledger for one process."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._folds = Folds(lately=None)
        self._entries: dict[str, list[Entry]] = {}
        self._feed: list[Fed] = []
        self._looks: dict[tuple[str, str, int], str] = {}
        self._samples: dict[tuple[str, str, int], Sample] = {}
        self._documents: list[Applied] = []
        self._leases: dict[str, Lease] = {}
        self._keepers: dict[str, Keeping] = {}
        self._notes: dict[str, dict[str, object]] = {}
        self._receipts: dict[str, tuple[str, Receipt]] = {}
        self._position = 0
        self._links: list[Link] = []

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        with self._lock:
            if rollout in self._entries:
                raise id_taken(rollout)
            return self._keep(Entry(rollout=rollout, seq=0, at=utc(at), fact=_own(requested)))

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        with self._lock:
            self._folds.expect(rollout, expected)
            entry = Entry(rollout=rollout, seq=expected, at=utc(at), fact=_own(fact))
            self._folds.refuse_busy(self._folds.after(entry))
            return self._keep(entry)

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        with self._lock:
            if key is not None and key.key in self._receipts:
                return repeated(key, *self._receipts[key.key])
            changes = decide(self)
            self._folds.moves(changes.entries)  # refuses what cannot follow
            for entry in changes.entries:
                self._keep(replace(entry, fact=_own(entry.fact)))
            for document in changes.documents:
                self._keep_document(copy.deepcopy(document))
            if key is not None:
                self._receipts[key.key] = (key.digest, changes.receipt)
            return changes.receipt

    def _keep(self, entry: Entry) -> Rollout:
        state = self._folds.take(entry, len(self._feed) + 1)
        self._entries.setdefault(entry.rollout, []).append(entry)
        self._feed.append(Fed(place=len(self._feed) + 1, entry=entry))
        self._position += 1
        self._seal(_entry_row(self._feed[-1]))
        return state

    def _keep_document(self, document: Applied) -> None:
        self._documents.append(document)
        self._position += 1
        self._seal(_document_row(len(self._documents), document))

    def _seal(self, row: Row) -> None:
        self._links.append(seal(self._links[-1].head if self._links else START, row))

    def verify(self, kept: Head | None = None) -> Examination:
        with self._lock:
            facts = [_entry_row(fed) for fed in self._feed]
            documents = [_document_row(number, each) for number, each in enumerate(self._documents, start=1)]
            looks = [_look_row(key, body) for key, body in self._looks.items()]
            head = self._links[-1].head if self._links else START
            return examine(self._links, (*facts, *looks, *documents), head, kept=kept)

    def rollout(self, rollout: str) -> Rollout:
        with self._lock:
            return self._folds.get(rollout)

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        with self._lock:
            return self._folds.current(model)

    def current_of(self, models: Collection[str]) -> tuple[Rollout, ...]:
        with self._lock:
            return self._folds.current_of(models)

    def served_models(self) -> tuple[str, ...]:
        with self._lock:
            return self._folds.served_models()

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        with self._lock:
            places = {fed.entry.rollout: fed.place for fed in self._feed}
            after = -1 if selection.changed_after is None else selection.changed_after
            return tuple(each for each in self._folds.select(selection) if places[each.id] > after)

    def count(self, selection: Selection = ALL, *, most: int | None = None) -> int:
        return len(self.rollouts(replace(selection, newest=None))[:most])

    def compared_models(self) -> tuple[str, ...]:
        return tuple(sorted({each.requested.model for each in self.rollouts(Selection(comparisons=True))}))

    def models(self) -> tuple[str, ...]:
        return tuple(sorted({each.requested.model for each in self.rollouts()}))

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        return takeovers(self.rollouts(Selection(model=model, variation=variation)))

    def entries(self, rollout: str, *, after: int = -1) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(entry for entry in self._entries.get(rollout, ()) if entry.seq > after)

    def feed(
        self, *, after: int = 0, before: int | None = None, limit: int = 500, model: str | None = None
    ) -> tuple[Fed, ...]:  # fmt: skip
        with self._lock:
            until = len(self._feed) if before is None else max(after, before - 1)
            fed = self._feed[after:until]
            of_model = [each for each in fed if model in (None, self._model_of(each.entry.rollout))]
            return tuple(of_model[:limit])

    def _model_of(self, rollout: str) -> str:
        return self._folds.get(rollout).requested.model

    def feed_end(self) -> int:
        with self._lock:
            return len(self._feed)

    def position(self) -> int:
        with self._lock:
            return self._position

    def record_look(self, look: Look) -> Look:
        with self._lock:
            key = (look.rollout, look.metric, look.k)
            if key not in self._looks:
                self._looks[key] = look_to_json(look)
                self._seal(_look_row(key, self._looks[key]))
            return look_from_json(self._looks[key])

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        with self._lock:
            keys = sorted(key for key in self._looks if key[0] == rollout and metric in (None, key[1]))
            return tuple(look_from_json(self._looks[key]) for key in keys)

    def last_looks(self, *rollouts: str) -> tuple[Look, ...]:
        last = {(name, look.metric): look for name in sorted({*rollouts}) for look in self.looks(name)}
        return tuple(last.values())

    def record_sample(self, sample: Sample) -> Sample:
        with self._lock:
            kept = self._samples.setdefault((sample.rollout, sample.gate, sample.k), sample)
            self._samples.pop((sample.rollout, sample.gate, sample.k - LAST), None)
            return kept

    def samples(self, rollout: str, gate: str, *, most: int) -> tuple[Sample, ...]:
        with self._lock:
            return tuple(self._samples[key] for key in sorted(self._samples) if key[:2] == (rollout, gate))[-most:]

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        with self._lock:
            latest = self.applied(document.kind, document.name)
            refuse_stale(document, latest, over)
            if latest is not None and latest.digest == document.digest:
                return False
            self._keep_document(copy.deepcopy(document))
            return True

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        with self._lock:
            if self.applied(kind, name) is None:
                return False
            self._keep_document(withdrawn(kind, name, actor, at))
            return True

    def applied(self, kind: str, name: str) -> Applied | None:
        return next((document for document in self.all_applied(kind) if document.name == name), None)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        with self._lock:
            latest = {document.name: document for document in self._documents if document.kind == kind}
            return [copy.deepcopy(latest[name]) for name in sorted(latest) if not is_withdrawn(latest[name])]

    def applied_among(self, kind: str, names: Collection[str]) -> Sequence[Applied]:
        return [document for document in self.all_applied(kind) if document.name in names]

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        with self._lock:
            return [copy.deepcopy(each) for each in self._documents if (each.kind, each.name) == (kind, name)]

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        with self._lock:
            held = self._leases.get(lease.rollout)
            if held is not None and held.owner != lease.owner and held.keeps_away(now):
                return False
            self._leases[lease.rollout] = lease
            return True

    def drop_lease(self, rollout: str, owner: str) -> None:
        with self._lock:
            held = self._leases.get(rollout)
            if held is not None and held.owner == owner:
                del self._leases[rollout]

    def leases(self) -> Sequence[Lease]:
        with self._lock:
            return [self._leases[rollout] for rollout in sorted(self._leases)]

    def stand(self, keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]) -> Keeping:
        with self._lock:
            known = tuple(self._keepers.values())
            own = stand(known, keeper, lasts, now, is_gone)
            for name in (keeper, *forgotten(known, now)):
                self._keepers.pop(name, None)
            self._keepers[keeper] = own
            return own if own.until is not None else leader(known) or own

    def resign(self, keeper: str) -> None:
        with self._lock:
            if keeper in self._keepers:
                self._keepers[keeper] = replace(self._keepers[keeper], until=None)

    def keepers(self, now: datetime) -> tuple[Keeping, ...]:
        with self._lock:
            return lately_seen(tuple(self._keepers.values()), now)

    def remember(self, key: str, value: dict[str, object]) -> None:
        with self._lock:
            self._notes[key] = copy.deepcopy(value)

    def recall(self, key: str) -> dict[str, object] | None:
        with self._lock:
            return copy.deepcopy(self._notes.get(key))


def _own(fact: Fact) -> Fact:
    """A copy that no caller can change afterwards."""
    return from_payload(type(fact).__name__, to_payload(fact))


def _entry_row(fed: Fed) -> Row:
    return Row(kind=Kind.ENTRY, columns={"id": fed.place, **entry_columns(fed.entry)})


def _look_row(key: tuple[str, str, int], body: str) -> Row:
    return Row(kind=Kind.LOOK, columns=dict(zip(COLUMNS[Kind.LOOK], (*key, body), strict=True)))


def _document_row(number: int, document: Applied) -> Row:
    return Row(kind=Kind.DOCUMENT, columns={"id": number, **document_columns(document)})
