"""Shipping: sends this host's access logs to the host that counts them, each byte once, even if processes are killed.

The receiver says how much of each file it has, so the sender needs no state of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sluicegate.services.telemetry.tailing.tail import Chunk, Tail, head_of


class Send(Protocol):
    """Sends a part of a file; returns how many bytes of the file the receiver has. Raises Unreachable."""

    def __call__(self, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int: ...


QUIET = 60.0
"""Seconds without a write after which a rotated file counts as complete."""


class Shipper:
    """Ships the files of one log."""

    def __init__(self, path: Path, send: Send, wall: Callable[[], float] = time.time) -> None:
        self._tail, self._send, self._wall = Tail(path), send, wall
        self._there: dict[str, int] = {}

    def ship(self) -> bool:
        """Send the next part of each file; returns whether nothing is left."""
        is_level = True
        try:
            for chunk in self._tail.chunks(self._there):
                is_level = self._one(chunk) and is_level
        except BaseException:
            self._tail.forget()
            raise
        return is_level

    def let_go(self) -> None:
        """Delete rotated files that the receiver has completely."""
        for path in self._tail.finished(self._there, round((self._wall() - QUIET) * 1e9)):
            head = head_of(path)
            if head is not None:
                self._send(self.name, head, self._there[head], b"", is_whole=True)
            path.unlink(missing_ok=True)

    @property
    def name(self) -> str:
        """The log's name."""
        return self._tail.path.stem

    def _one(self, chunk: Chunk) -> bool:
        if chunk.head not in self._there:  # not sent by this process; ask the receiver
            self._there[chunk.head] = self._send(self.name, chunk.head, 0, b"", is_whole=False)
            if self._there[chunk.head]:
                self._tail.forget()
                return False
        data = b"\n".join(chunk.lines)
        if len(data) < chunk.end - chunk.start:
            data += b"\n"
        there = self._send(self.name, chunk.head, chunk.start, data, is_whole=False)
        self._there[chunk.head] = there
        if there < chunk.end:  # the receiver has lost data; send it again
            self._tail.forget()
            return False
        return chunk.is_last
