"""Accounts: the requests missing from each gateway's log, stored in the database when their number changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from sluicegate.services.telemetry.reading.account import Account, begun, is_settled
from sluicegate.services.telemetry.reading.watch import Counters
from sluicegate.services.telemetry.store.schema import accounts
from sluicegate.services.telemetry.store.store import Store

_MICRO = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Requests that a gateway has served and whose lines were never read."""

    gateway: str
    log: str
    requests: int
    at: datetime
    """When their number was last seen to have grown."""

    def __str__(self) -> str:
        return (
            f"{self.requests:,} requests of {self.gateway} were served and never counted: their lines are missing from "
            f"{self.log}; some were last missed at {self.at:%Y-%m-%d %H:%M} UTC"
        )


def gaps(store: Store) -> Sequence[Gap]:
    """All gaps. Raises Unreachable."""
    table = accounts
    query = sa.select(table.c.gateway, table.c.log, table.c.gap, table.c.gap_at).where(table.c.gap > 0)
    with store.read() as connection:
        rows = connection.execute(query.order_by(table.c.log)).all()
    return [
        Gap(gateway=row.gateway, log=row.log, requests=row.gap, at=datetime.fromtimestamp(row.gap_at / _MICRO, UTC))
        for row in rows
    ]


class Accountant:
    """Keeps the account of one log."""

    def __init__(self, store: Store, gateway: str, log: str) -> None:
        """`log`: its name in the database."""
        self._store, self._gateway, self._log = store, gateway, log
        self._account: Account | None = None

    def look(self, counters: Counters, now: datetime) -> None:
        """Update the account with the counters of one look. Raises Unreachable; then the next look catches up."""
        last = self._account or self._load()
        if last is None and not is_settled(counters):
            return
        account = begun(counters) if last is None else last.after(counters, round(now.timestamp() * _MICRO))
        if account != last:
            self._save(account)
        self._account = account

    def _load(self) -> Account | None:
        with self._store.read() as connection:
            row = connection.execute(sa.select(accounts).where(accounts.c.log == self._log)).mappings().first()
        names = ("ended", "lines", "before", "gap", "gap_at")
        return Account(**{name: row[name] for name in names}) if row else None

    def _save(self, account: Account) -> None:
        row = (
            self._log, self._gateway, account.ended, account.lines, account.before, account.gap, account.gap_at
        )  # fmt: skip
        with self._store.write() as connection:
            self._store.insert(connection, accounts, [row], replace=True)
