"""The telemetry's tables, for SQLite and PostgreSQL. Times are in microseconds since 1970 unless stated otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    event,
)
from sqlalchemy.types import TypeEngine

from sluicegate.registry.words.tally import Tally, UnitSums

VERSION = 9
"""Increased when a table is changed or added, with a step in `migrations`; databases with a newer number are
refused."""

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")
_STRATUM = {"epoch": Integer, "bucket": BigInteger, "arm": Text, "weight": Integer}


def keys(types: Mapping[str, type[TypeEngine[Any]]]) -> Iterator[Column[Any]]:
    """Columns that together are a table's primary key."""
    for name, kind in types.items():
        yield Column(name, kind, primary_key=True, autoincrement=False)


def counts(*names: str) -> Iterator[Column[int]]:
    """Columns for counts."""
    for name in names:
        yield Column(name, BigInteger, nullable=False)


def sums(kind: type[Tally | UnitSums]) -> Iterator[Column[int] | Column[float]]:
    """Columns for additive sums."""
    for name, zero in kind._field_defaults.items():
        yield Column(name, BigInteger if isinstance(zero, int) else Float, nullable=False)


state = Table(
    "state", METADATA,
    Column("key", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)  # fmt: skip
"""Single numbers, such as the schema's version and the watermark, which increases with every change of a tally."""

offsets = Table(
    "offsets", METADATA,
    Column("log", Text, primary_key=True),
    Column("head", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("read_at", BigInteger, nullable=False),
)  # fmt: skip
"""How far each log file has been read. A file is identified by the digest of its first line, since rotation renames
it."""

logs = Table(
    "logs", METADATA,
    Column("log", Text, primary_key=True),
    *counts("lines", "unreadable", "size"),
)  # fmt: skip
"""What has been read of each log: lines, how many of them were unreadable, and bytes."""

readers = Table(
    "readers", METADATA,
    Column("host", Text, primary_key=True),
    Column("log", Text, primary_key=True),
    Column("read_until", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("retired", Boolean, nullable=False),
)  # fmt: skip
"""For collectors on several hosts that share the database: up to when each log has been read, and when its reader last
said so; `retired` if it is no longer waited for. See `tailing.readers`."""

accounts = Table(
    "accounts", METADATA,
    Column("log", Text, primary_key=True),
    Column("gateway", Text, nullable=False),
    *counts("ended", "lines", "before", "gap"),
    Column("gap_at", BigInteger),
)  # fmt: skip
"""The account of each log: its gateway's count of ended requests and the lines read when the account began; the
requests without a line, in total and `before` that; and when that number last grew. See `reading.account`."""

kinds = Table(
    "kinds", METADATA,
    Column("kind", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("variation", Text, nullable=False),
    Column("audience", Text),
    Column("rollout", Text),
    Column("epoch", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("arm", Text, nullable=False),
    Column("assigned", Text, nullable=False),
    Column("served", Text),
    Column("status", SmallInteger, nullable=False),
    Column("failed", SmallInteger),
    Column("attempts", SmallInteger, nullable=False),
    Column("head", Text, nullable=False),
)  # fmt: skip
"""What many requests have in common: `kind` is the hash of the other columns, see `rows`. `failed` is null if the
client left; `width` is the length of a time bucket in seconds; `head` is the beginning of the prediction summary."""

exposures = Table(
    "exposures", METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", BigInteger, nullable=False),
    Column("rid", LargeBinary),
    Column("at", BigInteger, nullable=False),
    Column("unit", Text),
    Column("duration", BigInteger),
    Column("answer", Text),
    Column("slices", Text),
    postgresql_partition_by="RANGE (id)",
)  # fmt: skip
"""Requests that outcomes, copies or bodies may still be joined to, numbered in reading order. `rid` is a UUID's 16
bytes; `duration` is in microseconds; `answer` is the prediction summary after its `head`; for `slices`, JSON, see
`tally.slicing`. In PostgreSQL each day has a table, see `days`; another one has the numbers before the first day."""
DAY_BITS = 30
"""In PostgreSQL the number of a request consists of its day and, in this many bits, its position within the day."""
_UNDATED = f"CREATE TABLE exposures_undated PARTITION OF exposures FOR VALUES FROM (MINVALUE) TO ({1 << DAY_BITS})"
event.listen(exposures, "after_create", DDL(_UNDATED).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]

segment_numbers = Sequence("segment_numbers", metadata=METADATA)
"""The sequence from which writers to PostgreSQL take their own segments. SQLite has no sequences, and only one
writer."""

segments = Table(
    "segments", METADATA,
    Column("segment", _ID, primary_key=True, autoincrement=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("sealed", SmallInteger, nullable=False),
)  # fmt: skip
"""Runs of exposures with consecutive ids, and the times they span; `sealed` is 1 if `lookups` covers the segment."""

segment_kinds = Table(
    "segment_kinds", METADATA,
    Column("segment", _ID, primary_key=True, autoincrement=False),
    Column("kind", BigInteger, primary_key=True, autoincrement=False),
)  # fmt: skip
"""The kinds of requests in each segment."""
Index("segment_kinds_kind", segment_kinds.c.kind)

lookups = Table(
    "lookups", METADATA,
    Column("segment", _ID, primary_key=True, autoincrement=False),
    *keys({"what": SmallInteger, "page": SmallInteger}),
    Column("entries", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
"""The index of each sealed segment, by the hashes of request ids (`what` 0) and units (`what` 1); see `segments`."""

left_out = Table(
    "left_out", METADATA,
    Column("model", Text, primary_key=True),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
)  # fmt: skip
"""Requests that were counted but not stored, because no plan of their model asks for outcomes or bodies."""

samples = Table(
    "samples", METADATA,
    Column("model", Text, primary_key=True),
    Column("build", Text, primary_key=True),
    Column("upto", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("durations", Text, nullable=False),
    Column("predictions", Text, nullable=False),
)  # fmt: skip
"""The newest durations and prediction summaries of each build, from which thresholds are frozen, as JSON, oldest first;
`upto` is their running number."""

unjudged = Table(
    "unjudged", METADATA,
    Column("exposure", BigInteger, primary_key=True, autoincrement=False),
    Column("rollout", Text, nullable=False),
)  # fmt: skip
"""Exposures whose rollout's metrics were not known when they were read; they are tallied once the metrics are known."""
Index("unjudged_rollout", unjudged.c.rollout)

outcomes = Table(
    "outcomes", METADATA,
    Column("pk", _ID, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("rid", Text),
    Column("row", Integer),
    Column("exposure", BigInteger),
    Column("model", Text),
    Column("unit", Text),
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
)  # fmt: skip
"""Outcomes. `value` is JSON; an outcome of a unit gets `rid` and `row` when its exposure is found; `exposure` is the id
of the exposure, once it is known."""
Index(
    "outcomes_prediction", outcomes.c.rid, outcomes.c.row, outcomes.c.name, unique=True,
    sqlite_where=outcomes.c.rid.is_not(None), postgresql_where=outcomes.c.rid.is_not(None),
)  # fmt: skip
_OPEN = outcomes.c.state.in_(("new", "unit", "waiting", "unjudged"))
Index("outcomes_open", outcomes.c.state, outcomes.c.pk, sqlite_where=_OPEN, postgresql_where=_OPEN)

Index("outcomes_received", outcomes.c.received_at)

maturing = Table(
    "maturing", METADATA,
    Column("outcome", BigInteger, primary_key=True, autoincrement=False),
    Column("metric", Text, primary_key=True),
    Column("due", BigInteger, nullable=False),
    Column("rollout", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("unit", Text),
    Column("value", Float),
)  # fmt: skip
"""Scores whose exposure is not old enough yet; null values will be tallied as missing."""
Index("maturing_due", maturing.c.due)
Index("maturing_rollout", maturing.c.rollout, maturing.c.metric)

tallies = Table(
    "tallies", METADATA,
    *keys({"rollout": Text, "metric": Text} | _STRATUM),
    *sums(Tally),
)  # fmt: skip
"""`sluicegate.registry.words.metric.TallyRow`s without their unit sums; never deleted."""

unit_sums = Table(
    "unit_sums", METADATA,
    *keys({"rollout": Text, "metric": Text} | _STRATUM),
    *sums(UnitSums),
)  # fmt: skip
"""`sluicegate.registry.words.tally.UnitSums` of each arm and stratum; never deleted."""

units = Table(
    "units", METADATA,
    Column("rollout", Text, primary_key=True),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("arm", Text, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("bucket", BigInteger),
    Column("sums", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
"""The sums of each unit in each epoch, until its rollout's last requests are deleted by age: `unit` is a hash, `bucket`
the stratum that it belongs to (null: none), `sums` its sums for each metric, see `tally.unit_codec`."""

unit_metrics = Table(
    "unit_metrics", METADATA,
    *keys({"rollout": Text, "metric": Text}),
    Column("position", Integer, nullable=False),
)  # fmt: skip
"""The number of each metric within the sums of a rollout's units."""

slice_values = Table(
    "slice_values", METADATA,
    *keys({"rollout": Text, "position": SmallInteger, "value": Text}),
    Column("waits", Boolean, nullable=False),
    Column("requests", BigInteger, nullable=False),
)  # fmt: skip
"""Values of each header by which a rollout is sliced, by the header's position in the plan: those that are slices, and
those that wait to become one, with their number of requests. See `tally.slice_values`."""

latencies = Table(
    "latencies", METADATA,
    *keys({"rollout": Text} | _STRATUM | {"bin": SmallInteger}),
    *counts("requests"),
)  # fmt: skip
"""Durations of each arm and stratum by bin, see `tally.histogram`; never deleted."""

seen = Table(
    "seen", METADATA,
    *keys({"rollout": Text} | _STRATUM),
    *counts("requests", "abandoned", "failed", "fallbacks"),
)  # fmt: skip
"""The number of requests of each arm and stratum, compared or not; never deleted."""

ends = Table(
    "ends", METADATA,
    *keys({"rollout": Text} | _STRATUM | {"ended": Text}),
    *counts("requests"),
)  # fmt: skip
"""The same requests by how they ended, see `sluicegate.registry.words.access_log.End`; never deleted."""

generated = Table(
    "generated", METADATA,
    *keys({"rollout": Text, "arm": Text}),
    *counts("requests"),
)  # fmt: skip
"""The number of generated requests of each arm; never deleted. They are in the tallies, but in no other table."""

recent = Table(
    "recent", METADATA,
    *keys({"model": Text, "variation": Text, "build": Text, "audience": Text, "arm": Text}),
    *keys({"at": BigInteger, "bin": SmallInteger}),
    *counts("requests", "failed"),
)  # fmt: skip
"""Recent requests of each build of each variation, by audience (empty: addressed by name), arm, ten seconds (`at`, in
seconds) and bin of duration."""
Index("recent_at", recent.c.at)

bodies = Table(
    "bodies", METADATA,
    Column("rid", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("build", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("features", Text),
    Column("predictions", Text),
    Column("headers", Text),
)  # fmt: skip
"""Captured requests and answers as JSON, as far as the plan asks for them."""
Index("bodies_at", bodies.c.at)

quarantine = Table(
    "quarantine", METADATA,
    Column("id", _ID, primary_key=True),
    Column("log", Text, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("line", Text, nullable=False),
)  # fmt: skip
"""The newest unreadable lines, cut to 2,000 characters; the counter counts all of them."""

counters = Table(
    "counters", METADATA,
    Column("name", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)  # fmt: skip
"""The counters of `counts.Count`."""
