"""The ledger in SQLite (one machine) or PostgreSQL (beyond it), through SQLAlchemy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import RLock

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, delete, func, insert, select, update

from sluicegate.registry.ledger.chain import Examination, Head
from sluicegate.registry.ledger.engine import TURN_SECONDS, connect, reading, writing
from sluicegate.registry.ledger.folds import Folds, taken
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.ledger.migrate import migrate
from sluicegate.registry.ledger.receipts import receipt_from_json, receipt_to_json, repeated
from sluicegate.registry.ledger.record import Applied, Changes, Fed, Lease, OrderKey, Receipt, Record
from sluicegate.registry.ledger.samples import keep_sample, last_samples
from sluicegate.registry.ledger.sealing import examination, insert_document, insert_entry, insert_look
from sluicegate.registry.ledger.stale import refuse_stale
from sluicegate.registry.ledger.tables import documents, entries, leases, looks, notes, orders, targets
from sluicegate.registry.ledger.times import from_text, to_text, utc
from sluicegate.registry.ledger.withdrawal import is_withdrawn, withdrawn
from sluicegate.registry.rollout.facts import Entry, Fact, Requested, from_payload
from sluicegate.registry.rollout.moves import begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.sample import Sample
from sluicegate.registry.words.verdict import Look


class SqlLedger:
    """A Ledger that any number of processes share, at `sqlite:///PATH` or `postgresql://…`.

    Making one brings the schema up to date. Raises Unreachable, InvalidSetting, and SluiceError for a newer schema.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        migrate(self._engine)
        self._lock = RLock()
        self._folds = Folds()
        self._last_id = 0

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """What was folded is one thread's at a time. Raises Unreachable where another one does not come to an end."""
        if not self._lock.acquire(timeout=TURN_SECONDS):
            raise Unreachable("the ledger is busy.", fix="try again; sluice doctor tells whether its database hangs.")
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        entry = Entry(rollout=rollout, seq=0, at=utc(at), fact=requested)
        state = begin(entry)
        with writing(self._engine) as connection:
            if connection.execute(select(entries.c.id).where(entries.c.rollout == rollout)).first() is not None:
                raise taken(rollout)
            insert_entry(connection, entry)
            _insert_target(connection, state)
        return state

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        entry = Entry(rollout=rollout, seq=expected, at=utc(at), fact=fact)
        with self._turn(), writing(self._engine) as connection:
            self._catch_up(connection)
            self._folds.expect(rollout, expected)
            before, state = self._folds.get(rollout), self._folds.after(entry)
            if state.holds_target and not before.holds_target:
                self._folds.refuse_busy(state)
            _note_holder(connection, before, state)
            insert_entry(connection, entry)
        return state

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        with self._turn(), writing(self._engine) as connection:
            known = _receipt_of(connection, key)
            if key is not None and known is not None:
                return repeated(key, known.digest, receipt_from_json(known.receipt))
            self._catch_up(connection)
            changes = decide(_Present(self._folds, connection))
            for entry, before, after in self._folds.moves(changes.entries):
                if before is None:
                    _insert_target(connection, after)
                else:
                    _note_holder(connection, before, after)
                insert_entry(connection, entry)
            for document in changes.documents:
                insert_document(connection, document)
            if key is not None:
                row = {
                    "key": key.key,
                    "digest": key.digest,
                    "receipt": receipt_to_json(changes.receipt),
                    "at": to_text(key.at),
                }
                connection.execute(insert(orders).values(row))
        return changes.receipt

    def _catch_up(self, connection: Connection) -> None:
        """Fold what was appended since the last time, by whomever."""
        new = select(entries).where(entries.c.id > self._last_id).order_by(entries.c.id)
        for row in connection.execute(new):
            self._folds.take(_entry(row))
            self._last_id = row.id

    def _caught_up(self) -> Folds:
        with reading(self._engine) as connection:
            self._catch_up(connection)
        return self._folds

    def rollout(self, rollout: str) -> Rollout:
        with self._turn():
            return self._caught_up().get(rollout)

    def rollouts(self, *, model: str | None = None) -> tuple[Rollout, ...]:
        with self._turn():
            return self._caught_up().all(model)

    def entries(self, rollout: str, *, after: int = -1) -> tuple[Entry, ...]:
        wanted = select(entries).where(entries.c.rollout == rollout, entries.c.seq > after).order_by(entries.c.seq)
        with reading(self._engine) as connection:
            return tuple(_entry(row) for row in connection.execute(wanted))

    def feed(self, *, after: int = 0, limit: int = 500) -> tuple[Fed, ...]:
        wanted = select(entries).where(entries.c.id > after).order_by(entries.c.id).limit(limit)
        with reading(self._engine) as connection:
            return tuple(Fed(place=row.id, entry=_entry(row)) for row in connection.execute(wanted))

    def feed_end(self) -> int:
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.coalesce(func.max(entries.c.id), 0))).scalar_one())

    def position(self) -> int:
        last = [select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery() for table in (entries, documents)]
        with reading(self._engine) as connection:
            return sum(connection.execute(select(*last)).one())

    def record_look(self, look: Look) -> Look:
        where = (looks.c.rollout == look.rollout, looks.c.metric == look.metric, looks.c.k == look.k)
        with writing(self._engine) as connection:
            stored = connection.execute(select(looks.c.body).where(*where)).scalar()
            if stored is None:
                insert_look(connection, look)
                stored = look_to_json(look)
        return look_from_json(stored)

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        wanted = select(looks).where(looks.c.rollout == rollout)
        if metric is not None:
            wanted = wanted.where(looks.c.metric == metric)
        with reading(self._engine) as connection:
            rows = sorted(connection.execute(wanted), key=lambda row: (row.metric, row.k))
        return tuple(look_from_json(row.body) for row in rows)

    def last_looks(self, rollout: str) -> tuple[Look, ...]:
        with reading(self._engine) as connection:
            rows = connection.execute(_LAST_LOOKS, {"rollout": rollout}).all()
        return tuple(look_from_json(row.body) for row in rows)

    def record_sample(self, sample: Sample) -> Sample:
        with writing(self._engine) as connection:
            return keep_sample(connection, sample)

    def samples(self, rollout: str, gate: str, *, most: int) -> tuple[Sample, ...]:
        with reading(self._engine) as connection:
            return last_samples(connection, rollout, gate, most)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        with writing(self._engine) as connection:
            found = _latest(connection, documents.c.kind == document.kind, documents.c.name == document.name)
            latest = next(iter(found), None)
            refuse_stale(document, latest, over)
            if latest is not None and latest.digest == document.digest:
                return False
            insert_document(connection, document)
            return True

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        with writing(self._engine) as connection:
            if not _latest(connection, documents.c.kind == kind, documents.c.name == name):
                return False
            insert_document(connection, withdrawn(kind, name, actor, at))
            return True

    def applied(self, kind: str, name: str) -> Applied | None:
        with reading(self._engine) as connection:
            return next(iter(_latest(connection, documents.c.kind == kind, documents.c.name == name)), None)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        with reading(self._engine) as connection:
            return _latest(connection, documents.c.kind == kind)

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        with reading(self._engine) as connection:
            return _history(connection, kind, name)

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        with writing(self._engine) as connection:
            row = connection.execute(select(leases).where(leases.c.rollout == lease.rollout)).one_or_none()
            if row is not None and row.owner != lease.owner and _lease(row).keeps_away(now):
                return False
            connection.execute(delete(leases).where(leases.c.rollout == lease.rollout))
            taken_now = {"rollout": lease.rollout, "owner": lease.owner, "expires_at": to_text(lease.expires_at)}
            connection.execute(insert(leases).values(taken_now))
            return True

    def drop_lease(self, rollout: str, owner: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(delete(leases).where(leases.c.rollout == rollout, leases.c.owner == owner))

    def leases(self) -> Sequence[Lease]:
        with reading(self._engine) as connection:
            rows = sorted(connection.execute(select(leases)), key=lambda row: row.rollout)
        return [_lease(row) for row in rows]

    def remember(self, key: str, value: dict[str, object]) -> None:
        with writing(self._engine) as connection:
            connection.execute(delete(notes).where(notes.c.key == key))
            connection.execute(insert(notes).values(key=key, value=json.dumps(value)))

    def recall(self, key: str) -> dict[str, object] | None:
        with reading(self._engine) as connection:
            value = connection.execute(select(notes.c.value).where(notes.c.key == key)).scalar()
        return None if value is None else json.loads(value)

    def verify(self, kept: Head | None = None) -> Examination:
        return examination(self._engine, kept)


class _Present:
    """The record inside a transaction: the folds have been caught up, and nobody else writes meanwhile."""

    def __init__(self, folds: Folds, connection: Connection) -> None:
        self._folds = folds
        self._connection = connection

    def rollout(self, rollout: str) -> Rollout:
        return self._folds.get(rollout)

    def rollouts(self, *, model: str | None = None) -> tuple[Rollout, ...]:
        return self._folds.all(model)

    def applied(self, kind: str, name: str) -> Applied | None:
        return next(iter(_latest(self._connection, documents.c.kind == kind, documents.c.name == name)), None)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        return _latest(self._connection, documents.c.kind == kind)

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        return _history(self._connection, kind, name)


def _lease(row: Row[tuple[object, ...]]) -> Lease:
    return Lease(rollout=row.rollout, owner=row.owner, expires_at=from_text(row.expires_at))


def _receipt_of(connection: Connection, key: OrderKey | None) -> Row[tuple[object, ...]] | None:
    if key is None:
        return None
    return connection.execute(select(orders).where(orders.c.key == key.key)).first()


def _insert_target(connection: Connection, state: Rollout) -> None:
    model, variation = state.target
    row = {"rollout": state.id, "model": model, "variation": variation, "holding": False}
    connection.execute(insert(targets).values(row))


def _note_holder(connection: Connection, before: Rollout, after: Rollout) -> None:
    if before.holds_target != after.holds_target:
        change = update(targets).where(targets.c.rollout == after.id).values(holding=after.holds_target)
        connection.execute(change)


def _last_looks() -> Select[tuple[str]]:
    of_rollout = looks.c.rollout == bindparam("rollout")
    newest = (
        select(looks.c.metric, func.max(looks.c.k).label("k")).where(of_rollout).group_by(looks.c.metric).subquery()
    )
    is_newest = (looks.c.metric == newest.c.metric, looks.c.k == newest.c.k)
    return select(looks.c.body).where(of_rollout, *is_newest).order_by(looks.c.metric)


_LAST_LOOKS = _last_looks()
"""Made once: a page of rollouts asks it for each of them."""


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    fact = from_payload(row.fact, json.loads(row.payload))
    return Entry(rollout=row.rollout, seq=row.seq, at=from_text(row.at), fact=fact)


def _latest(connection: Connection, *where: ColumnElement[bool]) -> list[Applied]:
    """The document of each name that counts, among those that `where` admits."""
    newest = select(func.max(documents.c.id)).where(*where).group_by(documents.c.name)
    rows = connection.execute(select(documents).where(documents.c.id.in_(newest)))
    found = (_document(row) for row in sorted(rows, key=lambda row: row.name))
    return [document for document in found if not is_withdrawn(document)]


def _history(connection: Connection, kind: str, name: str) -> list[Applied]:
    named = select(documents).where(documents.c.kind == kind, documents.c.name == name).order_by(documents.c.id)
    return [_document(row) for row in connection.execute(named)]


def _document(row: Row[tuple[object, ...]]) -> Applied:
    return Applied(
        kind=row.kind,
        name=row.name,
        body=json.loads(row.body),
        digest=row.digest,
        actor=row.actor,
        at=from_text(row.at),
    )
