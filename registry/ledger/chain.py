"""The chain: links every fact, look and document to everything that was recorded before it. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.registry.words.errors import UsageError


class Kind(StrEnum):
    """What is linked."""

    ENTRY = "entry"
    LOOK = "look"
    DOCUMENT = "document"


COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    Kind.ENTRY: ("id", "rollout", "seq", "at", "fact", "payload"),
    Kind.LOOK: ("rollout", "metric", "k", "body"),
    Kind.DOCUMENT: ("id", "kind", "name", "body", "digest", "actor", "at"),
}
"""The columns of a row that its link covers: all of them."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as it is stored."""

    kind: Kind
    columns: Mapping[str, object]

    @property
    def name(self) -> str:
        """The row's name for people, unique within its kind."""
        match self.kind:
            case Kind.ENTRY:
                names: tuple[str, ...] = ("rollout", "seq")
            case Kind.LOOK:
                names = ("rollout", "metric", "k")
            case Kind.DOCUMENT:
                names = ("kind", "name", "id")
        return " ".join(str(self.columns[each]) for each in names)

    def digest(self) -> str:
        """Hash of every column."""
        values = [self.kind, *(self.columns[name] for name in COLUMNS[self.kind])]
        text = json.dumps(values, separators=(",", ":"), default=repr)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Link:
    """The link between one row and all rows before it."""

    place: int
    """From 1, without gaps, in the order of recording."""
    kind: str
    name: str
    hash: str

    @property
    def head(self) -> Head:
        return Head(place=self.place, hash=self.hash)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a chain. If you keep it elsewhere, it shows later that nothing up to it was replaced or cut off."""

    place: int
    hash: str

    def __str__(self) -> str:
        return f"{self.place}:{self.hash}"


START = Head(place=0, hash="")


def parse_head(text: str) -> Head:
    """Parse a head as `sluice verify` prints it. Raises UsageError."""
    parts = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})?", text.strip())
    if parts is None or (parts[2] is None) != (int(parts[1]) == 0):
        raise UsageError(
            f"{text!r} is not the head of a record.", fix="write PLACE:HASH as `sluice verify` printed it."
        )
    return Head(place=int(parts[1]), hash=parts[2] or "")


def seal(head: Head, row: Row) -> Link:
    """The link of the next row to record."""
    return Link(place=head.place + 1, kind=row.kind, name=row.name, hash=_link_hash(head.hash, row.digest()))


def _link_hash(before: str, digest: str) -> str:
    return hashlib.sha256(f"{before}\n{digest}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The result of checking the record against its chain."""

    head: Head
    faults: tuple[str, ...]
    """One for each row that was changed, removed or added. Empty: the record is as it was written."""


def examine(links: Iterable[Link], rows: Iterable[Row], head: Head, *, kept: Head | None = None) -> Examination:
    """Check rows against links, and the last link against the stored head.

    `kept` is a head of this record that somebody kept elsewhere.
    """
    digests: dict[tuple[str, str], str] = {(row.kind, row.name): row.digest() for row in rows}
    faults: list[str] = []
    last = START
    for link in links:
        faults.extend(_faults(last, link, digests.pop((link.kind, link.name), None)))
        faults.extend(_faults_of_kept(link.head, kept))
        last = link.head
    faults.extend(
        f"{kind} {name} has no link in the chain: somebody added it to the database directly" for kind, name in digests
    )
    faults.extend(_faults_of_end(last, head, kept))
    return Examination(head=last, faults=tuple(faults))


def _faults(last: Head, link: Link, digest: str | None) -> Iterator[str]:
    if link.place != last.place + 1:
        yield f"links {last.place + 1} to {link.place - 1} are missing, and perhaps the rows that they belong to"
    if digest is None:
        yield f"{link.kind} {link.name} is missing, or its key was changed (link {link.place})"
    elif link.hash != _link_hash(last.hash, digest) and link.place == last.place + 1:
        yield f"{link.kind} {link.name} was changed, or its link was (link {link.place})"


def _faults_of_kept(head: Head, kept: Head | None) -> Iterator[str]:
    if kept is not None and head.place == kept.place and head.hash != kept.hash:
        yield f"the first {kept.place} links differ from the record whose head you kept"


def _faults_of_end(last: Head, head: Head, kept: Head | None) -> Iterator[str]:
    if last != head:
        yield (
            f"the record ends at link {last.place}, but its stored head is link {head.place} "
            f"({head.hash[:12] or 'no hash'})"
        )
    if kept is not None and last.place < kept.place:
        yield f"the record ends at link {last.place}, but the head that you kept is link {kept.place}"
