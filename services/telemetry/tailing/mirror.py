"""Mirror: byte-for-byte copies of the access logs of another host's gateway, which are collected like local logs."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable, UsageError

_LOGS = frozenset({"live", "shadow", "generated"})
_HEAD = re.compile(r"[0-9a-f]{32}")
RESERVE = 64 << 20
"""Bytes of the disk that stay free for this host's own data, above all its record."""
OPEN = ".open"
"""The suffix of files that are not complete yet."""


_FULL = f"less than {RESERVE >> 20} MiB are free on the disk, and logs of other hosts do not take these."


def take(folder: Path, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
    """Add data at an offset of a file, unless it is already there; returns how many bytes of the file are stored
    durably.

    A file is identified by the digest of its first line. Data that would leave a gap is not stored, and its sender goes
    back. Raises Unreachable if the disk is nearly full; then the data is sent again later.
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
        fcntl.flock(handle, fcntl.LOCK_EX)  # a resent part may arrive while the first one is being written
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


def complete(folder: Path, log: str) -> dict[str, int]:
    """The sizes of a log's complete files, by head. Their gateway may have deleted them before they were read here."""
    paths = [path for path in folder.glob(f"{log}.jsonl.*") if may_go(path)]
    sizes: dict[str, int] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            sizes[path.suffix[1:]] = path.stat().st_size
    return sizes


def may_go(path: Path) -> bool:
    """Whether a file that was read to its end is complete, so that it may be deleted."""
    return path.suffix != OPEN
