"""Calls in the ledger's database."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Row, insert, select, update

from sluicegate.registry.ledger.calls import KEY_LIFE, Call
from sluicegate.registry.ledger.engine import connect, reading, writing
from sluicegate.registry.ledger.migrate import migrate
from sluicegate.registry.ledger.tables import calls
from sluicegate.registry.ledger.times import from_text, to_text


class SqlCalls:
    """Calls that any number of processes share, at a ledger's URL. Raises what SqlLedger raises."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        migrate(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def begin(self, call: Call) -> tuple[Call, bool]:
        row = {name: value for name, value in asdict(call).items() if name != "number"} | {"at": to_text(call.at)}
        same_key = select(calls).where(
            calls.c.actor == call.actor, calls.c.key == call.key, calls.c.at > to_text(call.at - KEY_LIFE)
        )
        with writing(self._engine) as connection:
            first = connection.execute(same_key).first() if call.key is not None else None
            if first is not None:
                return _call(first), False
            number = connection.execute(insert(calls).values(row)).inserted_primary_key
            assert number is not None
            return _call(connection.execute(select(calls).where(calls.c.number == number[0])).one()), True

    def finish(self, number: int, status: int, answer: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(update(calls).where(calls.c.number == number).values(status=status))
            keyed = (calls.c.number == number, calls.c.key.is_not(None))
            connection.execute(update(calls).where(*keyed).values(answer=answer))

    def latest(self, *, limit: int, before: int | None = None) -> tuple[Call, ...]:
        wanted = select(calls).order_by(calls.c.number.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(calls.c.number < before)
        with reading(self._engine) as connection:
            return tuple(_call(row) for row in connection.execute(wanted))


def _call(row: Row[tuple[object, ...]]) -> Call:
    return Call(**{**row._asdict(), "at": from_text(row.at)})
