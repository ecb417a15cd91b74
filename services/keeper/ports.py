"""What the keeper needs from its neighbours. `sluicegate.flows.wiring.runtime` hands in the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.obstacle import Driver, Hindrance


class Table(Protocol):
    """A compiled route table; only its version matters here."""

    @property
    def version(self) -> str: ...


TableT = TypeVar("TableT", bound=Table)


class Services(Protocol):
    """The services that run on this machine."""

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Start a service, or do nothing when it runs. Raises ServiceFailed."""
        ...

    def stop(self, build: BuildRef) -> None:
        """Drain and stop a service; blocks until it is gone."""
        ...

    def endpoints(self) -> Mapping[BuildRef, Endpoint]:
        """Where every started service answers or will answer."""
        ...

    def running(self) -> frozenset[BuildRef]:
        """Every service that was started and not stopped, healthy or not."""
        ...

    def probe(self, build: BuildRef) -> str | None:
        """None when the service answers as it should, else what is wrong; blocks for seconds at most."""
        ...

    def gave_up(self, build: BuildRef) -> str | None:
        """Why the service cannot run, when restarting it has been given up."""
        ...


class DataPlane(Protocol[TableT]):
    """What splits the requests."""

    def compile(self, standings: Sequence[Standing], endpoints: Mapping[BuildRef, Endpoint]) -> TableT:
        """The route table that follows from the ledger; pure."""
        ...

    def apply(self, table: TableT) -> None:
        """Put a table in force and wait until it is; harmless again. Raises RoutesRejected, Unreachable."""
        ...

    def observe(self) -> str | None:
        """The version in force; None when it cannot be told."""
        ...

    def in_flight(self, build: BuildRef) -> int | None:
        """Requests that a build's service is still answering; None when it cannot be told."""
        ...


class Drivers(Protocol):
    """Where drivers run."""

    def ensure(self, rollouts: Sequence[Rollout], now: datetime) -> Mapping[str, Driver | Hindrance]:
        """See that a driver works on each rollout or will soon, and how that stands; never starts doubles."""
        ...


class Judge(Protocol):
    """One tick with authority to stop."""

    def __call__(self, rollout: str, now: datetime) -> tuple[Rollout, Decision]: ...
