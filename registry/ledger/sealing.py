"""Sealing: rows of the ledger's database are written with their link, and held against the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sqlalchemy import Connection, Engine, Table, func, insert, select, update
from sqlalchemy import Row as SqlRow

from sluicegate.registry.ledger.chain import COLUMNS, START, Examination, Head, Kind, Link, Row, examine, seal
from sluicegate.registry.ledger.columns import document_columns, entry_columns, look_columns
from sluicegate.registry.ledger.engine import reading
from sluicegate.registry.ledger.notices import announce
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.rollout_rows import row_faults
from sluicegate.registry.ledger.tables import documents, entries, heads, links, looks
from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.words.verdict import Look


def insert_entry(connection: Connection, entry: Entry) -> int:
    """Record a fact; its place."""
    announce(connection)
    return _insert(connection, Kind.ENTRY, entry_columns(entry))


def insert_document(connection: Connection, document: Applied) -> None:
    """Record a document."""
    announce(connection)
    _insert(connection, Kind.DOCUMENT, document_columns(document))


def insert_look(connection: Connection, look: Look) -> None:
    """Record a look."""
    _insert(connection, Kind.LOOK, look_columns(look))


def seal_all(connection: Connection) -> None:
    """Link what was recorded without links: facts, then looks, then documents."""
    connection.execute(insert(heads).values(place=START.place, hash=START.hash))
    for row in list(_rows(connection)):
        _link(connection, row)


def examination(engine: Engine, kept: Head | None) -> Examination:
    """Hold everything that is recorded against the chain, as it stands at one moment, and where that is as it was
    written the rows that are made from it."""
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            _read_any_text(connection)
        seen = examination_of(connection, kept)
        return replace(seen, faults=tuple(row_faults(connection))) if not seen.faults else seen


def examination_of(connection: Connection, kept: Head | None) -> Examination:
    """The same inside a transaction."""
    chain = (_chain_link(row) for row in connection.execute(select(links).order_by(links.c.place)))
    return examine(chain, _rows(connection), _head(connection), kept=kept)


def _insert(connection: Connection, kind: Kind, columns: dict[str, object]) -> int:
    """Write a row and its link. Ids are given by the database; 0 where the kind has none."""
    key = connection.execute(insert(_TABLES[kind]).values(columns)).inserted_primary_key
    place = int(key[0]) if "id" in COLUMNS[kind] and key is not None else 0
    _link(connection, Row(kind=kind, columns={**columns, "id": place} if place else columns))
    return place


def _link(connection: Connection, row: Row) -> None:
    head = _head(connection)
    link = seal(Head(place=max(head.place, _last_place(connection)), hash=head.hash), row)
    connection.execute(insert(links).values(place=link.place, kind=link.kind, name=link.name, hash=link.hash))
    if not connection.execute(update(heads).values(place=link.place, hash=link.hash)).rowcount:
        connection.execute(insert(heads).values(place=link.place, hash=link.hash))


def _head(connection: Connection) -> Head:
    row = connection.execute(select(heads)).first()
    return Head(place=row.place, hash=row.hash) if row is not None else START


def _last_place(connection: Connection) -> int:
    """Of the links that are there: a head that was tampered with keeps nobody from recording an abort."""
    return int(connection.execute(select(func.coalesce(func.max(links.c.place), 0))).scalar_one())


def _rows(connection: Connection) -> Iterator[Row]:
    for kind, table in _TABLES.items():
        order = table.c.id if "id" in COLUMNS[kind] else table.c.k
        for row in connection.execute(select(table).order_by(order)).mappings():
            yield Row(kind=kind, columns={name: row[name] for name in COLUMNS[kind]})


def _chain_link(row: SqlRow[tuple[object, ...]]) -> Link:
    return Link(place=row.place, kind=row.kind, name=row.name, hash=row.hash)


def _read_any_text(connection: Connection) -> None:
    """Bytes that are no text are a finding, not an error of the connection, which is given up after this."""
    connection.detach()
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")


_TABLES: Mapping[Kind, Table] = {Kind.ENTRY: entries, Kind.LOOK: looks, Kind.DOCUMENT: documents}
