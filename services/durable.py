"""Atomic file writes: a reader gets the old content or the new, even after a power cut.

A file that must be writable even on a full disk has a spare file beside it, whose space is already allocated.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
from pathlib import Path

_OWN = secrets.token_hex(4)
"""Of this process: containers that share a folder may all be process 1."""
PRIVATE = 0o600
"""The mode of files that only their owner may read; it holds from their creation on."""


_FULL = (errno.ENOSPC, errno.EDQUOT)
_PIECE = 64 << 10
"""Bytes; the size of a spare is a multiple of this."""


def replace(path: Path, text: str, *, mode: int = 0o644, spare: Path | None = None) -> None:
    """Replace a file by a rename, once the content and mode are on the disk. Creates the folder if needed.

    On a full disk the content goes into the `spare`, and the replaced file becomes the next spare.
    """
    try:
        _draft(path, text, mode).replace(path)
    except OSError as error:
        if spare is None or error.errno not in _FULL or not _fits(spare, text):
            raise
        _write_over(spare, text)
        following = spare.with_name(f"{spare.name}.new")
        following.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            following.hardlink_to(path)
        spare.replace(path)
        with contextlib.suppress(OSError):
            following.replace(spare)
    else:
        if spare is not None:
            _provide(spare, len(text.encode()), mode)
    sync_folder(path.parent)


def create(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Create a file unless it exists. If several processes do so at once, the first wins."""
    if path.exists():
        return
    draft = _draft(path, text, mode)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    sync_folder(path.parent)


def set_aside(path: Path, size: int) -> None:
    """Allocate disk space for a file to grow to `size` bytes, even on a disk that becomes full. Its size stays as it
    is.

    Raises OSError if the space is missing or the system cannot allocate it.
    """
    if path.stat().st_blocks * 512 >= size:
        return
    handle = os.open(path, os.O_WRONLY)
    try:
        allocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
        if allocate is None:
            raise OSError(errno.ENOTSUP, "no space can be set aside here")
        if allocate(handle, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)):
            raise OSError(ctypes.get_errno(), "no space was set aside", str(path))
    finally:
        os.close(handle)


_KEEP_SIZE = 1


def _draft(path: Path, text: str, mode: int) -> Path:
    """A draft with the content beside its target, synced to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{_OWN}")
    draft.unlink(missing_ok=True)
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _fits(spare: Path, text: str) -> bool:
    """Whether the spare is large enough, and has no second link."""
    try:
        status = spare.stat()
    except OSError:
        return False
    return status.st_nlink == 1 and status.st_size >= len(text.encode())


def _write_over(spare: Path, text: str) -> None:
    with spare.open("r+b") as file:
        file.write(text.encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _provide(spare: Path, size: int, mode: int) -> None:
    """Make sure that there is a spare of at least twice this size, if the disk has the space."""
    wanted = -(-2 * size // _PIECE) * _PIECE
    with contextlib.suppress(OSError):
        if spare.exists() and spare.stat().st_size >= wanted and spare.stat().st_nlink == 1:
            return
        _draft(spare, "\0" * wanted, mode).replace(spare)


def sync_folder(folder: Path) -> None:
    """Make the renames and new files in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
