"""Checks of database files: find damaged pages before their data is needed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned

_SECONDS = 10.0
"""The time limit for one file; the check of a large one on a slow disk is not completed."""
_STEPS = 10_000
"""Steps of SQLite's virtual machine between looks at the clock."""
_SHOWN = 3


def database(name: str, path: Path, fix: str, elapsed: Callable[[], float] = time.monotonic) -> list[Finding]:
    """Whether every page of an SQLite file is readable and consistent; nothing if there is no file."""
    check = f"{name} file"
    if not path.exists():
        return []
    until = elapsed() + _SECONDS
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_SECONDS) as connection:
            connection.set_progress_handler(lambda: elapsed() > until, _STEPS)
            problems = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({_SHOWN})")]
        connection.close()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return [
                warned(
                    check,
                    f"too large to be checked in {_SECONDS:.0f} s",
                    f"sqlite3 {path} 'PRAGMA quick_check'",
                )
            ]
        return [failed(check, f"{path} cannot be read: {error}", fix)]
    except sqlite3.DatabaseError as error:
        return [failed(check, f"{path} is damaged: {error}", fix)]
    if problems == ["ok"]:
        return [passed(check, f"{path}: no damage found")]
    return [failed(check, f"{path} is damaged: {'; '.join(line.strip() for line in problems)[:300]}", fix)]
