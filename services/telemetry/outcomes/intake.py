"""The intake of outcomes, which takes each one once. The collector joins them to their exposures later.

An outcome names its prediction, `<request id>.<row>` or `<request id>` for row 0, or a model and a unit; then it
belongs to the unit's last request to that model before the outcome's time. It may arrive before its exposure was
collected, or days later. One outcome counts for each (prediction, name): if two disagree, the first stands.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn, Receipt, Refusal, State, microseconds, read_value
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.segments import Finder
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.scores import same

_PREDICTION_FORM = (
    "give the x-request-id of the answer, then a point and the row: 560041f1-a8a5-40cd-9559-628bcf4d0ca3.0"
)
AHEAD = timedelta(minutes=5)
"""How far in the future an outcome's time may be, to allow for differing clocks."""
LATELY = timedelta(minutes=10)
"""If requests of a model were left out within this time, the receipt says so."""
_TEXT_LIMIT = 500
_FEW = 20
"""The largest batch whose predictions are looked up at once. Small batches come from people, who want to know; a
program must not wait for that."""
_REQUEST_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_PREDICTION = re.compile(r"(?P<rid>.+?)(?:\.(?P<row>[0-9]{1,6}))?\Z", re.DOTALL)


def is_request_id(text: str) -> bool:
    """Whether this can be a request id. The gateway generates UUIDs, and accepts none from callers."""
    return bool(_REQUEST_ID.match(text))


def record(
    store: Store, batch: Sequence[OutcomeIn], now: datetime, is_request: Callable[[str], bool] = is_request_id
) -> Receipt:
    """Store a batch in one transaction. Sending it again only increases the count of duplicates.

    `is_request` tells whether a text can be the id of a request.
    """
    rows, refused, counts = [], [], Counter[Count]()
    for index, outcome in enumerate(batch):
        reason, kind = _refusal(outcome, now, is_request)
        if reason is None:
            rows.append(_row(outcome, now))
        else:
            refused.append(Refusal(index=index, reason=reason))
            counts[kind] += 1
    with store.write() as connection:
        for row in rows:
            counts[_take(connection, store, row)] += 1
        store.count(connection, counts)
        waiting = _waiting(connection, rows) if len(rows) <= _FEW else None
        unasked = _unasked(connection, {row["model"] for row in rows} - {None}, now)
    return Receipt(
        accepted=counts[Count.OUTCOMES],
        duplicate=counts[Count.DUPLICATE],
        contradictory=counts[Count.CONTRADICTORY],
        waiting=waiting,
        unasked=unasked,
        refused=tuple(refused),
    )


def _waiting(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """How many name a prediction whose request has not been read from the log yet."""
    requests = [row["rid"] for row in rows if row["rid"] is not None]
    located = Finder().by_request(connection, requests) if requests else {}
    return sum(rid not in located for rid in requests)


def _unasked(connection: Connection, models: set[str], now: datetime) -> tuple[str, ...]:
    """The models whose requests were left out recently."""
    table = schema.left_out
    lately = table.c.last_at >= microseconds(now - LATELY)
    query = sa.select(table.c.model).where(table.c.model.in_(models), lately).order_by(table.c.model)
    return tuple(connection.scalars(query)) if models else ()


def _refusal(outcome: OutcomeIn, now: datetime, is_request: Callable[[str], bool]) -> tuple[str | None, Count]:
    """Why an outcome is refused, and the counter for that; no reason if it is accepted."""
    texts = (outcome.name, outcome.prediction_id, outcome.model, outcome.unit, outcome.id)
    if not outcome.name:
        return "name is empty; give the outcome name that the plan's metric names", Count.REFUSED
    if any(text is not None and not _is_storable(text) for text in texts):
        return f"name and ids must be text of 1 to {_TEXT_LIMIT} characters", Count.REFUSED
    if (outcome.prediction_id is None) == (outcome.unit is None):
        return "give either prediction_id, or model and unit", Count.REFUSED
    rid, _ = _prediction(outcome.prediction_id)
    if rid is not None and not is_request(rid):
        return f"{outcome.prediction_id!r} is not a prediction_id: {_PREDICTION_FORM}", Count.REFUSED
    if outcome.unit is not None and outcome.model is None:
        return "a unit needs its model", Count.REFUSED
    if not isinstance(outcome.value, bool | int | float | str | None) or not _is_storable(json.dumps(outcome.value)):
        return "value must be a number, true, false, a short text or null", Count.REFUSED
    if outcome.at is not None and outcome.at.tzinfo is None:
        return "at needs a time zone, such as 2026-01-31T12:00:00Z", Count.REFUSED
    if outcome.at is not None and outcome.at > now + AHEAD:
        return f"at is more than {AHEAD.seconds // 60} minutes ahead of the server's clock", Count.FUTURE
    return None, Count.OUTCOMES


def _is_storable(text: object) -> bool:
    if not isinstance(text, str) or not 0 < len(text) <= _TEXT_LIMIT or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _row(outcome: OutcomeIn, now: datetime) -> dict[str, Any]:
    """The outcome's row, in the order of the table's columns."""
    at = outcome.at or now
    rid, row = _prediction(outcome.prediction_id)
    about = outcome.prediction_id or f"{outcome.model}/{outcome.unit}@{microseconds(at)}"
    return {
        "id": outcome.id or f"{about}:{outcome.name}",
        "rid": rid,
        "row": row,
        "exposure": None,
        "model": outcome.model,
        "unit": outcome.unit if rid is None else None,
        "name": outcome.name,
        "value": json.dumps(outcome.value),
        "at": microseconds(at),
        "received_at": microseconds(now),
        "state": State.NEW if rid is not None else State.UNIT,
    }


def _prediction(prediction_id: str | None) -> tuple[str | None, int | None]:
    """Request id and row of a prediction id."""
    match = _PREDICTION.match(prediction_id) if prediction_id is not None else None
    if match is None:
        return None, None
    return match["rid"].lower(), int(match["row"] or 0)


def _take(connection: Connection, store: Store, row: dict[str, Any]) -> Count:
    """Insert an outcome, unless there is one with its id, or with its prediction and name."""
    if store.insert(connection, schema.outcomes, [tuple(row.values())]):
        return Count.OUTCOMES
    table = schema.outcomes
    about = sa.and_(table.c.rid == row["rid"], table.c.row == row["row"], table.c.name == row["name"])
    first = connection.execute(sa.select(table).where(sa.or_(table.c.id == row["id"], about))).mappings().first()
    if first is None:
        raise RuntimeError("an outcome was neither inserted nor found")
    columns = ("rid", "row", "name") if row["rid"] is not None else ("model", "unit", "name")
    says_same = all(first[column] == row[column] for column in columns)
    says_same = says_same and same(read_value(first["value"]), read_value(row["value"]))
    return Count.DUPLICATE if says_same else Count.CONTRADICTORY
