"""Files that are written whole: whoever reads sees the old content or the new, also after a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PRIVATE = 0o600
"""Nobody but the owner can read it, at any moment."""


def replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file by a rename, once its content and mode are on the disk. Makes its folder where there is none."""
    _draft(path, text, mode).replace(path)
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


def _draft(path: Path, text: str, mode: int) -> Path:
    """The content beside its place, on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
