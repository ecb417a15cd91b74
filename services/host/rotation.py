"""Rotates logs that a program keeps open: copies the file, then truncates it, so that the program need not reopen
it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ROTATE_BYTES = 16 << 20
"""The size at which a log is rotated. One former log is kept, so a program's logs take at most twice this."""


def rotate_grown(folders: Iterable[Path], limit: int = ROTATE_BYTES) -> tuple[Path, ...]:
    """Rotate every log in these folders that is larger than `limit`; returns them. Lines written between the copy and
    the

    truncation are lost. Programs append, so they continue at the new end. A log that cannot be copied, such as on a
    full disk, is truncated anyway, because it may be what fills the disk.
    """
    grown = [path for folder in folders for path in sorted(folder.glob("*.log")) if _size(path) > limit]
    for path in grown:
        former = path.with_name(f"{path.name}.1")
        draft = path.with_name(f".{path.name}.1")
        try:
            shutil.copyfile(path, draft)
            draft.chmod(0o600)
            draft.replace(former)
        except OSError:
            draft.unlink(missing_ok=True)
            former.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.truncate(path, 0)
    return tuple(grown)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
