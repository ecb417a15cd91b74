"""Obstacle: what prevents Prefect from driving a rollout, since when, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Obstacle(StrEnum):
    """Kinds of obstacle, told apart because each is fixed in a different place."""

    UNREACHABLE = "unreachable"
    """Prefect does not answer."""
    DENIED = "denied"
    """Prefect refuses our credentials."""
    MISSING = "missing"
    """Prefect does not have the deployment: somebody deleted it, or Prefect has a new database."""
    STALE = "stale"
    """The deployment belongs to another version of Sluicegate, and does not accept this version's parameters."""
    ERROR = "error"
    """Prefect answers with an error."""
    WAITING = "waiting"
    """The run exists, but Prefect does not start it."""
    CRASHED = "crashed"
    """The run has ended and drove nothing."""
    HELD_UP = "held up"
    """Kubernetes does not run the pod of the run yet."""
    LOST = "lost"
    """Kubernetes has ended the pod of the run: evicted, preempted, out of memory."""

    @property
    def is_of_server(self) -> bool:
        """Whether it affects every rollout, so that there is no use in trying the next one."""
        return self in (Obstacle.UNREACHABLE, Obstacle.DENIED)

    @property
    def is_mended_by_registering(self) -> bool:
        """Whether registering the deployments again fixes it."""
        return self in (Obstacle.MISSING, Obstacle.STALE)


_REGISTERED = "wait: the keeper registers the deployments again; sluice up does so, too"
FIXES: Mapping[Obstacle, str] = {
    Obstacle.UNREACHABLE: "check that the Prefect server runs: sluice status, sluice doctor",
    Obstacle.DENIED: "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY as the server wants it, then: sluice up",
    Obstacle.MISSING: _REGISTERED,
    Obstacle.STALE: _REGISTERED,
    Obstacle.ERROR: "look into the log of the Prefect server; the keeper tries again",
    Obstacle.WAITING: "check that a worker polls the work pool and has a free slot: sluice doctor",
    Obstacle.CRASHED: "look into its log: sluice logs ROLLOUT; the keeper creates another run",
    Obstacle.HELD_UP: "mend what the reason names, such as room on a node; until then the pod waits",
    Obstacle.LOST: "where it needs more memory, give it more; the keeper creates another run",
}
"""What to do about each obstacle, unless the hindrance has a more specific fix."""


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """What one attempt ran into."""

    obstacle: Obstacle
    detail: str
    """The request and the answer, in words."""
    fix: str | None = None
    """What to do; None: the usual fix for the obstacle."""


class Driver(StrEnum):
    """The state of a rollout's driver when nothing hinders it."""

    AT_WORK = "at work"
    """A driver holds the lease, or none is needed."""
    COMING = "coming"
    """A run was created and has not had time to take the lease."""


@dataclass(frozen=True, kw_only=True)
class Undriven:
    """No driver works on a rollout."""

    hindrance: Hindrance
    since: datetime
    """Time of the first of the consecutive attempts that were hindered, for whatever reason."""
    fix: str

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"no driver is at work since {since}: {self.hindrance.detail}. Fix: {self.fix}"


def undriven(
    former: Undriven | None, state: Driver | Hindrance, now: datetime, fixes: Mapping[Obstacle, str] = FIXES
) -> Undriven | None:
    """The state to record after an attempt, given the one recorded before; None if nothing hinders it.

    A run that is coming proves that Prefect answers and has the deployment, but not that runs start and survive.
    """
    match state:
        case Driver.AT_WORK:
            return None
        case Driver.COMING:
            return former if former is not None and former.hindrance.obstacle in _OF_RUNS else None
        case Hindrance():
            fix = state.fix or fixes[state.obstacle]
            return Undriven(hindrance=state, since=former.since if former else now, fix=fix)


_OF_RUNS = (Obstacle.WAITING, Obstacle.CRASHED, Obstacle.HELD_UP, Obstacle.LOST)


def hindrance_of(what: str, status: int, text: str) -> Hindrance:
    """What an unsuccessful answer of Prefect means. `what` names what the request was for, such as a deployment."""
    answer = " ".join(f"{status} {text[:200]}".split())
    match status:
        case 401 | 403:
            return Hindrance(obstacle=Obstacle.DENIED, detail=f"Prefect refuses the credentials ({answer})")
        case 404 if "deployment not found" in text.lower():  # any other 404: there is no Prefect at this address
            return Hindrance(obstacle=Obstacle.MISSING, detail=f"Prefect does not have the deployment {what}")
        case 409 | 422:
            return Hindrance(obstacle=Obstacle.STALE, detail=f"the deployment {what} refuses the run ({answer})")
        case _:
            return Hindrance(obstacle=Obstacle.ERROR, detail=f"Prefect answers {answer} to a request for {what}")
