"""Rotation of logs that a program goes on writing to: copied beside, then emptied, so that nobody must reopen them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ROTATE_BYTES = 16 << 20
"""Size at which a log is rotated; one former log is kept, so a program has twice this at most."""


def rotate_grown(folders: Iterable[Path], limit: int = ROTATE_BYTES) -> tuple[Path, ...]:
    """Rotate every log of these folders that is larger; which. What is written between copy and emptying is lost.

    Programs append, so they write on at the new end. A log that cannot be copied is emptied all the same where the
    disk is full: it is what fills it.
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
