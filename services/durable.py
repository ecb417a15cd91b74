"""Files that are written whole: whoever reads sees the old content or the new, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600
"""Nobody but the owner can read it, at any moment."""


def replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file by a rename, once its content and mode are on the disk. Makes its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
