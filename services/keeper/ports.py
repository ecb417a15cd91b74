"""What the keeper needs from its neighbours. `sluicegate.flows.wiring.runtime` hands in the real ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.obstacle import Driver, Hindrance


class Table(Protocol):
    """A compiled route table; only its version matters here."""

    @property
    def version(self) -> str: ...


TableT = TypeVar("TableT", bound=Table)


class Services(Protocol):
    """The services that run on this machine."""

    def lacks(self, packed: Packed) -> bool:
        """Whether the bento is still to be fetched from where another machine put it."""
        ...

    def fetch(self, packed: Packed) -> None:
        """Have the bento on this machine; blocks for as long as the store's limits allow.

        Raises PackFailed where what came is not what was packed; other errors may pass.
        """
        ...

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Have as many replicas run as the plan asks for; those that run stay as they are. Raises ServiceFailed."""
        ...

    def retire(self, build: BuildRef, keep: int) -> None:
        """Send nobody to the replicas beyond the first `keep`. They answer on until `dismiss`."""
        ...

    def leaving(self) -> frozenset[BuildRef]:
        """Builds with replicas that nobody is sent to any more."""
        ...

    def dismiss(self, build: BuildRef) -> None:
        """Stop the replicas that nobody is sent to any more; blocks until they are gone."""
        ...

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        """Stop the replicas that were given up, and those that hang; all others answer on. `start` replaces them."""
        ...

    def stop(self, build: BuildRef) -> None:
        """Drain and stop every replica; blocks until they are gone."""
        ...

    def endpoints(self) -> Endpoints:
        """Where the replicas of every started service answer, but for those that leave; or will, where none does."""
        ...

    def running(self) -> Mapping[BuildRef, int]:
        """How many replicas of every service were started and neither stopped nor retired, healthy or not."""
        ...

    def probe(self, build: BuildRef) -> str | None:
        """None when every replica answers as it should, else what is wrong; blocks for seconds at most."""
        ...

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        """Where replicas take what they are sent and do not say that they are alive; blocks for seconds."""
        ...

    def ready(self, build: BuildRef) -> Collection[Endpoint]:
        """Where replicas are ready: each has read its model, and its own process lives. No replica is asked."""
        ...

    def gave_up(self, build: BuildRef) -> str | None:
        """Why a replica cannot run, when restarting it has been given up."""
        ...


class DataPlane(Protocol[TableT]):
    """What splits the requests."""

    def compile(self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken) -> TableT:
        """The route table that follows from this state of the ledger, given which builds run; pure."""
        ...

    def apply(self, table: TableT, endpoints: Endpoints) -> None:
        """Put a table and the addresses of its builds in force and wait until they are; harmless again.

        Raises RoutesRejected, Unreachable, and Fenced where it holds a newer one.
        """
        ...

    def renew(self) -> None:
        """Note that this keeper watches: what is in force, or what it was told of it, follows from the ledger."""
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


class RunPods(Protocol):
    """The pods of Prefect's flow runs, where these are Jobs of a cluster."""

    def seen(self) -> Mapping[str, Hindrance | None]:
        """What hinders the pod of each run that has one; None: nothing."""
        ...

    def unmade(self, job: str) -> Hindrance | None:
        """Why no pod is made of a Job; None where nobody says so."""
        ...

    def remove(self, run: str) -> None:
        """End the pod of a run that is given up."""
        ...


class Judge(Protocol):
    """One tick with authority to stop."""

    def __call__(self, rollout: str, now: datetime) -> tuple[Rollout, Decision]: ...
