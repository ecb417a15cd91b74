"""The port of a store: files by name. Adapters: `folder`, `mlflow_artifacts`, `s3`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
"""Bytes that are read or written at once."""


class Objects(Protocol):
    """Files by name, such as `bentos/delays/v1-0a.tar`.

    Promises, each tested on every adapter by tests/contract/test_bento_store.py:

    - What does not answer, refuses us or has no space raises StoreUnavailable, in the time of its limits.
    - Whoever reads a name sees a whole file, the former or the new one, or none; also where an upload was killed.
    - Of several uploads under one name the last one stays. To remove what is not there is no error.
    """

    @property
    def where(self) -> str:
        """What people call it, such as s3://models/bentos."""
        ...

    def size(self, name: str) -> int | None:
        """The bytes of a file; None where there is none."""
        ...

    def upload(self, name: str, source: Path) -> None:
        """Store a file whole."""
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
        """Delete what uploads left that were killed before this time."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a store may take, in seconds."""

    connect: float = 3.0
    silence: float = 15.0
    """Without a byte."""
    whole: float = 30.0
    """For a question; a file has so much, and more by its size."""
    rate: float = 1 << 20
    """Bytes a second below which a file takes too long."""

    def seconds(self, size: int) -> float:
        """What a file of this size may take. A limit for silence alone lets a store drip for ever."""
        return self.whole + size / self.rate


def pieces_of(source: Path) -> Iterator[bytes]:
    """The content of a file here."""
    with source.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


class Reading:
    """Pieces as a file that is read from its beginning to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or what is left."""
        size = -1 if size is None else size
        parts, have = [self._left], len(self._left)
        while (size < 0 or have < size) and (piece := next(self._pieces, b"")):
            parts.append(piece)
            have += len(piece)
        whole = b"".join(parts)
        size = have if size < 0 else size
        self._left = whole[size:]
        return whole[:size]
