"""The ledger in SQLite (one machine) or PostgreSQL (beyond it), through SQLAlchemy."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import RLock

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, delete, func, insert, select, update

from sluicegate.registry.ledger.chain import Examination, Head
from sluicegate.registry.ledger.columns import document_of, entry_of
from sluicegate.registry.ledger.election import lately_seen
from sluicegate.registry.ledger.engine import TURN_SECONDS, connect, reading, writing
from sluicegate.registry.ledger.folds import Folds, id_taken, lost_target
from sluicegate.registry.ledger.keepers import known_keepers, shared_clock, stand_in
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.ledger.migrate import migrate
from sluicegate.registry.ledger.receipts import receipt_from_json, receipt_to_json, repeated
from sluicegate.registry.ledger.record import Applied, Changes, Fed, Keeping, Lease, OrderKey, Receipt, Record
from sluicegate.registry.ledger.rollout_rows import (
    all_models,
    all_takeovers,
    compared_models,
    count_selected,
    current_ids,
    is_of_model,
    read_states,
    selected_ids,
    write_rows,
)
from sluicegate.registry.ledger.samples import keep_sample, last_samples
from sluicegate.registry.ledger.sealing import examination, insert_document, insert_entries, insert_look
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.ledger.stale import refuse_stale
from sluicegate.registry.ledger.tables import documents, entries, keepers, leases, looks, notes, orders
from sluicegate.registry.ledger.times import from_text, to_text, utc
from sluicegate.registry.ledger.withdrawal import is_withdrawn, withdrawn
from sluicegate.registry.rollout.facts import Entry, Fact, Requested
from sluicegate.registry.rollout.moves import begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.sample import Sample
from sluicegate.registry.words.verdict import Look


class SqlLedger:
    """A Ledger that any number of processes share, at `sqlite:///PATH` or `postgresql://…`.

    Creating one upgrades the schema. Raises Unreachable, InvalidSetting, and SluiceError for a newer schema.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        migrate(self._engine)
        self._lock = RLock()
        self._folds = Folds()
        self._last_id: int | None = None
        """The place up to which facts are folded; None before the first time."""

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Lock the folds for one thread at a time. Raises Unreachable if another thread does not finish."""
        if not self._lock.acquire(timeout=TURN_SECONDS):
            raise Unreachable("the ledger is busy.", fix="try again; if it stays busy: sluice doctor")
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        entry = Entry(rollout=rollout, seq=0, at=utc(at), fact=requested)
        state = begin(entry)
        with writing(self._engine) as connection:
            if connection.execute(select(entries.c.id).where(entries.c.rollout == rollout)).first() is not None:
                raise id_taken(rollout)
            (place,) = insert_entries(connection, [entry])
            write_rows(connection, [(state, place)])
        return state

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        entry = Entry(rollout=rollout, seq=expected, at=utc(at), fact=fact)
        with self._turn(), writing(self._engine) as connection:
            self._catch_up(connection)
            self._read(connection, [rollout])
            self._folds.expect(rollout, expected)
            before, state = self._folds.get(rollout), self._folds.after(entry)
            if state.holds_target and not before.holds_target:
                self._folds.refuse_busy(state)
            (place,) = insert_entries(connection, [entry])
            write_rows(connection, [(state, place)])
        return state

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        with self._turn(), writing(self._engine) as connection:
            first = _receipt_of(connection, key)
            if key is not None and first is not None:
                return repeated(key, first.digest, receipt_from_json(first.receipt))
            self._catch_up(connection)
            changes = decide(_Present(self._folds, connection, self._read))
            self._read(connection, sorted({entry.rollout for entry in changes.entries if entry.seq > 0}))
            states = self._folds.moves(changes.entries)
            write_rows(connection, zip(states, insert_entries(connection, changes.entries), strict=True))
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
        """Fold what anybody appended since the last time; the first time, read the current rollouts."""
        if self._last_id is None:
            self._last_id = _last_place(connection)
            self._read(connection, current_ids(connection))
        new = select(entries).where(entries.c.id > self._last_id).order_by(entries.c.id)
        for row in connection.execute(new).all():
            self._fold(connection, row)
            self._last_id = row.id

    def _fold(self, connection: Connection, row: Row[tuple[object, ...]]) -> None:
        """Fold a fact, unless it came with its rollout when that was read."""
        if row.rollout not in self._folds:
            self._read(connection, [row.rollout])
        elif row.seq > (before := self._folds.get(row.rollout)).seq:
            state = self._folds.take(entry_of(row), row.id)
            if lost_target(before, state):
                self._read(connection, current_ids(connection))

    def _read(self, connection: Connection, names: Sequence[str]) -> tuple[Rollout, ...]:
        """These rollouts in this order, without those that do not exist. They are part of the folds from now on."""
        states = {name: self._folds.get(name) for name in names if name in self._folds}
        new = {
            each.first: each.state for each in read_states(connection, [name for name in names if name not in states])
        }
        states |= {state.id: state for state in new.values()}
        self._folds.put(new)
        return tuple(states[name] for name in names if name in states)

    @contextmanager
    def _present(self) -> Iterator[_Present]:
        """The record as it is now."""
        with self._turn(), reading(self._engine) as connection:
            self._catch_up(connection)
            yield _Present(self._folds, connection, self._read)

    def rollout(self, rollout: str) -> Rollout:
        with self._present() as present:
            return present.rollout(rollout)

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        with self._present() as present:
            return present.current(model)

    def current_of(self, models: Collection[str]) -> tuple[Rollout, ...]:
        with self._present() as present:
            return present.current_of(models)

    def served_models(self) -> tuple[str, ...]:
        with self._present() as present:
            return present.served_models()

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        with self._present() as present:
            return present.rollouts(selection)

    def count(self, selection: Selection = ALL, *, most: int | None = None) -> int:
        with reading(self._engine) as connection:
            return count_selected(connection, selection, most)

    def compared_models(self) -> tuple[str, ...]:
        with reading(self._engine) as connection:
            return compared_models(connection)

    def models(self) -> tuple[str, ...]:
        with reading(self._engine) as connection:
            return all_models(connection)

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        with self._present() as present:
            return present.takeovers(model, variation)

    def entries(self, rollout: str, *, after: int = -1) -> tuple[Entry, ...]:
        wanted = select(entries).where(entries.c.rollout == rollout, entries.c.seq > after).order_by(entries.c.seq)
        with reading(self._engine) as connection:
            return tuple(entry_of(row) for row in connection.execute(wanted))

    def feed(
        self, *, after: int = 0, before: int | None = None, limit: int = 500, model: str | None = None
    ) -> tuple[Fed, ...]:  # fmt: skip
        wanted = select(entries).where(entries.c.id > after).order_by(entries.c.id).limit(limit)
        if before is not None:
            wanted = wanted.where(entries.c.id < before)
        if model is not None:
            wanted = wanted.where(is_of_model(entries.c.rollout, model))
        with reading(self._engine) as connection:
            return tuple(Fed(place=row.id, entry=entry_of(row)) for row in connection.execute(wanted))

    def feed_end(self) -> int:
        with reading(self._engine) as connection:
            return _last_place(connection)

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

    def last_looks(self, *rollouts: str) -> tuple[Look, ...]:
        with reading(self._engine) as connection:
            rows = connection.execute(_LAST_LOOKS, {"rollouts": rollouts}).all()
        return tuple(look_from_json(row.body) for row in rows)

    def record_sample(self, sample: Sample) -> Sample:
        with writing(self._engine) as connection:
            return keep_sample(connection, sample)

    def samples(self, rollout: str, gate: str, *, most: int) -> tuple[Sample, ...]:
        with reading(self._engine) as connection:
            return last_samples(connection, rollout, gate, most)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        with writing(self._engine) as connection:
            candidates = _latest(connection, documents.c.kind == document.kind, documents.c.name == document.name)
            latest = next(iter(candidates), None)
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

    def applied_among(self, kind: str, names: Collection[str]) -> Sequence[Applied]:
        with reading(self._engine) as connection:
            return _latest(connection, documents.c.kind == kind, documents.c.name.in_(names))

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        with reading(self._engine) as connection:
            return _history(connection, kind, name)

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        with writing(self._engine) as connection:
            row = connection.execute(select(leases).where(leases.c.rollout == lease.rollout)).one_or_none()
            if row is not None and row.owner != lease.owner and _lease(row).keeps_away(now):
                return False
            connection.execute(delete(leases).where(leases.c.rollout == lease.rollout))
            lease_row = {"rollout": lease.rollout, "owner": lease.owner, "expires_at": to_text(lease.expires_at)}
            connection.execute(insert(leases).values(lease_row))
            return True

    def drop_lease(self, rollout: str, owner: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(delete(leases).where(leases.c.rollout == rollout, leases.c.owner == owner))

    def leases(self) -> Sequence[Lease]:
        with reading(self._engine) as connection:
            rows = sorted(connection.execute(select(leases)), key=lambda row: row.rollout)
        return [_lease(row) for row in rows]

    def stand(self, keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]) -> Keeping:
        with writing(self._engine) as connection:
            return stand_in(connection, keeper, lasts, now, is_gone)

    def resign(self, keeper: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(update(keepers).where(keepers.c.keeper == keeper).values(until=None))

    def keepers(self, now: datetime) -> tuple[Keeping, ...]:
        with reading(self._engine) as connection:
            return lately_seen(known_keepers(connection), shared_clock(connection) or now)

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
    """The record inside a transaction: the folds are up to date and nobody else writes meanwhile."""

    def __init__(
        self, folds: Folds, connection: Connection, read: Callable[[Connection, Sequence[str]], tuple[Rollout, ...]]
    ) -> None:
        self._folds = folds
        self._connection = connection
        self._read = read

    def rollout(self, rollout: str) -> Rollout:
        self._read(self._connection, [rollout])
        return self._folds.get(rollout)

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        return self._folds.current(model)

    def current_of(self, models: Collection[str]) -> tuple[Rollout, ...]:
        return self._folds.current_of(models)

    def served_models(self) -> tuple[str, ...]:
        return self._folds.served_models()

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        return self._read(self._connection, selected_ids(self._connection, selection))

    def models(self) -> tuple[str, ...]:
        return all_models(self._connection)

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        return all_takeovers(self._connection, model, variation)

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


def _last_place(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(entries.c.id), 0))).scalar_one())


def _last_looks() -> Select[tuple[str]]:
    key = (looks.c.rollout, looks.c.metric)
    wanted = looks.c.rollout.in_(bindparam("rollouts", expanding=True))
    newest = select(*key, func.max(looks.c.k).label("k")).where(wanted).group_by(*key).subquery()
    is_newest = and_(*(looks.c[each] == newest.c[each] for each in ("rollout", "metric", "k")))
    return select(looks.c.body).select_from(newest.join(looks, is_newest)).order_by(*key)


_LAST_LOOKS = _last_looks()
"""Built once, because pages run it often."""


def _latest(connection: Connection, *where: ColumnElement[bool]) -> list[Applied]:
    """The documents in force, one for each name, among those that meet the conditions."""
    newest = select(func.max(documents.c.id)).where(*where).group_by(documents.c.name)
    rows = connection.execute(select(documents).where(documents.c.id.in_(newest)))
    latest = (document_of(row) for row in sorted(rows, key=lambda row: row.name))
    return [document for document in latest if not is_withdrawn(document)]


def _history(connection: Connection, kind: str, name: str) -> list[Applied]:
    named = select(documents).where(documents.c.kind == kind, documents.c.name == name).order_by(documents.c.id)
    return [document_of(row) for row in connection.execute(named)]
