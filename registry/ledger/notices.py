"""Notices: PostgreSQL tells everybody who listens, on any host, that facts or documents were recorded.

They come with the commit, or not at all. One that is missed costs only time: whoever listens also looks now and then.
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
"""After so long without a notice the server is asked whether it is still there: a cut line says nothing."""
_AGAIN_SECONDS = 1.0
"""Pause until a lost connection is made again."""
log = structlog.get_logger("notices")


def announce(connection: Connection) -> None:
    """Tell those who listen, once this transaction is committed. Only PostgreSQL has such a channel."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


def can_listen(location: str) -> bool:
    """Whether a ledger at this URL tells what is recorded."""
    return make_url(location).get_backend_name() == "postgresql"


@dataclass
class Listening:
    """Calls `heard` at each notice, and once after each connection: something may have been recorded before it."""

    location: str
    heard: Callable[[], object]
    _engine: Engine = field(init=False)
    _told: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._engine = connect(self.location).execution_options(isolation_level="AUTOCOMMIT")

    def run(self, stop: threading.Event) -> None:
        """Listen until stopped, on one connection after another."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except (Unreachable, SQLAlchemyError, psycopg.Error, OSError) as error:  # nobody depends on notices
                if not self._told:
                    log.warning("notices of the ledger do not come; it is looked at every second", why=str(error))
                self._told = True
                stop.wait(_AGAIN_SECONDS)

    def _listen(self, stop: threading.Event) -> None:
        with reading(self._engine) as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            connection.detach()  # closed when it is left: nobody else may get one that listens
            driver.add_notify_handler(lambda _: self.heard())
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            if self._told:
                log.warning("notices of the ledger come again")
            self._told = False
            self.heard()
            coming = select.poll()  # its descriptor may be any: the console has many
            coming.register(driver, select.POLLIN)
            while not stop.is_set():
                coming.poll(QUIET_SECONDS * 1000)
                connection.exec_driver_sql("SELECT 1")  # notices come with the answer; raises where there is none
