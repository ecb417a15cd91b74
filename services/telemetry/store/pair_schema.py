"""The tables of shadows: copies that wait to be paired, sums over pairs, stored pairs and disagreements."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table, Text, UniqueConstraint

from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.store.schema import METADATA, keys, sums

_ID = BigInteger().with_variant(Integer, "sqlite")


copies = Table(
    "copies", METADATA,
    Column("id", _ID, primary_key=True),
    Column("rid", Text, nullable=False),
    Column("rollout", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("ended", Text, nullable=False),
    Column("segments", Text, nullable=False),
    Column("exposure", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("rid", "rollout", name="one_copy_per_shadow"),
)  # fmt: skip
"""Copies that are not paired yet. `exposure` is JSON in the order of `Exposure`; `segments` is a JSON list."""
Index("copies_state", copies.c.state, copies.c.id)

pairs = Table(
    "pairs", METADATA,
    Column("id", _ID, primary_key=True),
    Column("rollout", Text, nullable=False),
    Column("rid", Text, nullable=False),
    Column("key", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("segments", Text, nullable=False),
    Column("served_prediction", Text),
    Column("copied_prediction", Text),
    UniqueConstraint("rid", "rollout", name="one_pair_per_copy"),
)  # fmt: skip
"""A sample of the pairs, for later labels; `key` decides which are kept when there are too many."""
Index("pairs_kept", pairs.c.rollout, pairs.c.key)

pair_labels = Table(
    "pair_labels", METADATA,
    *keys({"pair": BigInteger, "outcome": BigInteger}),
)  # fmt: skip
"""The outcomes that have been scored for each pair."""

pair_sums = Table(
    "pair_sums", METADATA,
    *keys({"rollout": Text, "segment": Text, "what": Text, "key": Text}),
    *sums(Tally),
)  # fmt: skip
"""Sums over pairs, which are never deleted; see `pairs.sums`. The empty segment is all requests."""

worst_pairs = Table(
    "worst_pairs", METADATA,
    Column("rollout", Text, primary_key=True),
    Column("rid", Text, primary_key=True),
    Column("distance", Float, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)  # fmt: skip
"""The largest disagreements, as JSON; without the answers, unless the plan allows them."""

copy_drops = Table(
    "copy_drops", METADATA,
    Column("rollout", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
)  # fmt: skip
"""Copies that a gateway dropped because the shadow was too slow: the counter as last read, and the total."""
