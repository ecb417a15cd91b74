"""Files that are written whole: whoever reads sees the old content or the new, also after a power cut.

One that must be written although the disk is full has a spare beside it, whose space is there already.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

PRIVATE = 0o600
"""Nobody but the owner can read it, at any moment."""


_FULL = (errno.ENOSPC, errno.EDQUOT)
_PIECE = 64 << 10
"""Bytes by which a spare grows."""


def replace(path: Path, text: str, *, mode: int = 0o644, spare: Path | None = None) -> None:
    """Replace a file by a rename, once its content and mode are on the disk. Makes its folder where there is none.

    On a full disk the content goes into the `spare`, and the file that is replaced becomes the next one.
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
    _sync_folder(path.parent)


def create(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file that is not there; of several who do, the first wins. One that is there stays as it is."""
    if path.exists():
        return
    draft = _draft(path, text, mode)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    _sync_folder(path.parent)


def set_aside(path: Path, size: int) -> None:
    """Give a file the disk space for so many bytes, whatever its size is: on a full disk it grows up to there.

    Raises OSError where there is no such space, or the system cannot do it.
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
    """The content beside its place, on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
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
    """Whether the spare has the space, and nobody else the file."""
    try:
        there = spare.stat()
    except OSError:
        return False
    return there.st_nlink == 1 and there.st_size >= len(text.encode())


def _write_over(spare: Path, text: str) -> None:
    with spare.open("r+b") as file:
        file.write(text.encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _provide(spare: Path, size: int, mode: int) -> None:
    """Have a spare of at least twice this size. Where there is no space for one, there is none."""
    wanted = -(-2 * size // _PIECE) * _PIECE
    with contextlib.suppress(OSError):
        if spare.exists() and spare.stat().st_size >= wanted and spare.stat().st_nlink == 1:
            return
        _draft(spare, "\0" * wanted, mode).replace(spare)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
