"""Drivers as Prefect flow runs. Uses Prefect's HTTP API, because importing Prefect takes seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog

from sluicegate.registry.ledger.attempt import Attempt, last_attempt, note
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Lease
from sluicegate.registry.orders.authority import PREFECT, role_of_prefect
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Pause
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import Forbidden, LedgerConflict, Refused
from sluicegate.registry.words.obstacle import Driver, Hindrance, Obstacle, hindrance_of
from sluicegate.registry.words.settings import OnCancel
from sluicegate.registry.words.units import format_weight
from sluicegate.services.keeper.ports import RunPods

log = structlog.get_logger("drivers")

PATIENCE = timedelta(seconds=90)
"""Time that a run may take from its creation to its lease. Prefect shows dead runs as running, so the lease decides."""
START = timedelta(seconds=20)
"""Time after which a run that no worker has picked up is reported as waiting. It is not replaced, because a worker that
returns would start all of its runs."""
HELD_UP = timedelta(minutes=10)
"""Time after which a run whose pod does not start is replaced by another, which uses what has been fixed meanwhile."""
UNMADE = timedelta(seconds=5)
"""Time that Kubernetes has to create the pod of a run that a worker has picked up."""
OWN_DRIVER = timedelta(seconds=15)
"""Time that a run which was started in Prefect and ordered its own rollout has to take its lease."""
UNRENEWED = 20.0
"""Seconds without a renewal after which a lease's driver counts as dead; a little more than the lease's duration."""
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2))
_CANCELLED = ("CANCELLED", "CANCELLING")
_PAUSABLE = (Phase.LAUNCHING, Phase.RUNNING)


def run_name(rollout: Rollout) -> str:
    """The run's name: `fraud v7 25 %`, with the phase if that says more than the weight."""
    match rollout.phase:
        case Phase.RUNNING:
            return f"{rollout.candidate} {format_weight(rollout.weight)} %"
        case Phase.PAUSED:
            return f"{rollout.candidate} {format_weight(rollout.weight)} % paused"
        case Phase.QUEUED | Phase.LAUNCHING:
            return f"{rollout.candidate} {rollout.phase}"
        case Phase.CONFIRMING | Phase.BAKING | Phase.ENDED:
            return f"{rollout.candidate} {rollout.ending or 'promoted'}"


def run_tags(rollout: Rollout) -> list[str]:
    """Tags by which people find a run in Prefect."""
    return ["sluice", f"model:{rollout.requested.model}", f"version:{rollout.requested.version}", rollout.id]


def deployment_of(rollout: Rollout) -> str:
    """The Prefect deployment whose runs drive a rollout."""
    return "shadow/shadow" if rollout.is_shadow else "canary/canary"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A flow run as Prefect reports it."""

    state: str
    """The type of its state, such as SCHEDULED."""
    message: str
    is_queued: bool
    """Whether it is in a work pool, so that a worker will pick it up, however late."""
    job: str
    """The Job that the worker has created for it in a cluster; empty if there is none."""

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Run:
        """From Prefect's JSON."""
        return cls(
            state=str(answer["state_type"]),
            message=str((answer.get("state") or {}).get("message") or "no reason given"),
            is_queued=answer.get("work_pool_name") is not None,
            job=str(answer.get("infrastructure_pid") or "").partition(":")[2],
        )


@dataclass
class LeaseWatch:
    """Finds live leases without a wall clock: a live driver keeps renewing its lease, a dead one's never changes."""

    elapsed: Callable[[], float]
    _renewals: dict[str, _Renewal] = field(default_factory=dict, init=False)

    def live(self, leases: Sequence[Lease], now: datetime) -> frozenset[str]:
        """The rollouts whose lease has been renewed recently."""
        renewals = {}
        for lease in leases:
            last = self._renewals.get(lease.rollout)
            if last is not None and last.until == lease.expires_at:
                renewals[lease.rollout] = last
            else:
                is_renewed = last is not None or lease.expires_at > now
                renewals[lease.rollout] = _Renewal(until=lease.expires_at, at=self.elapsed(), is_renewed=is_renewed)
        self._renewals = renewals
        return frozenset(
            name for name, last in renewals.items() if last.is_renewed and self.elapsed() - last.at < UNRENEWED
        )


@dataclass(frozen=True, kw_only=True)
class _Renewal:
    """When a lease was first read with its present end."""

    until: datetime
    at: float
    """Seconds on the clock of intervals."""
    is_renewed: bool
    """Whether its driver can be alive: False if the lease had expired when it was first read."""


class PrefectDrivers:
    """Creates driver runs. The idempotency key prevents a second run for one attempt, the lease a second driver."""

    def __init__(
        self,
        ledger: Ledger,
        http: httpx.Client,
        *,
        deployment: Callable[[Rollout], str] = deployment_of,
        on_cancel: OnCancel = OnCancel.PAUSE,
        are_jobs: bool = False,
        pods: RunPods | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`are_jobs`: whether Prefect's worker runs Kubernetes Jobs; `pods`: their pods, if we have the right to read
        them."""
        self._ledger = ledger
        self._http = http
        self._deployment = deployment
        self._on_cancel = on_cancel
        self._are_jobs, self._pods = are_jobs, pods
        self._leases = LeaseWatch(elapsed)

    def ensure(self, rollouts: Sequence[Rollout], now: datetime) -> dict[str, Driver | Hindrance]:
        """Ensure that a driver works on each rollout or will soon; if its run was cancelled, follow the setting.

        Returns the state of each. If the server does not answer, it is not called again for the other rollouts.
        """
        leased = self._leases.live(self._ledger.leases(), now)
        pods = self._pods.hindrances() if self._pods is not None and rollouts else {}
        states: dict[str, Driver | Hindrance] = {}
        server_fault: Hindrance | None = None
        for rollout in rollouts:
            if rollout.id in leased:
                state = self._at_work(rollout, pods)
            else:
                state = server_fault or self._ensure(rollout, pods, now)
            if isinstance(state, Hindrance) and state.obstacle.is_of_server:
                server_fault = state
            states[rollout.id] = state
        return states

    def _at_work(self, rollout: Rollout, pods: Mapping[str, Hindrance | None]) -> Driver | Hindrance:
        """The state of a rollout whose lease is live, although the pod of its driver may already be gone."""
        if not any(pods.values()):
            return Driver.AT_WORK
        last = last_attempt(self._ledger, rollout.id)
        met = pods.get(last.run) if last is not None else None
        return met if met is not None and met.obstacle is Obstacle.LOST else Driver.AT_WORK

    def _ensure(self, rollout: Rollout, pods: Mapping[str, Hindrance | None], now: datetime) -> Driver | Hindrance:
        try:
            return self._attempt(rollout, pods, now)
        except httpx.HTTPStatusError as error:
            return hindrance_of(self._deployment(rollout), error.response.status_code, error.response.text)
        except httpx.HTTPError as error:
            why = f"{type(error).__name__}: {error}"
            return Hindrance(obstacle=Obstacle.UNREACHABLE, detail=f"Prefect does not answer ({why})")
        except (ValueError, KeyError, TypeError) as error:
            detail = f"the server at Prefect's address is not Prefect ({error!r})"
            return Hindrance(obstacle=Obstacle.ERROR, detail=detail)

    def _attempt(self, rollout: Rollout, pods: Mapping[str, Hindrance | None], now: datetime) -> Driver | Hindrance:
        last = last_attempt(self._ledger, rollout.id)
        if last is None:
            is_new = timedelta(0) <= now - rollout.requested_at < OWN_DRIVER
            starts_itself = rollout.requested.party is Party.PREFECT and is_new
            return Driver.COMING if starts_itself else self._create(rollout, 1, now)
        run = self._run(last) if not last.stopped else None
        if run is not None and run.state in _CANCELLED and self._pause(rollout, last, now):
            return Driver.AT_WORK
        met = self._pod(run, last, pods, now) if run is not None else None
        is_pending = run is not None and run.state == "PENDING"
        is_placed = self._are_jobs and is_pending and (self._pods is None or last.run in pods)
        state = outlook(run, last, now, met, HELD_UP if is_placed else PATIENCE)
        if state is not None:
            return state
        if met is not None and met.obstacle is Obstacle.HELD_UP and self._pods is not None:
            self._pods.remove(last.run)
        created = self._create(rollout, last.number + 1, now)
        return met if met is not None and created is Driver.COMING else created

    def _pod(self, run: Run, last: Attempt, pods: Mapping[str, Hindrance | None], now: datetime) -> Hindrance | None:
        """What prevents a run's pod from working, or why there is no pod; None if nothing does."""
        if self._pods is None or last.run in pods or run.state != "PENDING" or not run.job or now - last.at < UNMADE:
            return pods.get(last.run)
        return self._pods.unmade(run.job)

    def _pause(self, rollout: Rollout, last: Attempt, now: datetime) -> bool:
        """Pause a rollout whose run was cancelled, if the setting says so and the rollout permits it."""
        if self._on_cancel is OnCancel.DRIVE or rollout.phase not in _PAUSABLE:
            return False
        reason = f"its Prefect run was cancelled; to continue: sluice rollout resume {rollout.id}"
        try:
            pause = Order(
                act=Pause(rollout=rollout.id), actor=PREFECT, role=role_of_prefect(self._ledger), party=Party.PREFECT,
                cause=PREFECT, reason=reason,
            )  # fmt: skip
            give(self._ledger, pause, now)
        except (Refused, Forbidden, LedgerConflict):
            return False
        note(self._ledger, rollout.id, replace(last, stopped=True))
        log.warning("paused: its run was cancelled in Prefect", rollout=rollout.id, run=last.run)
        return True

    def _run(self, attempt: Attempt) -> Run | None:
        """The run of an attempt; None if Prefect does not know it, such as after its deployment was deleted."""
        response = self._http.get(f"/flow_runs/{attempt.run}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return Run.from_answer(response.raise_for_status().json())

    def _create(self, rollout: Rollout, number: int, now: datetime) -> Driver | Hindrance:
        name = self._deployment(rollout)
        deployment = self._http.get(f"/deployments/name/{name}").raise_for_status().json()
        if deployment["work_pool_name"] is None:
            return Hindrance(obstacle=Obstacle.MISSING, detail=f"the deployment {name} has no work pool any more")
        requested = rollout.requested
        order = {
            "model": requested.model, "build": requested.version, "variation": requested.variation,
            "rollout": rollout.id,
        }  # fmt: skip
        body = {
            "name": run_name(rollout),
            "parameters": {"order": order},
            "idempotency_key": f"{rollout.id}:{rollout.requested_at.isoformat()}:{number}",
            "tags": run_tags(rollout),
            "state": {"type": "SCHEDULED"},
        }
        path = f"/deployments/{deployment['id']}/create_flow_run"
        run = self._http.post(path, json=body).raise_for_status().json()
        note(self._ledger, rollout.id, Attempt(number=number, run=run["id"], at=now))
        log.info("driver created", rollout=rollout.id, number=number, run=run["id"])
        return Driver.COMING


def outlook(
    run: Run | None, attempt: Attempt, now: datetime, pod: Hindrance | None = None, patience: timedelta = PATIENCE
) -> Driver | Hindrance | None:
    """The state of a run without a lease; None if another run should be created. `pod` hinders its pod. Pure."""
    age = now - attempt.at if attempt.at <= now else HELD_UP * 2  # in the future: the clock has been set back
    is_early = age < BACKOFF[max(0, min(attempt.number, len(BACKOFF)) - 1)]
    coming = Driver.COMING if is_early and not attempt.stopped else None
    match run:
        case None:
            return coming
        case Run(state="SCHEDULED", is_queued=True):
            if pod is not None and pod.obstacle is Obstacle.LOST:
                return pod  # Prefect starts the run itself once more
            if age < START:
                return Driver.COMING
            return Hindrance(obstacle=Obstacle.WAITING, detail=f"Prefect does not start its run {attempt.run}")
        case _ if pod is not None and pod.obstacle is Obstacle.LOST:
            return pod if coming is not None else None
        case Run(state="FAILED" | "CRASHED") if coming is not None:
            detail = f"its run {attempt.run} {run.state.lower()}: {run.message[:200].rstrip('.')}"
            return Hindrance(obstacle=Obstacle.CRASHED, detail=detail)
        case Run(state="SCHEDULED" | "COMPLETED" | "FAILED" | "CRASHED" | "CANCELLED"):
            return coming
        case _ if pod is not None and pod.obstacle is Obstacle.HELD_UP:
            return pod if age < HELD_UP else None
        case _ if pod is not None:
            return pod if coming is not None else None
        case _:
            return Driver.COMING if age <= patience else coming
