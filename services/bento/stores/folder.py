"""A folder as the store: on a disk that several machines mount, or on another disk of this machine."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from sluicegate.registry.words.errors import NotFound, StoreUnavailable
from sluicegate.services import durable
from sluicegate.services.bento.stores.objects import pieces_of

_BEGUN = ".begun"
_LINKLESS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
"""Errors of file systems that do not allow a hard link."""


class FolderObjects:
    """Files below one folder. If a mount hangs, no limit of ours can end a read there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def where(self) -> str:
        return str(self._root)

    def size(self, name: str) -> int | None:
        with self._reached():
            path = self._root / name
            return path.stat().st_size if path.is_file() else None

    def upload(self, name: str, source: Path) -> None:
        """Store a file. On the same file system it makes a hard link instead of a copy."""
        path, draft = self._root / name, self._root / _BEGUN / uuid4().hex
        with self._reached():
            for folder in (path.parent, draft.parent):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                _linked_or_copied(source, draft)
                draft.replace(path)
                durable.sync_folder(path.parent)
            finally:
                draft.unlink(missing_ok=True)

    @contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes]]:
        path = self._root / name
        if self.size(name) is None:
            raise NotFound(f"{path} does not exist.")
        yield self._pieces(path)

    def names(self, under: str) -> tuple[str, ...]:
        with self._reached():
            root = self._root / under
            return tuple(sorted(each.relative_to(self._root).as_posix() for each in root.rglob("*") if each.is_file()))

    def remove(self, name: str) -> None:
        with self._reached():
            (self._root / name).unlink(missing_ok=True)

    def sweep(self, before: datetime) -> None:
        with self._reached():
            for draft in (self._root / _BEGUN).glob("*"):
                if draft.stat().st_mtime < before.timestamp():
                    draft.unlink(missing_ok=True)

    def _pieces(self, path: Path) -> Iterator[bytes]:
        with self._reached():
            yield from pieces_of(path)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"the bento store {self.where} cannot be used: {error.strerror or error}.",
                fix="check that the folder is mounted, writable and has free space; or change SLUICE_STORE.",
            ) from error


def _linked_or_copied(source: Path, draft: Path) -> None:
    with source.open("rb") as file:
        os.fsync(file.fileno())
    try:
        draft.hardlink_to(source)
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        with source.open("rb") as original, draft.open("xb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
