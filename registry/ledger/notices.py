"""Notices: PostgreSQL tells every listener, on any host, that facts or documents were recorded.

They come with the commit or not at all. A missed one only costs time, because every listener also polls.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
import structlog
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.registry.ledger.engine import connect, reading
from sluicegate.registry.words.errors import Unreachable

CHANNEL = "sluice_ledger"
QUIET_SECONDS = 5.0
"""Seconds without a notice after which the server is queried, because a broken connection says nothing."""
_AGAIN_SECONDS = 1.0
"""Pause before a lost connection is made again."""
log = structlog.get_logger("notices")


def announce(connection: Connection) -> None:
    """Notify all listeners once this transaction is committed. Only PostgreSQL has such a channel."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


def can_listen(location: str) -> bool:
    """Whether a ledger at this URL sends notices."""
    return make_url(location).get_backend_name() == "postgresql"


@dataclass
class Listening:
    """Calls `heard` at each notice, and once after each connection, because something may have been recorded before."""

    location: str
    heard: Callable[[], object]
    _engine: Engine = field(init=False)
    _is_warned: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._engine = connect(self.location).execution_options(isolation_level="AUTOCOMMIT")

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop` is set, reconnecting as needed."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except (Unreachable, SQLAlchemyError, psycopg.Error, OSError) as error:  # nobody depends on notices
                if not self._is_warned:
                    log.warning("notices of the ledger do not come; it is looked at every second", why=str(error))
                self._is_warned = True
                stop.wait(_AGAIN_SECONDS)

    def _listen(self, stop: threading.Event) -> None:
        with reading(self._engine) as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            connection.detach()  # closed afterwards: the pool must not hand out a connection that listens
            driver.add_notify_handler(lambda _: self.heard())
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            if self._is_warned:
                log.warning("notices of the ledger come again")
            self._is_warned = False
            self.heard()
            coming = select.poll()  # unlike select(), it takes any file descriptor, and the console has many
            coming.register(driver, select.POLLIN)
            while not stop.is_set():
                coming.poll(QUIET_SECONDS * 1000)
                connection.exec_driver_sql("SELECT 1")  # notices come with its answer; raises if the server is gone
