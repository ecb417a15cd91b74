"""The ledger's tables. Migrations are written by hand; a test compares them with these."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql

metadata = MetaData()


def _some_rows(name: str, where: str, *, columns: tuple[str, ...], unique: bool = False) -> Index:
    """An index of the rows for which `where` holds."""
    return Index(name, *columns, unique=unique, sqlite_where=sql(where), postgresql_where=sql(where))


entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rollout", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("fact", Text, nullable=False),
    Column("payload", Text, nullable=False),
    UniqueConstraint("rollout", "seq", name="one_fact_per_seq"),
    sqlite_autoincrement=True,
)
"""Facts, never changed. Ids grow in the order of commits, because writers take turns."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("rollout", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("variation", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("experiment", Text),
    Column("follows", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("holding", Boolean, nullable=False),
    Column("took_over_at", Text),
    Column("ended_at", Text),
    Index("rollouts_by_place", "place"),
    Index("rollouts_by_last", "last"),
    Index("rollouts_by_end", "ended_at"),
    Index("rollouts_by_target", "model", "variation", "version"),
    Index("rollouts_by_model", "model", "place"),
    Index("rollouts_by_state", "state", "place"),
    _some_rows("open_rollouts", "open", columns=("place",)),
    _some_rows("comparisons", "experiment IS NOT NULL", columns=("experiment",)),
    _some_rows("comparisons_by_place", "experiment IS NOT NULL", columns=("place",)),
    _some_rows("comparisons_by_model", "experiment IS NOT NULL", columns=("model", "place")),
    _some_rows("followers", "follows IS NOT NULL", columns=("follows",)),
    _some_rows("takeovers", "took_over_at IS NOT NULL", columns=("model", "variation", "took_over_at")),
    _some_rows("one_holder_per_target", "holding", columns=("model", "variation"), unique=True),
)
"""One row for each rollout: where its facts begin and end in `entries`, and the columns for finding it.

A row is written together with the facts that it follows from. So the database can refuse a second rollout for a
target, and nobody needs to read the facts of rollouts that are over.
"""

looks = Table(
    "looks",
    metadata,
    Column("rollout", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("rollout", "metric", "k"),
)

samples = Table(
    "samples",
    metadata,
    Column("rollout", Text, nullable=False),
    Column("gate", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("value", Double),
    Column("measured_at", Text),
    Column("lacking", Text),
    PrimaryKeyConstraint("rollout", "gate", "k"),
)
"""Readings for external gates: a value, or why there is none."""

documents = Table(
    "documents",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Text, nullable=False),
    Index("documents_by_name", "kind", "name", "id"),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    Column("rollout", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
)

keepers = Table(
    "keepers",
    metadata,
    Column("keeper", Text, primary_key=True),
    Column("term", Integer, nullable=False),
    Column("until", Text),
    Column("seen_at", Text, nullable=False),
)
"""Keepers of this ledger. The one with the highest term leads until its lease ends."""

notes = Table(
    "notes",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("key", Text),
    Column("status", Integer),
    Column("answer", Text),
    Index("calls_by_key", "actor", "key"),
    sqlite_autoincrement=True,
)
"""Requests to change something through the API, stored before they act."""

orders = Table(
    "orders",
    metadata,
    Column("key", Text, primary_key=True),
    Column("at", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("receipt", Text, nullable=False),
)
"""The receipt of each order that had a key, written together with what the order recorded."""

links = Table(
    "links",
    metadata,
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
"""The chain: one link for each entry, look and document, in the order of recording."""

heads = Table(
    "heads",
    metadata,
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
)
"""One row: where the chain ends, so that a cut-off end is noticed."""
