"""What applying documents would change: each compared with the one of its kind and name that is in force. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sluicegate.registry.documents.documents import ReadDocument


class State(StrEnum):
    """What applying a document would do."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ABSENT = "only here"
    """It is in force, and no document here declares it: `apply --prune` withdraws it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value that differs."""

    path: str
    """Path of the value, such as steps.0.weight."""
    before: object
    """None: it is missing."""
    after: object

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {self.after}"
        if self.after is None:
            return f"- {self.path}: {self.before}"
        return f"~ {self.path}: {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A document, what applying it would do, and which values would change."""

    kind: str
    name: str
    where: str
    """The file that contains it; empty: none."""
    state: State
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Known:
    """A document that is in force."""

    kind: str
    name: str
    digest: str
    body: Mapping[str, object]
    is_bare: bool = False
    """Whether it equals the default, so that there is nothing to withdraw."""
    actor: str | None = None
    """Who changed it last, if known."""
    at: datetime | None = None


def differences(documents: Iterable[ReadDocument], known: Iterable[Known]) -> tuple[Difference, ...]:
    """The difference between every document and what is in force, in the order of the documents."""
    by_name = {(each.kind, each.name): each for each in known}
    return tuple(_difference(document, by_name.get((document.kind, document.name))) for document in documents)


def absent(documents: Iterable[ReadDocument], known: Iterable[Known]) -> tuple[Difference, ...]:
    """Documents in force that none of these documents declares."""
    declared = {(document.kind, document.name) for document in documents}
    return tuple(
        Difference(kind=each.kind, name=each.name, where="", state=State.ABSENT)
        for each in known
        if (each.kind, each.name) not in declared and not each.is_bare
    )


def changes(before: object, after: object, path: str = "") -> Iterator[Change]:
    """Every value that differs, in document order."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from changes(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    elif _is_list(before) and _is_list(after):
        assert isinstance(before, Sequence)
        assert isinstance(after, Sequence)
        for position in range(max(len(before), len(after))):
            pair = [each[position] if position < len(each) else None for each in (before, after)]
            yield from changes(pair[0], pair[1], f"{path}.{position}")
    else:
        yield Change(path=path, before=before, after=after)


def _difference(document: ReadDocument, known: Known | None) -> Difference:
    state = State.CHANGED
    if known is None or known.digest == document.digest:
        state = State.NEW if known is None else State.UNCHANGED
    changed = tuple(changes(known.body, document.body)) if known is not None and state is State.CHANGED else ()
    return Difference(kind=document.kind, name=document.name, where=document.where, state=state, changes=changed)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
