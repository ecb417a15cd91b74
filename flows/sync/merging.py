"""What to do to follow a commit, from its documents, those applied here, and those of the last commit followed. Pure.

If Git changed a document, Git wins. If Git did not, but the document here differs, somebody changed it here. This is
drift, which is reported, or reverted on request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sluicegate.registry.documents.deployment import Deployment
from sluicegate.registry.documents.diff import Known
from sluicegate.registry.documents.documents import ORDER, ReadDocument
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import trusted


class Step(StrEnum):
    """What to do with a document."""

    APPLY = "apply"
    WITHDRAW = "withdraw"
    TELL = "tell"


@dataclass(frozen=True, kw_only=True)
class Base:
    """The last commit that was followed, with the digests of its documents by kind and name."""

    commit: str = ""
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Todo:
    """What to do with one document, and why."""

    step: Step
    kind: str
    name: str
    why: str
    document: ReadDocument | None = None
    """None if it is no longer in Git."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """A variation that serves another build than its deployment names, although the named one was rolled out."""

    document: ReadDocument
    serves: str
    """The version that is stable."""
    rollout: Rollout
    """The rollout that caused this: the candidate's, which was taken back, or the rollback."""

    @property
    def why(self) -> str:
        """The departure in words."""
        deployment = self.document.value
        return f"serves v{self.serves}, not v{deployment.build}: {self.rollout.id}: {self.rollout.reason}"


def todo(documents: Sequence[ReadDocument], known: Iterable[Known], base: Base, *, revert: bool) -> tuple[Todo, ...]:
    """The work in order: first documents that others may refer to. Withdrawals come last, in the reverse order."""
    applied = {(each.kind, each.name): each.digest for each in known}
    changes = [each for document in documents if (each := _change(document, applied, base, revert=revert)) is not None]
    gone = set(base.digests) - {(each.kind, each.name) for each in documents}
    withdrawn = [
        Todo(step=Step.WITHDRAW, kind=kind, name=name, why="it is not in Git any more")
        for kind, name in sorted(gone)
        if (kind, name) in applied
    ]
    return (
        *sorted(changes, key=lambda each: ORDER.index(each.kind)),
        *sorted(withdrawn, key=lambda each: -ORDER.index(each.kind)),
    )


def _change(document: ReadDocument, applied: Mapping[tuple[str, str], str], base: Base, *, revert: bool) -> Todo | None:
    key = (document.kind, document.name)
    present = applied.get(key)
    if present == document.digest:
        return None
    is_changed_in_git = base.digests.get(key) != document.digest
    if is_changed_in_git:
        why = "it is new" if present is None else "Git changed it"
    else:
        why = "it was withdrawn here" if present is None else "it was changed here"
    step = Step.APPLY if is_changed_in_git or revert else Step.TELL
    return Todo(step=step, kind=document.kind, name=document.name, why=why, document=document)


def promotions(
    documents: Iterable[ReadDocument], following: Iterable[ReadDocument], rollouts: Sequence[Rollout]
) -> Iterator[tuple[ReadDocument, Rollout]]:
    """Deployments of the next environment that name an older build than the one promoted here, each with its rollout.

    Two kinds of builds are not handed on: one that was deployed at once, since nothing judged it here, and one whose
    promotion late labels have not confirmed.
    """
    by_name = {each.name: each for each in following if isinstance(each.value, Deployment)}
    for document in documents:
        own, other = document.value, by_name.get(document.name)
        if not isinstance(own, Deployment) or other is None or int(other.value.build) >= int(own.build):
            continue
        stable = trusted(each for each in rollouts if each.target == (own.model, own.variation))
        if stable is not None and stable.requested.version == own.build and _has_passed(stable):
            yield other, stable


def _has_passed(rollout: Rollout) -> bool:
    return rollout.has_passed and (rollout.confirms is None or rollout.is_confirmed is True)


def departures(documents: Iterable[ReadDocument], rollouts: Sequence[Rollout]) -> Iterator[Departure]:
    """Variations that do not serve the build of their deployment, although it was rolled out and is not under way."""
    for document in documents:
        if not isinstance(document.value, Deployment):
            continue
        deployment = document.value
        mine = [each for each in rollouts if each.target == (deployment.model, deployment.variation)]
        stable = trusted(mine)
        tried = [each for each in mine if each.requested.version == deployment.build]
        if stable is None or not tried or stable.requested.version == deployment.build:
            continue
        if any(not each.is_ended and each.requested.version == deployment.build for each in mine):
            continue
        ended = stable if tried[-1].took_over else tried[-1]
        yield Departure(document=document, serves=stable.requested.version, rollout=ended)
