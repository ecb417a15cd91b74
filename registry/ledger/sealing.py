"""Sealing: writes rows of the ledger together with their links, and checks them against the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

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


def insert_entries(connection: Connection, new: Sequence[Entry]) -> Sequence[int]:
    """Record facts, and return their places."""
    if not new:
        return ()
    announce(connection)
    rows = [entry_columns(entry) for entry in new]
    places = connection.scalars(_NEW_ENTRIES, rows).all()
    sealed = [Row(kind=Kind.ENTRY, columns={**row, "id": place}) for row, place in zip(rows, places, strict=True)]
    _link(connection, sealed)
    return places


def insert_document(connection: Connection, document: Applied) -> None:
    """Record a document."""
    announce(connection)
    columns = document_columns(document)
    key = connection.execute(_NEW_DOCUMENT, columns).inserted_primary_key
    assert key is not None
    _link(connection, [Row(kind=Kind.DOCUMENT, columns={**columns, "id": int(key[0])})])


def insert_look(connection: Connection, look: Look) -> None:
    """Record a look."""
    columns = look_columns(look)
    connection.execute(_NEW_LOOK, columns)
    _link(connection, [Row(kind=Kind.LOOK, columns=columns)])


def seal_all(connection: Connection) -> None:
    """Link what was recorded before there were links: facts, then looks, then documents."""
    connection.execute(insert(heads).values(place=START.place, hash=START.hash))
    _link(connection, list(_rows(connection)))


def examination(engine: Engine, kept: Head | None) -> Examination:
    """Check the whole record against the chain at one moment. Without faults, also check the derived rows."""
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            _read_any_text(connection)
        result = examination_of(connection, kept)
        return replace(result, faults=tuple(row_faults(connection))) if not result.faults else result


def examination_of(connection: Connection, kept: Head | None) -> Examination:
    """The same check inside a transaction, without the derived rows."""
    chain = (_chain_link(row) for row in connection.execute(select(links).order_by(links.c.place)))
    return examine(chain, _rows(connection), _head(connection), kept=kept)


def _link(connection: Connection, rows: Sequence[Row]) -> None:
    """Write the links of recorded rows, in their order."""
    if not rows:
        return
    head = _head(connection)
    head, new = Head(place=max(head.place, _last_place(connection)), hash=head.hash), list[dict[str, object]]()
    for row in rows:
        link = seal(head, row)
        new.append(asdict(link))
        head = link.head
    connection.execute(_NEW_LINKS, new)
    if not connection.execute(_NEXT_HEAD, asdict(head)).rowcount:
        connection.execute(_FIRST_HEAD, asdict(head))


def _head(connection: Connection) -> Head:
    row = connection.execute(_HEAD).first()
    return Head(place=row.place, hash=row.hash) if row is not None else START


def _last_place(connection: Connection) -> int:
    """The place of the last existing link. Relying on it, a changed head cannot prevent recording an abort."""
    return int(connection.execute(_LAST_PLACE).scalar_one())


def _rows(connection: Connection) -> Iterator[Row]:
    for kind, table in _TABLES.items():
        order = table.c.id if "id" in COLUMNS[kind] else table.c.k
        for row in connection.execute(select(table).order_by(order)).mappings():
            yield Row(kind=kind, columns={name: row[name] for name in COLUMNS[kind]})


def _chain_link(row: SqlRow[tuple[object, ...]]) -> Link:
    return Link(place=row.place, kind=row.kind, name=row.name, hash=row.hash)


def _read_any_text(connection: Connection) -> None:
    """Read bytes that are not text as a finding instead of an error. The connection is not used again after this."""
    connection.detach()
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")


_NEW_ENTRIES = insert(entries).returning(entries.c.id, sort_by_parameter_order=True)
_NEW_DOCUMENT, _NEW_LOOK, _NEW_LINKS = insert(documents), insert(looks), insert(links)
_HEAD, _FIRST_HEAD, _NEXT_HEAD = select(heads), insert(heads), update(heads)
_LAST_PLACE = select(func.coalesce(func.max(links.c.place), 0))
"""Statements are made once: making one takes longer than the database does."""

_TABLES: Mapping[Kind, Table] = {Kind.ENTRY: entries, Kind.LOOK: looks, Kind.DOCUMENT: documents}
