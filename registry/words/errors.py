"""The one error tree.

    SluiceError                     exit code 1
    ├── UsageError                  exit code 2: the request is not well formed
    │   ├── InvalidDocument         a plan or other YAML document, with every problem and its place
    │   └── InvalidSetting
    ├── Refused                     well formed, but the present state does not allow it
    │   ├── IllegalMove             the rollout's phase does not allow this fact
    │   ├── AwaitsApproval          kept as a proposal until a second named person approves it
    │   ├── TargetBusy              another rollout holds the (model, variation)
    │   └── PreconditionFailed      the rollout has changed since the caller read it
    ├── Forbidden                   the token's role does not allow it
    ├── NotFound
    ├── LedgerConflict              somebody else appended first; read again
    ├── ObjectConflict              somebody else changed an object of the cluster first; read again
    ├── PackFailed
    ├── ServiceFailed               a service could not be started or did not become ready
    ├── RoutesRejected              the data plane refused its files
    ├── Fenced                      the data plane holds a newer route table
    ├── NotLeading                  another keeper is the leader
    ├── TimedOut                    exit code 5
    └── Unreachable                 exit code 6: a server that is needed does not answer
        ├── CatalogUnavailable      MLflow cannot be read; never taken for a change
        └── StoreUnavailable        the store of bentos cannot be read or written

Every message says what, where and why; `fix` says what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass


class SluiceError(Exception):
    """Sluicegate could not do what it was asked to do."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} Fix: {self.fix}" if self.fix else self.message


class UsageError(SluiceError):
    """The request is not well formed."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong in a document, and where. Lines and columns count from 1."""

    where: str
    line: int
    column: int
    path: str
    message: str
    fix: str | None = None

    def __str__(self) -> str:
        fix = f" ({self.fix})" if self.fix else ""
        return f"{self.where}:{self.line}:{self.column} {self.path}: {self.message}{fix}"


class InvalidDocument(UsageError):
    """A document with at least one problem; the error lists all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class InvalidSetting(UsageError):
    """A setting whose value cannot be used."""


class Refused(SluiceError):
    """The present state does not allow the order."""


class IllegalMove(Refused):
    """The rollout's phase does not allow this fact."""


class TargetBusy(Refused):
    """Another rollout that has not ended holds this variation of the model."""


class AwaitsApproval(Refused):
    """The order changes what a protected variation serves, so it is kept as a proposal."""


class PreconditionFailed(Refused):
    """The rollout has changed since the giver of the order read it."""


class Forbidden(SluiceError):
    """The caller's role does not allow it."""


class NotFound(SluiceError):
    """Nothing has this name."""


class LedgerConflict(SluiceError):
    """Somebody else changed this rollout first: read it again, then decide."""


class ObjectConflict(SluiceError):
    """Somebody else changed this object of the cluster first, or created one with its name: read it again."""


class PackFailed(SluiceError):
    """A build could not be packed as a bento."""


class ServiceFailed(SluiceError):
    """A service could not be started or did not become ready."""


class RoutesRejected(SluiceError):
    """The data plane refused a new configuration. The former one stays in force."""

    def __init__(
        self, message: str, *, fix: str | None = None, models: frozenset[str] = frozenset(), serving: str | None = None
    ) -> None:
        """`models`: the models that keep their former routes; empty: all do. `serving`: the version in force."""
        super().__init__(message, fix=fix)
        self.models = models
        self.serving = serving


class Fenced(SluiceError):
    """The data plane holds a newer route table than this one, which stays in force."""


class NotLeading(SluiceError):
    """This keeper may not act: its lease has ended, and another keeper may have taken over."""


class TimedOut(SluiceError):
    """What the command waited for did not happen in time."""

    exit_code = 5


class Unreachable(SluiceError):
    """A server that is needed does not answer."""

    exit_code = 6


class CatalogUnavailable(Unreachable):
    """MLflow cannot be read. This is never taken for a change in the registry."""


class StoreUnavailable(Unreachable):
    """The store of bentos cannot be read or written."""
