"""SQLite's write-ahead log: readers continue while somebody writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

_PAUSE = 0.01


def write_ahead(execute: Callable[[str], object], busy_ms: int) -> None:
    """Make a connection wait up to `busy_ms` for others, and switch its database to the write-ahead log.

    When several connections open an empty database at once, SQLite turns all but one away immediately, whatever their
    timeout, because they would wait for one another. So this tries again. Raises sqlite3.OperationalError in the end.
    """
    execute(f"PRAGMA busy_timeout = {busy_ms}")
    until = time.monotonic() + busy_ms / 1000
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_PAUSE)
        else:
            return
