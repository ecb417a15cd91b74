"""Drivers as Prefect flow runs, over Prefect's plain HTTP API: importing Prefect costs seconds, a request does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import structlog

from sluicegate.registry.ledger.attempt import Attempt, last_attempt, note
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders import rollouts as orders
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import LedgerConflict, Refused
from sluicegate.registry.words.settings import OnCancel
from sluicegate.registry.words.units import format_weight

log = structlog.get_logger("drivers")

PATIENCE = timedelta(seconds=90)
"""Time that a run may take from its creation to its lease. Prefect shows dead runs as running, so this counts."""
PREFECT = "prefect"
"""The door of a flow run that asks for a rollout and drives it itself."""
OWN_DRIVER = timedelta(seconds=15)
"""Time that such a run has to take its lease."""
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2))
_TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_CANCELLED = ("CANCELLED", "CANCELLING")
_PAUSABLE = (Phase.LAUNCHING, Phase.RUNNING)


def run_name(rollout: Rollout) -> str:
    """What a run is called: `fraud v7 25 %`, and how it stands where that says more than the weight."""
    match rollout.phase:
        case Phase.RUNNING:
            return f"{rollout.candidate} {format_weight(rollout.weight)} %"
        case Phase.PAUSED:
            return f"{rollout.candidate} {format_weight(rollout.weight)} % paused"
        case Phase.QUEUED | Phase.LAUNCHING:
            return f"{rollout.candidate} {rollout.phase}"
        case Phase.BAKING | Phase.ENDED:
            return f"{rollout.candidate} {rollout.ending or 'promoted'}"


def run_tags(rollout: Rollout) -> list[str]:
    """By which a run is found in Prefect."""
    return ["sluice", f"model:{rollout.requested.model}", f"version:{rollout.requested.version}", rollout.id]


def deployment_of(rollout: Rollout) -> str:
    """The Prefect deployment whose runs drive a rollout."""
    return "shadow/shadow" if rollout.is_shadow else "canary/canary"


class PrefectDrivers:
    """Creates driver runs. The idempotency key makes a run asked for twice one run; the lease keeps others away."""

    def __init__(
        self,
        ledger: Ledger,
        http: httpx.Client,
        *,
        deployment: Callable[[Rollout], str] = deployment_of,
        on_cancel: OnCancel = OnCancel.PAUSE,
    ) -> None:
        self._ledger = ledger
        self._http = http
        self._deployment = deployment
        self._on_cancel = on_cancel

    def ensure(self, rollout: Rollout, now: datetime) -> None:
        """See that a driver works on the rollout or will soon; after a cancelled one, what the setting says."""
        last = last_attempt(self._ledger, rollout.id)
        try:
            if any(lease.rollout == rollout.id and lease.expires_at > now for lease in self._ledger.leases()):
                return
            if last is not None and self._was_stopped(rollout, last, now):
                return
            if last is None and rollout.requested.cause == PREFECT and now - rollout.requested_at < OWN_DRIVER:
                return
            if last is not None and not self._is_over(last, now):
                return
            self._create(rollout, 1 if last is None else last.number + 1, now)
        except httpx.HTTPError as error:
            log.warning("Prefect does not answer; traffic and guardrails go on", rollout=rollout.id, why=repr(error))

    def _was_stopped(self, rollout: Rollout, last: Attempt, now: datetime) -> bool:
        """Whether the run was cancelled just now, and the rollout is paused for it."""
        if self._on_cancel is OnCancel.DRIVE or last.stopped or rollout.phase not in _PAUSABLE:
            return False
        if self._state(last) not in _CANCELLED:
            return False
        reason = f"its Prefect run was cancelled; to go on: sluice rollout resume {rollout.id}"
        try:
            orders.pause(self._ledger, rollout.id, actor="prefect", reason=reason, now=now)
        except (Refused, LedgerConflict):
            return False
        note(self._ledger, rollout.id, replace(last, stopped=True))
        log.warning("paused: its run was cancelled in Prefect", rollout=rollout.id, run=last.run)
        return True

    def _is_over(self, attempt: Attempt, now: datetime) -> bool:
        """Whether the run has ended, or was silent for too long to be believed alive."""
        age = now - attempt.at
        if attempt.stopped:
            return True
        if age < BACKOFF[max(0, min(attempt.number, len(BACKOFF)) - 1)]:
            return False
        if age > PATIENCE:
            return True
        return self._state(attempt) in (None, *_TERMINAL)

    def _state(self, attempt: Attempt) -> str | None:
        """The type of the run's state; None when Prefect does not know the run."""
        answer = self._http.get(f"/flow_runs/{attempt.run}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(answer.raise_for_status().json().get("state_type"))

    def _create(self, rollout: Rollout, number: int, now: datetime) -> None:
        name = self._deployment(rollout)
        deployment = self._http.get(f"/deployments/name/{name}").raise_for_status().json()
        asked = rollout.requested
        order = {
            "model": asked.model, "build": asked.version, "variation": asked.variation, "rollout": rollout.id,
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
