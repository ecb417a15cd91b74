"""Retention of pairs by age and by number. A sample that does not depend on the answers is kept; sums stay for ever."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.store.pair_schema import pair_labels, pairs
from sluicegate.services.telemetry.store.store import Store

_SLACK = 1.05
"""Pairs are deleted only when their number exceeds the limit by this factor, so that it happens rarely."""


def drop_pairs(store: Store, spec_of: Callable[[str], ShadowSpec | None], now: int) -> int:
    """Delete the pairs that each shadow's policy no longer keeps at `now` (microseconds); returns how many."""
    with store.read() as connection:
        query = sa.select(pairs.c.rollout, sa.func.count(), sa.func.min(pairs.c.at)).group_by(pairs.c.rollout)
        counts = connection.execute(query).all()
    dropped = 0
    for rollout, n, oldest in counts:
        spec = spec_of(rollout)
        if spec is None:
            continue
        born_before = now - round(spec.keep_for * 1e6)
        if oldest <= born_before or n > spec.keep * _SLACK:
            with store.write() as connection:
                dropped += _drop(connection, rollout, spec.keep, born_before)
    return dropped


def _drop(connection: Connection, rollout: str, keep: int, born_before: int) -> int:
    ours = pairs.c.rollout == rollout
    aged = connection.execute(sa.delete(pairs).where(ours, pairs.c.at <= born_before)).rowcount
    beyond = sa.select(pairs.c.key).where(ours).order_by(pairs.c.key).offset(keep).limit(1)
    limit = connection.scalar(beyond)
    many = 0 if limit is None else connection.execute(sa.delete(pairs).where(ours, pairs.c.key >= limit)).rowcount
    connection.execute(sa.delete(pair_labels).where(pair_labels.c.pair.not_in(sa.select(pairs.c.id))))
    return aged + many
