"""What the keeper needs from outside; `sluicegate.flows.wiring.runtime` provides the implementations."""

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
        """Whether the bento must still be fetched from the store where another machine put it."""
        ...

    def fetch(self, packed: Packed) -> None:
        """Fetch the bento to this machine; blocks for as long as the store's limits allow.

        Raises PackFailed if the fetched bento is not the packed one. Other errors may be temporary.
        """
        ...

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Start missing replicas, up to the number in the plan; running ones are not touched. Raises ServiceFailed."""
        ...

    def retire(self, build: BuildRef, keep: int) -> None:
        """Send no more requests to the replicas beyond the first `keep`. They keep running until `dismiss`."""
        ...

    def leaving(self) -> frozenset[BuildRef]:
        """Builds with retired replicas."""
        ...

    def dismiss(self, build: BuildRef) -> None:
        """Stop the retired replicas; blocks until they are gone."""
        ...

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        """Stop the replicas that the supervisor gave up on, and those in `hanging`; `start` replaces them."""
        ...

    def stop(self, build: BuildRef) -> None:
        """Drain and stop every replica; blocks until they are gone."""
        ...

    def endpoints(self) -> Endpoints:
        """The addresses of each started service's replicas, without retired ones; before any answers, where they
        will."""
        ...

    def running(self) -> Mapping[BuildRef, int]:
        """The number of replicas of each service that are started and not retired, healthy or not."""
        ...

    def probe(self, build: BuildRef) -> str | None:
        """None if every replica answers correctly, otherwise what is wrong; blocks for a few seconds at most."""
        ...

    def hanging(self, build: BuildRef) -> Collection[Endpoint]:
        """The replicas that accept connections but do not answer a liveness check; blocks for a few seconds."""
        ...

    def ready(self, build: BuildRef) -> Collection[Endpoint]:
        """The replicas that have loaded their model and whose process is alive. Sends no request to them."""
        ...

    def gave_up(self, build: BuildRef) -> str | None:
        """Why a replica cannot run, if the supervisor has given up restarting it; otherwise None."""
        ...


class DataPlane(Protocol[TableT]):
    """Splits requests between builds."""

    def compile(self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken) -> TableT:
        """The route table for this state of the ledger and these running builds; pure."""
        ...

    def apply(self, table: TableT, endpoints: Endpoints) -> None:
        """Put a table and the addresses of its builds in force, and wait until they are. Idempotent.

        Raises RoutesRejected, Unreachable, and Fenced if the data plane already has a newer table.
        """
        ...

    def renew(self) -> None:
        """Note that a keeper is watching, so that what is in force still follows from the ledger."""
        ...

    def observe(self) -> str | None:
        """The version in force; None if it cannot be read."""
        ...

    def in_flight(self, build: BuildRef) -> int | None:
        """The requests that a build's service is still answering; None if that cannot be read."""
        ...


class Drivers(Protocol):
    """Runs drivers."""

    def ensure(self, rollouts: Sequence[Rollout], now: datetime) -> Mapping[str, Driver | Hindrance]:
        """Ensure that a driver works on each rollout or will soon; returns their states. Never starts a second
        driver."""
        ...


class RunPods(Protocol):
    """The pods of Prefect's flow runs, if runs are Kubernetes Jobs."""

    def hindrances(self) -> Mapping[str, Hindrance | None]:
        """What prevents each run's pod from working, or None; only for runs that have a pod."""
        ...

    def unmade(self, job: str) -> Hindrance | None:
        """Why Kubernetes creates no pod for a Job; None if it gives no reason."""
        ...

    def remove(self, run: str) -> None:
        """Delete the pod of a run that is given up."""
        ...


class Judge(Protocol):
    """Runs one tick with the authority to stop."""

    def __call__(self, rollout: str, now: datetime) -> tuple[Rollout, Decision]: ...
