"""The port of a store: files by name. Adapters: `folder`, `mlflow_artifacts`, `s3`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
"""Bytes to read or write at once."""


class Objects(Protocol):
    """Files by name, such as `bentos/delays/v1-0a.tar`.

    Promises, each tested on every adapter by tests/contract/test_bento_store.py:

    - A store that does not answer, refuses access or has no space raises StoreUnavailable, within its time limits.
    - A reader of a name sees a complete file, either the former or the new one, or none, even if an upload was killed.
    - Of several uploads under one name the last one stays. Removing a missing file is no error.
    """

    @property
    def where(self) -> str:
        """The store's address for people, such as s3://models/bentos."""
        ...

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None if there is no such file."""
        ...

    def upload(self, name: str, source: Path) -> None:
        """Store a file. Readers see it only when it is complete."""
        ...

    def read(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """The content of a file, piece by piece. Raises NotFound."""
        ...

    def names(self, under: str) -> tuple[str, ...]:
        """Every name under a folder such as `bentos`."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file."""
        ...

    def sweep(self, before: datetime) -> None:
        """Delete what uploads left that began before this time and were killed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of a store, in seconds."""

    connect: float = 3.0
    silence: float = 15.0
    """Longest time without a byte."""
    whole: float = 30.0
    """Limit of a whole request; a file gets more time by its size."""
    rate: float = 1 << 20
    """Slowest transfer to accept, in bytes a second."""

    def seconds(self, size: int) -> float:
        """Time limit for a file of this size. A limit on silence alone would let a slow store take for ever."""
        return self.whole + size / self.rate


def pieces_of(source: Path) -> Iterator[bytes]:
    """The content of a local file, piece by piece."""
    with source.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


class Reading:
    """Presents pieces as a file that is read from start to end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, or everything that is left."""
        size = -1 if size is None else size
        parts, have = [self._left], len(self._left)
        while (size < 0 or have < size) and (piece := next(self._pieces, b"")):
            parts.append(piece)
            have += len(piece)
        whole = b"".join(parts)
        size = have if size < 0 else size
        self._left = whole[size:]
        return whole[:size]
