"""What must be done to follow a commit: its documents, those that count here, and those of the commit before. Pure.

Where Git changed a document, Git wins. Where Git did not and the document here is another, somebody changed it here:
that is drift, which is told, or taken back where one asks for that.
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
    """What is done about a document."""

    APPLY = "apply"
    WITHDRAW = "withdraw"
    TELL = "tell"


@dataclass(frozen=True, kw_only=True)
class Base:
    """What was followed last: the documents of a commit, each by kind and name with its digest."""

    commit: str = ""
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Todo:
    """One document and what is done about it."""

    step: Step
    kind: str
    name: str
    why: str
    document: ReadDocument | None = None
    """None: it is in Git no longer."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """A variation that serves another build than its deployment says, although that was rolled out."""

    document: ReadDocument
    serves: str
    """The version that is stable."""
    rollout: Rollout
    """The one that ended it: the candidate that was taken back, or the way back."""

    @property
    def why(self) -> str:
        """In words."""
        deployment = self.document.value
        return f"serves v{self.serves}, not v{deployment.build}: {self.rollout.id}: {self.rollout.reason}"


def todo(documents: Sequence[ReadDocument], known: Iterable[Known], base: Base, *, revert: bool) -> tuple[Todo, ...]:
    """Everything that is done, in order: what others may name first, withdrawals last and the other way round."""
    here = {(each.kind, each.name): each.digest for each in known}
    changes = [each for document in documents if (each := _change(document, here, base, revert=revert)) is not None]
    gone = set(base.digests) - {(each.kind, each.name) for each in documents}
    withdrawn = [
        Todo(step=Step.WITHDRAW, kind=kind, name=name, why="it is not in Git any more")
        for kind, name in sorted(gone)
        if (kind, name) in here
    ]
    return (
        *sorted(changes, key=lambda each: ORDER.index(each.kind)),
        *sorted(withdrawn, key=lambda each: -ORDER.index(each.kind)),
    )


def _change(document: ReadDocument, here: Mapping[tuple[str, str], str], base: Base, *, revert: bool) -> Todo | None:
    key = (document.kind, document.name)
    present = here.get(key)
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
    """Deployments of the next environment that name an older build than the one that was promoted here, and how it was.

    A build that was put in at once was not judged here, and one whose promotion late labels have not confirmed is not
    yet, or was not: neither is handed on.
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
    """The variations whose build was rolled out and is not what they serve, while nothing is under way there."""
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
