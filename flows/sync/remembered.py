"""What the ledger remembers of each followed tree: its last commit, and what differed from Git."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sluicegate.flows.sync.merging import Base
from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.registry.words.urls import without_credentials

_ALL, _STANDING = "syncs", "syncs-scheduled"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A folder of documents on a branch of a repository, read for an environment."""

    url: str
    branch: str
    path: str = "."
    environment: str | None = None

    @property
    def key(self) -> str:
        """The key of its note in the ledger."""
        identity = "\0".join((self.url, self.branch, self.path, self.environment or ""))
        return f"sync:{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        where = f"{without_credentials(self.url)} {self.branch}:{self.path}"
        return where if self.environment is None else f"{where} ({self.environment})"


def base_of(notes: Notes, tree: Tree) -> Base:
    """The last commit that was followed; empty if there was none."""
    note = notes.recall(tree.key)
    if note is None or "digests" not in note:
        return Base()
    rows: Any = note["digests"]
    return Base(commit=str(note["commit"]), digests={(kind, name): digest for kind, name, digest in rows})


def remember(notes: Notes, tree: Tree, base: Base, at: datetime, wrong: tuple[str, ...]) -> None:
    """Record the commit that was followed, and what differs from it."""
    rows = [[kind, name, digest] for (kind, name), digest in sorted(base.digests.items())]
    _write(notes, tree, {"commit": base.commit, "digests": rows, "at": at.isoformat(), "wrong": list(wrong)})


def remember_failure(notes: Notes, tree: Tree, at: datetime, error: SluiceError) -> None:
    """Record why a tree could not be read; its last commit stays.

    A tree that was never read and that nobody follows is not recorded, since its URL, branch or folder may be a typo.
    """
    note = notes.recall(tree.key)
    if note is None and tree.key not in (notes.recall(_STANDING) or {}):
        return
    empty = {"commit": "", "digests": []}
    _write(notes, tree, {**(note or empty), "at": at.isoformat(), "wrong": [error.message], "fix": error.fix})


def _write(notes: Notes, tree: Tree, note: dict[str, object]) -> None:
    notes.remember(tree.key, {**note, "tree": str(tree)})
    trees = notes.recall(_ALL) or {}
    if tree.key not in trees:
        notes.remember(_ALL, {**trees, tree.key: str(tree)})


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The result of following a tree."""

    tree: str
    """The tree in words."""
    commit: str
    """The last commit that was followed; empty if there is none yet."""
    at: datetime
    """When the tree was last read."""
    wrong: tuple[str, ...]
    """What differs from Git, or why the tree could not be followed."""
    fix: str | None
    """How to fix what kept the tree from being read; None if it was read."""


def followed(notes: Notes) -> tuple[Followed, ...]:
    """Every tree that was followed, with the last result."""
    stored: list[Any] = [notes.recall(key) for key in sorted(notes.recall(_ALL) or {})]
    return tuple(
        Followed(
            tree=note["tree"],
            commit=note["commit"],
            at=datetime.fromisoformat(note["at"]),
            wrong=tuple(note["wrong"]),
            fix=note.get("fix"),
        )
        for note in stored
        if note is not None
    )


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A tree that is followed on schedule, and how."""

    tree: Tree
    revert: bool = False
    """Whether to restore Git's version of documents that were changed here."""
    write_back: bool = True
    """Whether to push the build in use to Git after another was taken back."""
    hand_to: str | None = None
    """The environment for which to propose builds that were promoted here; None for none."""


def follow(notes: Notes, standing: Standing) -> None:
    """Follow a tree from now on. Raises UsageError for a URL with a password, since the ledger stores no secrets."""
    if without_credentials(standing.tree.url) != standing.tree.url:
        raise UsageError(
            "the URL holds a user name or password, which would be stored in the ledger.",
            fix="leave them out, and give git an ssh key or a credential helper where Prefect's worker runs",
        )
    standings = {**(notes.recall(_STANDING) or {}), standing.tree.key: asdict(standing)}
    notes.remember(_STANDING, standings)


def unfollow(notes: Notes, tree: Tree) -> bool:
    """Stop following a tree and showing its result. Returns False if it was neither followed nor shown."""
    was_known = False
    for key in (_STANDING, _ALL):
        trees = dict(notes.recall(key) or {})
        was_known |= trees.pop(tree.key, None) is not None
        notes.remember(key, trees)
    return was_known


def standing(notes: Notes) -> tuple[Standing, ...]:
    """The trees that are followed on schedule."""
    rows: dict[str, Any] = notes.recall(_STANDING) or {}
    return tuple(Standing(**{**row, "tree": Tree(**row["tree"])}) for row in rows.values())
