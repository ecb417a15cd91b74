"""Locks between processes of one machine, so that only one at a time packs, fetches or deletes a bento."""

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
