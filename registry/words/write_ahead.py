"""SQLite's log that is written ahead: readers go on while one writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

_PAUSE = 0.01


def write_ahead(execute: Callable[[str], object], busy_ms: int) -> None:
    """Let a connection wait `busy_ms` for others, and have its database written ahead.

    Of several that open an empty database at the same moment SQLite turns all but one away at once, whatever they are
    told to wait, for they would wait for one another: they try again. Raises sqlite3.OperationalError in the end.
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
