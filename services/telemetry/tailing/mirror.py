"""Mirror: the access logs of a gateway of another host, byte for byte, from which they are collected like our own."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable, UsageError

_LOGS = frozenset({"live", "shadow", "generated"})
_HEAD = re.compile(r"[0-9a-f]{32}")
RESERVE = 64 << 20
"""Bytes of the disk that stay free for what this host itself has to write: its record above all."""
OPEN = ".open"
"""Ends the name of a file that more may come of."""


_FULL = f"less than {RESERVE >> 20} MiB are free on the disk, and logs of other hosts do not take these."


def take(folder: Path, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
    """Add what comes at this place of a file, unless it is here already; how much of the file is here then, durably.

    A file is known by the digest of its first line. What would leave a gap is not taken: its sender goes back.
    Raises Unreachable where the disk is nearly full: it is sent again later.
    """
    if log not in _LOGS or not _HEAD.fullmatch(head) or offset < 0:
        raise UsageError("what was sent is not part of an access log.", fix="install the same version on both hosts.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, closed = folder / f"{log}.jsonl.{head}{OPEN}", folder / f"{log}.jsonl.{head}"
    if closed.exists():
        return closed.stat().st_size
    if not data and not path.exists():
        return 0
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # a part that is sent again may come while the first one is being written
        size = os.fstat(handle).st_size
        new = data[size - offset :] if offset <= size else b""
        if new and shutil.disk_usage(folder).free - len(new) < RESERVE:
            raise Unreachable(
                _FULL, fix="free some space on the disk of the state folder; the log waits at its gateway."
            )
        if new:
            if os.write(handle, new) != len(new):
                raise OSError("the disk is full")
            os.fsync(handle)
            size += len(new)
    finally:
        os.close(handle)
    if is_whole and size == offset + len(data):
        path.rename(closed)
    return size


def may_go(path: Path) -> bool:
    """Whether nothing more comes of a file that was read to its end."""
    return path.suffix != OPEN
