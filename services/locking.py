"""Locking: locks between processes of one machine. The system releases a lock when the process that holds it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of this name during the block; waits until it is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name.replace(':', '@')}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(handle: int) -> bool:
    """Lock the open file if no other process holds it; returns whether it did. Closing the file releases it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
