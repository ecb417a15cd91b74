"""Following a branch: applies its newest commit, reports or reverts drift, writes builds that were taken back to Git.

Every effect may be repeated: after a crash, the next run does the rest and nothing takes effect twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sluicegate.flows.sync.merging import Base, Departure, Step, Todo, departures, promotions, todo
from sluicegate.flows.sync.remembered import Tree, base_of, remember, remember_failure
from sluicegate.flows.sync.repository import Checkout, checkout
from sluicegate.flows.sync.writing_back import hand_on, write_back
from sluicegate.registry.documents.deployment import Deployment
from sluicegate.registry.documents.documents import ReadDocument, read_documents
from sluicegate.registry.documents.known import known_documents
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import InvalidDocument, Problem, SluiceError, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.documents import DocumentActs, DocumentBody
from sluicegate.services.console.operations import Request
from sluicegate.services.console.ports import Desk


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Who follows a tree, and with which options."""

    desk: Desk
    actor: str
    role: Role
    revert: bool = False
    """Whether to restore Git's version of documents that were changed here. Otherwise changes are only reported."""
    write_back: bool = True
    """Whether to push the build in use to Git, on its own branch, after another was taken back."""
    hand_to: str | None = None
    """The environment for which to propose builds that were promoted here, each on its own branch; None for none."""


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a run did, in words."""

    commit: str
    done: tuple[str, ...]
    drift: tuple[str, ...]
    """What differs here from Git."""
    refused: tuple[str, ...]
    """Changes in Git that could not be applied. Every run tries them again."""
    branches: tuple[str, ...]
    """Branches that were pushed."""

    @property
    def is_in_sync(self) -> bool:
        """Whether everything here matches Git."""
        return not self.drift and not self.refused

    def __str__(self) -> str:
        lines = (
            *self.done, *(f"differs: {each}" for each in self.drift), *(f"refused: {each}" for each in self.refused),
            *(f"pushed: {each}" for each in self.branches),
        )  # fmt: skip
        return "\n".join((f"commit {self.commit[:12]}: {'in sync' if self.is_in_sync else 'not in sync'}", *lines))


def synchronise(follower: Follower, tree: Tree) -> SyncResult:
    """Make this installation match the branch's newest commit.

    Applies nothing if the tree contains an error. Raises InvalidDocument, UsageError, Unreachable.
    """
    desk = follower.desk
    try:
        with checkout(tree.url, tree.branch) as files:
            return _follow(follower, tree, files)
    except SluiceError as error:
        remember_failure(desk.ledger, tree, desk.clock(), error)
        raise


def _follow(follower: Follower, tree: Tree, files: Checkout) -> SyncResult:
    desk, base = follower.desk, base_of(follower.desk.ledger, tree)
    documents = _documents(files, tree, desk.champion_alias)
    work = todo(documents, known_documents(desk.ledger), base, revert=follower.revert)
    done, refused = _carry_out(follower, [each for each in work if each.step is not Step.TELL])
    moved = tuple(departures(_unmoved(documents, base), _rollouts_of(desk, documents)))
    drift = (
        *(f"{each.kind} {each.name}: {each.why}" for each in work if each.step is Step.TELL),
        *(f"deployment {each.document.name}: {each.why}" for each in moved),
    )
    branches = (
        *(_write_back(files, moved) if follower.write_back else ()),
        *_hand_on(follower, tree, files, documents),
    )
    remember(
        desk.ledger, tree, _followed(documents, base, files.commit, refused), desk.clock(),
        (*drift, *refused.values()),
    )  # fmt: skip
    return SyncResult(commit=files.commit, done=done, drift=drift, refused=tuple(refused.values()), branches=branches)


def _documents(files: Checkout, tree: Tree, champion_alias: str) -> tuple[ReadDocument, ...]:
    """The documents of the tree. Errors name files by their paths in the repository."""
    root = (files.folder / tree.path).resolve()
    if not root.is_relative_to(files.folder) or not root.is_dir():
        raise UsageError(
            f"{tree}: the repository has no folder {tree.path}.",
            fix="name a folder that it has: --path FOLDER",
        )
    try:
        return read_documents([root], champion_alias, tree.environment)
    except InvalidDocument as error:
        problems = tuple(replace(each, where=_inside(each, files.folder)) for each in error.problems)
        raise InvalidDocument(problems) from None
    except UsageError as error:
        raise UsageError(error.message.replace(f"{root}", tree.path), fix=error.fix) from None


def _inside(problem: Problem, folder: Path) -> str:
    where = Path(problem.where)
    return str(where.relative_to(folder)) if where.is_relative_to(folder) else problem.where


def _carry_out(follower: Follower, work: Sequence[Todo]) -> tuple[tuple[str, ...], dict[tuple[str, str], str]]:
    """Carry out the work. Returns what was done, and the refusals by kind and name."""
    done, refused = list[str](), dict[tuple[str, str], str]()
    for each in work:
        act = _apply if each.step is Step.APPLY else _withdraw
        what = f"{each.kind} {each.name}"
        try:
            done.append(f"{what}: {act(follower, each)}: {each.why}")
        except SluiceError as error:
            refused[each.kind, each.name] = f"{what}: {error.message}"
    return tuple(done), refused


def _apply(follower: Follower, work: Todo) -> str:
    assert work.document is not None
    values = {"kind": work.kind, **work.document.body}
    body = DocumentBody(values=values, where=work.document.where)
    _, answer = DocumentActs(follower.desk).apply(_request(follower), body)
    return "applied" if answer["rollout"] is None else f"applied, {answer['rollout']}"


def _withdraw(follower: Follower, work: Todo) -> str:
    words = {"kind": work.kind, "name": work.name}
    DocumentActs(follower.desk).withdraw(_request(follower, words), DocumentBody.model_construct())
    return "withdrawn"


def _request(follower: Follower, query: dict[str, str] | None = None) -> Request:
    return Request(actor=follower.actor, role=follower.role, door="git", query=query or {})


def _rollouts_of(desk: Desk, documents: Sequence[ReadDocument]) -> tuple[Rollout, ...]:
    """The current rollouts of the deployments' models, and all rollouts of the builds that the deployments name."""
    ledger = desk.ledger
    deployments = [each.value for each in documents if isinstance(each.value, Deployment)]
    tried = (
        ledger.rollouts(Selection(model=each.model, variation=each.variation, version=each.build))
        for each in deployments
    )
    current = (ledger.current(model) for model in {each.model for each in deployments})
    return tuple({each.id: each for group in (*tried, *current) for each in group}.values())


def _unmoved(documents: Sequence[ReadDocument], base: Base) -> list[ReadDocument]:
    """Documents that did not change since the last commit followed, so that their rollouts have had time to end."""
    return [each for each in documents if base.digests.get((each.kind, each.name)) == each.digest]


def _write_back(files: Checkout, departed: Sequence[Departure]) -> tuple[str, ...]:
    pushed = (write_back(files, each) for each in departed)
    return tuple(branch for branch in pushed if branch is not None)


def _hand_on(follower: Follower, tree: Tree, files: Checkout, documents: Sequence[ReadDocument]) -> tuple[str, ...]:
    following = follower.hand_to
    if following is None:
        return ()
    theirs = _documents(files, replace(tree, environment=following), follower.desk.champion_alias)
    passed = promotions(documents, theirs, _rollouts_of(follower.desk, documents))
    pushed = (hand_on(files, document, rollout, following) for document, rollout in passed)
    return tuple(branch for branch in pushed if branch is not None)


def _followed(documents: Sequence[ReadDocument], base: Base, commit: str, refused: dict[tuple[str, str], str]) -> Base:
    """The base of the next run. Refused documents keep their former digest, so that they are tried again."""
    now = {(each.kind, each.name): each.digest for each in documents if (each.kind, each.name) not in refused}
    before = {key: digest for key, digest in base.digests.items() if key in refused}
    return Base(commit=commit, digests=before | now)
