"""Tail: finds the files of a log, live and rotated, and reads whole lines from the given offsets.

A file is identified by its first line, which has a unique request id and time. So renaming or copying it changes
nothing, and a new file in the place of an old one is read from its start, even with the same inode. Rotation renames
`live.jsonl` to `live.000001.jsonl` or `live.jsonl.something`. A file with any other name in the folder is recognised
once a line of it has been read. Compressed files are not read, so compress only files that `Tail.finished` returns. A
last line without its newline waits for the rest.

Files are kept open, so that they are read to their end even if they are renamed, moved away or deleted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CHUNK = 2 * 1024 * 1024
"""Bytes read at once, which also limits a transaction. A longer line is read in pieces, none of which parses."""
_FIRST = 64 * 1024
_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4"})
_PASSES_AWAY = 600
"""Passes without a change after which a file that has left the folder is closed; its writer uses another by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Whole lines read from a file."""

    head: str
    """The digest of the file's first line, which identifies the file under any name."""
    start: int
    end: int
    """The offset after the last line; less than `start` if the file was truncated."""
    lines: list[bytes]
    is_last: bool
    """Whether the file has no further whole line."""


@dataclass(slots=True)
class _OpenFile:
    """An open file."""

    descriptor: int
    stamp: tuple[int, int] | None = None
    """Its size and modification time at the last pass."""
    is_level: bool = False
    """Whether the last pass read it to its end."""
    still: int = 0
    """Passes since it last changed."""


class Tail:
    """Reads the files of one log. The caller keeps the offsets; all other state can be recovered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[tuple[int, int], _OpenFile] = {}
        self._heads: dict[tuple[int, int], str | None] = {}
        """The heads of files whose names do not identify them."""
        self._written: tuple[int, int] | None = None
        """The file that changed last."""
        self.is_astray = False
        """Whether there is no file at the log's path, or another file was written to last."""

    def __del__(self) -> None:
        for open_file in self._open.values():
            with suppress(OSError):
                os.close(open_file.descriptor)

    def files(self, known: Collection[str] = ()) -> tuple[Path, ...]:
        """The present files of the log, the least recently modified first, so that rows are roughly in order of time.

        Includes files of any name whose head is in `known`.
        """
        try:
            entries = [path for path in self.path.parent.iterdir() if self._is_of_log(path, known)]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(entries, key=lambda path: (path == self.path, _modified(path), path.name)))

    def chunks(self, offsets: dict[str, int]) -> Iterator[Chunk]:
        """The next chunk of each file that has whole lines after its offset."""
        current = self._open_files(offsets)
        in_turn = sorted(self._open, key=lambda file: (file == current, self._changed(file)))
        for file in in_turn:
            was_known = self._open[file].stamp is not None
            chunk, has_changed = self._next(file, offsets)
            if has_changed and (was_known or file == current):
                self._written = file
            if chunk is not None:
                yield chunk
        self.is_astray = current is None or self._written not in (None, current)

    def begin_anew(self) -> None:
        """Reset `is_astray` after the writer was told to reopen the log; its next write shows whether it did."""
        self._written = None
        self.is_astray = False

    def forget(self) -> None:
        """Read again from the offsets, because the last chunks could not be committed."""
        for open_file in self._open.values():
            open_file.is_level = False

    def heads(self) -> set[str]:
        """The heads of all files in the log's folder, whatever their names. Raises OSError."""
        heads = set()
        for path in self.path.parent.iterdir():
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    heads.add(_head(file.fileno()) or "")
        return heads

    def finished(self, offsets: dict[str, int], before_ns: int) -> tuple[Path, ...]:
        """Rotated files that were read to their end and last written to before a time in nanoseconds since 1970."""
        return tuple(path for path in self.files() if path != self.path and _is_read(path, offsets, before_ns))

    def sizes(self, known: Collection[str] = ()) -> dict[str, int]:
        """The present files' sizes by head, including incomplete lines. "": files whose first line is incomplete."""
        sizes: dict[str, int] = {}
        for path in self.files(known):
            with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
                head, size = _head(file.fileno()), os.fstat(file.fileno()).st_size
                sizes[head or ""] = max(sizes.get(head or "", 0), size)
        return sizes

    def _is_of_log(self, path: Path, known: Collection[str]) -> bool:
        if path.suffix in _COMPRESSED or not path.is_file():
            return False
        rotated = path.name.removeprefix(f"{self.path.stem}.").removesuffix(self.path.suffix)
        is_named = path == self.path or rotated.isdecimal() or path.name.startswith(f"{self.path.name}.")
        return is_named or (bool(known) and self._head_of(path) in known)

    def _head_of(self, path: Path) -> str | None:
        """The head of a file whose name does not identify it."""
        try:
            status = path.stat()
            file = (status.st_dev, status.st_ino)
            if self._heads.get(file) is None:
                with path.open("rb", buffering=0) as opened:
                    self._heads[file] = _head(opened.fileno())
        except OSError:
            return None
        return self._heads[file]

    def _open_files(self, offsets: Collection[str]) -> tuple[int, int] | None:
        """Open new files, and close those that left the folder long ago; returns the file at the log's path."""
        present: dict[tuple[int, int], Path] = {}
        for path in self.files(offsets):
            with suppress(FileNotFoundError):
                status = path.stat()
                present[status.st_dev, status.st_ino] = path
        for file, path in present.items():
            if file not in self._open:
                with suppress(FileNotFoundError):
                    self._open[file] = _OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        for file in [
            file for file, open_file in self._open.items() if file not in present and open_file.still > _PASSES_AWAY
        ]:
            os.close(self._open.pop(file).descriptor)
        return next((file for file, path in present.items() if path == self.path), None)

    def _changed(self, file: tuple[int, int]) -> int:
        return os.fstat(self._open[file].descriptor).st_mtime_ns

    def _next(self, file: tuple[int, int], offsets: dict[str, int]) -> tuple[Chunk | None, bool]:
        """The next chunk of a file, and whether the file has changed since the last pass."""
        open_file = self._open[file]
        status = os.fstat(open_file.descriptor)
        stamp, before = (status.st_size, status.st_mtime_ns), open_file.stamp
        open_file.stamp = stamp
        has_changed = stamp != before
        open_file.still = 0 if has_changed else open_file.still + 1
        if open_file.is_level and not has_changed:
            return None, False
        is_cut = before is not None and status.st_size < before[0]
        chunk = self._cut(file, status.st_size, offsets) if is_cut else None
        chunk = chunk or _read(open_file.descriptor, status, offsets)
        open_file.is_level = chunk is None or chunk.end == status.st_size
        return chunk, has_changed

    def _cut(self, file: tuple[int, int], size: int, offsets: dict[str, int]) -> Chunk | None:
        """An empty chunk that moves the offset of a truncated file to its new end, where the next line begins.

        None if there is a copy of the file, which would be read again from there.
        """
        head = _head(self._open[file].descriptor)
        start = 0 if head is None else offsets.get(head, 0)
        others = (open_file.descriptor for other, open_file in self._open.items() if other != file)
        if head is None or size >= start or head in map(_head, others):
            return None
        return Chunk(head=head, start=start, end=size, lines=[], is_last=True)


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
    """The digest of a file's first line; None while that line is incomplete, and nothing can have been read."""
    first = os.pread(descriptor, _FIRST, 0)
    line, newline, _ = first.partition(b"\n")
    if not newline and len(first) < _FIRST:
        return None
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def head_of(path: Path) -> str | None:
    """The digest of a file's first line, which identifies it; None while that line is incomplete."""
    with path.open("rb", buffering=0) as file:
        return _head(file.fileno())


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
