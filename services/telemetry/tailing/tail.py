"""Tail: finds the files of a log, live and rotated, and reads whole lines from where it was left.

A file is known by its first line, which holds a request id and a time of its own: a rename or a copy changes nothing,
and a new file in the place of an old one starts over, same inode or not. Rotation is by rename: `live.jsonl` becomes
`live.000001.jsonl` or `live.jsonl.something`; under another name of the folder a file is known once a line of it was
read. Compressed files are not read: compress only what `Tail.finished` names. A last line without its newline waits for
the rest.

Files are kept open: what is renamed, moved away or deleted by others is read to its end all the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CHUNK = 2 * 1024 * 1024
"""Bytes read at once, which also bounds a transaction; a longer line is taken in pieces, none of which parses."""
_FIRST = 64 * 1024
_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4"})
_PASSES_AWAY = 600
"""Passes without a change after which a file that left the folder is let go: its writer has another by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Whole lines read from a file."""

    head: str
    """Digest of the file's first line: which file it is, whatever it is called now."""
    start: int
    end: int
    """Offset after the last line; less than `start` where the file was cut."""
    lines: list[bytes]
    is_last: bool
    """Whether the file held no further whole line."""


@dataclass(slots=True)
class _Held:
    """A file that is open."""

    descriptor: int
    stamp: tuple[int, int] | None = None
    """Size and time of change at the last pass."""
    is_level: bool = False
    """Whether nothing of what there was at the last pass is left to read."""
    still: int = 0
    """Passes since it changed."""


class Tail:
    """Reads the files of one log. Offsets are handed in; what it remembers besides can be forgotten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[tuple[int, int], _Held] = {}
        self._heads: dict[tuple[int, int], str | None] = {}
        """First lines of files whose names say nothing."""
        self._written: tuple[int, int] | None = None
        """The file that changed last."""
        self.is_astray = False
        """Whether nothing is at the log's path, or what was written last was written to another file."""

    def __del__(self) -> None:
        for open_file in self._held.values():
            with suppress(OSError):
                os.close(open_file.descriptor)

    def files(self, known: Collection[str] = ()) -> tuple[Path, ...]:
        """The files there are now, the longest untouched first, so that rows come about in order of time.

        Those are among them whatever their name whose first line is `known`.
        """
        try:
            entries = [path for path in self.path.parent.iterdir() if self._is_of_log(path, known)]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(entries, key=lambda path: (path == self.path, _modified(path), path.name)))

    def chunks(self, offsets: dict[str, int]) -> Iterator[Chunk]:
        """The next chunk of each file that has whole lines beyond its offset."""
        current = self._open_files(offsets)
        in_turn = sorted(self._held, key=lambda file: (file == current, self._changed(file)))
        for file in in_turn:
            was_known = self._held[file].stamp is not None
            chunk, has_changed = self._next(file, offsets)
            if has_changed and (was_known or file == current):
                self._written = file
            if chunk is not None:
                yield chunk
        self.is_astray = current is None or self._written not in (None, current)

    def begin_anew(self) -> None:
        """The writer was told where the log is: what it writes from now on says whether it heard."""
        self._written = None
        self.is_astray = False

    def forget(self) -> None:
        """Read again from the offsets: what was read came to nothing."""
        for open_file in self._held.values():
            open_file.is_level = False

    def heads(self) -> set[str]:
        """By what the files are known that lie beside the log now, whatever their names. Raises OSError."""
        heads = set()
        for path in self.path.parent.iterdir():
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    heads.add(_head(file.fileno()) or "")
        return heads

    def finished(self, offsets: dict[str, int], before_ns: int) -> tuple[Path, ...]:
        """Rotated files that were read to their very end and last written before a time in nanoseconds since 1970."""
        return tuple(path for path in self.files() if path != self.path and _is_read(path, offsets, before_ns))

    def unread(self, offsets: dict[str, int]) -> int:
        """Bytes beyond the offsets, lines that are not whole included."""
        return sum(_unread(path, offsets) for path in self.files(offsets))

    def _is_of_log(self, path: Path, known: Collection[str]) -> bool:
        if path.suffix in _COMPRESSED or not path.is_file():
            return False
        rotated = path.name.removeprefix(f"{self.path.stem}.").removesuffix(self.path.suffix)
        is_named = path == self.path or rotated.isdecimal() or path.name.startswith(f"{self.path.name}.")
        return is_named or (bool(known) and self._head_of(path) in known)

    def _head_of(self, path: Path) -> str | None:
        """The digest of the first line of a file whose name says nothing."""
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
        """Open what came, let go what left long ago; which file has the log's path."""
        present: dict[tuple[int, int], Path] = {}
        for path in self.files(offsets):
            with suppress(FileNotFoundError):
                status = path.stat()
                present[status.st_dev, status.st_ino] = path
        for file, path in present.items():
            if file not in self._held:
                with suppress(FileNotFoundError):
                    self._held[file] = _Held(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        for file in [
            file for file, open_file in self._held.items() if file not in present and open_file.still > _PASSES_AWAY
        ]:
            os.close(self._held.pop(file).descriptor)
        return next((file for file, path in present.items() if path == self.path), None)

    def _changed(self, file: tuple[int, int]) -> int:
        return os.fstat(self._held[file].descriptor).st_mtime_ns

    def _next(self, file: tuple[int, int], offsets: dict[str, int]) -> tuple[Chunk | None, bool]:
        """The next chunk of a file, and whether the file changed since the last pass."""
        open_file = self._held[file]
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
        """Of a file that became shorter than what was read of it: the next line begins at its new end.

        Not where a copy of it is there, which would be read again from that place.
        """
        head = _head(self._held[file].descriptor)
        start = 0 if head is None else offsets.get(head, 0)
        others = (open_file.descriptor for other, open_file in self._held.items() if other != file)
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
    """None while the first line is not complete: nothing can have been read from such a file."""
    first = os.pread(descriptor, _FIRST, 0)
    line, newline, _ = first.partition(b"\n")
    if not newline and len(first) < _FIRST:
        return None
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def head_of(path: Path) -> str | None:
    """By what a file is known; None while its first line is not complete."""
    with path.open("rb", buffering=0) as file:
        return _head(file.fileno())


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
