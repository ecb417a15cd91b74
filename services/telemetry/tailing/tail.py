"""Tail: finds the files of a log, live and rotated, and reads whole lines from where it was left.

A file is known by its first line, which holds a request id and a time of its own: a rename or a copy changes nothing,
and a new file in the place of an old one starts anew, same inode or not. Rotation is by rename: `live.jsonl` becomes
`live.000001.jsonl` or `live.jsonl.something`. Compressed files are not read: compress only what `Tail.finished` names.
A last line without its newline waits for the rest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK = 2 * 1024 * 1024
"""Bytes read at once, which also bounds a transaction; a longer line is taken in pieces, none of which parses."""
_FIRST = 64 * 1024
_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Whole lines read from a file."""

    head: str
    """Digest of the file's first line: which file it is, whatever it is called now."""
    start: int
    end: int
    """Offset after the last line."""
    lines: list[bytes]
    is_last: bool
    """Whether the file held no further whole line."""


class Tail:
    """Reads the files of one log. Remembers nothing but what saves system calls: offsets are handed in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at_end: dict[Path, tuple[int, int, int]] = {}

    def files(self) -> tuple[Path, ...]:
        """The files there are now, the longest untouched first, so that rows come about in order of time."""
        try:
            entries = [path for path in self.path.parent.iterdir() if self._is_of_log(path)]
        except FileNotFoundError:
            return ()
        return tuple(sorted(entries, key=lambda path: (path == self.path, _modified(path), path.name)))

    def chunks(self, offsets: dict[str, int]) -> Iterator[Chunk]:
        """The next chunk of each file that has whole lines beyond its offset."""
        present = self.files()
        for gone in set(self._at_end).difference(present):
            del self._at_end[gone]
        for path in present:
            chunk = self._chunk(path, offsets)
            if chunk is not None:
                yield chunk

    def finished(self, offsets: dict[str, int], before_ns: int) -> tuple[Path, ...]:
        """Rotated files that were read to their very end and last written before a time in nanoseconds since 1970."""
        return tuple(path for path in self.files() if path != self.path and _is_read(path, offsets, before_ns))

    def unread(self, offsets: dict[str, int]) -> int:
        """Bytes beyond the offsets, lines that are not whole included."""
        return sum(_unread(path, offsets) for path in self.files())

    def _is_of_log(self, path: Path) -> bool:
        if path.suffix in _COMPRESSED or not path.is_file():
            return False
        rotated = path.name.removeprefix(f"{self.path.stem}.").removesuffix(self.path.suffix)
        return path == self.path or rotated.isdecimal() or path.name.startswith(f"{self.path.name}.")

    def _chunk(self, path: Path, offsets: dict[str, int]) -> Chunk | None:
        try:
            with path.open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
                if self._at_end.get(path) == stamp:
                    return None
                chunk = _read(file.fileno(), status, offsets)
        except FileNotFoundError:
            return None
        if chunk is None or chunk.end == status.st_size:
            self._at_end[path] = stamp
        return chunk


def _read(descriptor: int, status: os.stat_result, offsets: dict[str, int]) -> Chunk | None:
    head = _head(descriptor)
    start = 0 if head is None else offsets.get(head, 0)
    if head is None or status.st_size <= start:
        return None
    data = os.pread(descriptor, CHUNK, start)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) < CHUNK:
        return None
    whole = data[:end] if end else data
    return Chunk(
        head=head,
        start=start,
        end=start + len(whole),
        lines=whole.removesuffix(b"\n").split(b"\n"),
        is_last=len(data) < CHUNK,
    )


def _head(descriptor: int) -> str | None:
    """None while the first line is not complete: nothing can have been read from such a file."""
    first = os.pread(descriptor, _FIRST, 0)
    line, newline, _ = first.partition(b"\n")
    if not newline and len(first) < _FIRST:
        return None
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def _unread(path: Path, offsets: dict[str, int]) -> int:
    try:
        with path.open("rb", buffering=0) as file:
            head = _head(file.fileno())
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return 0
    return size - (0 if head is None else min(offsets.get(head, 0), size))


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _is_read(path: Path, offsets: dict[str, int], before_ns: int) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            head = _head(file.fileno())
    except FileNotFoundError:
        return False
    is_whole = status.st_size == 0 or (head is not None and offsets.get(head, 0) >= status.st_size)
    return is_whole and status.st_mtime_ns < before_ns
