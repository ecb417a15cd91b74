"""Samples: the newest durations and prediction summaries of each build, from which thresholds are frozen.

They are kept even if no plan needs them now, since the next one may; at most `NEWEST` of each build. Requests that
address a variation by name are left out, since they are never compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.batch import NO_DURATION, Batch

NEWEST = 5_000


def keep_samples(store: Store, connection: Connection, batch: Batch) -> None:
    """Add the samples of a batch in the order in which it was read, and delete the oldest beyond the limit."""
    builds: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for number, kind in enumerate(batch.kinds):
        if kind.audience is not None:
            builds[kind.model, kind.assigned].add(number)
    timed = batch.flags(lambda kind: kind.is_timed) & (batch.duration != NO_DURATION)
    answered = batch.flags(lambda kind: kind.failed == 0 and kind.served == kind.assigned)
    for (model, build), numbers in builds.items():
        is_theirs = np.isin(batch.kind, list(numbers))
        rows = np.flatnonzero(is_theirs)
        if not len(rows):
            continue
        durations = batch.duration[is_theirs & timed].tolist()
        predictions = (batch.predictions[row] for row in np.flatnonzero(is_theirs & answered).tolist())
        present = [each for each in predictions if each is not None]
        add_samples(store, connection, model, build, int(batch.at[rows[-1]]), durations, present)


def add_samples(
    store: Store, connection: Connection, model: str, build: str, at: int, durations: list[int], predictions: list[str]
) -> None:  # fmt: skip
    """Add samples of one build, from requests up to a time in microseconds."""
    if not durations and not predictions:
        return
    table = schema.samples
    ours = sa.and_(table.c.model == model, table.c.build == build)
    upto = (connection.scalar(sa.select(sa.func.max(table.c.upto)).where(ours)) or 0) + max(len(durations), 1)
    kept = [orjson.dumps(each[-NEWEST:]).decode() for each in (durations, predictions)]
    store.insert(connection, table, [(model, build, upto, at, *kept)], replace=True)
    connection.execute(sa.delete(table).where(ours, table.c.upto <= upto - NEWEST))


def durations_of(connection: Connection, model: str, build: str) -> Iterator[int]:
    """The durations of a build in microseconds, newest first."""
    return _newest_first(connection, schema.samples.c.durations, model, build)


def predictions_of(connection: Connection, model: str, build: str) -> Iterator[str]:
    """The prediction summaries of a build, newest first."""
    return _newest_first(connection, schema.samples.c.predictions, model, build)


def _newest_first(connection: Connection, column: sa.Column[str], model: str, build: str) -> Iterator[Any]:
    table = schema.samples
    query = sa.select(column).where(table.c.model == model, table.c.build == build).order_by(table.c.upto.desc())
    for text in connection.scalars(query):
        yield from reversed(orjson.loads(text))
