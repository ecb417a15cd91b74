"""Drivers as Prefect flow runs, over Prefect's plain HTTP API: importing Prefect costs seconds, a request does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import structlog

from registry.ledger import Ledger
from registry.rollout import Rollout

log = structlog.get_logger("drivers")

PATIENCE = timedelta(seconds=90)
"""Time that a run may take from its creation to its lease. Prefect shows dead runs as running, so this counts."""
PREFECT = "prefect"
"""The door of a flow run that asks for a rollout and drives it itself."""
OWN_DRIVER = timedelta(seconds=15)
"""Time that such a run has to take its lease."""
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2))
_TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last run that was created for a rollout."""

    number: int
    run: str
    at: datetime


class PrefectDrivers:
    """Creates driver runs. The idempotency key makes a run asked for twice one run; the lease keeps others away."""

    def __init__(self, ledger: Ledger, http: httpx.Client, deployment: str = "canary/canary") -> None:
        self._ledger = ledger
        self._http = http
        self._deployment = deployment

    def ensure(self, rollout: Rollout, now: datetime) -> None:
        """See that a driver works on the rollout or will soon."""
        if any(lease.rollout == rollout.id and lease.expires_at > now for lease in self._ledger.leases()):
            return
        last = self._last(rollout.id)
        if last is None and rollout.requested.cause == PREFECT and now - rollout.requested_at < OWN_DRIVER:
            return
        try:
            if last is not None and not self._is_over(last, now):
                return
            self._create(rollout, 1 if last is None else last.number + 1, now)
        except httpx.HTTPError as error:
            log.warning("Prefect does not answer; traffic and guardrails go on", rollout=rollout.id, why=repr(error))

    def _last(self, rollout: str) -> Attempt | None:
        kept = self._ledger.recall(f"driver:{rollout}")
        if kept is None:
            return None
        return Attempt(
            number=int(str(kept["number"])), run=str(kept["run"]), at=datetime.fromisoformat(str(kept["at"]))
        )

    def _is_over(self, attempt: Attempt, now: datetime) -> bool:
        """Whether the run has ended, or was silent for too long to be believed alive."""
        age = now - attempt.at
        if age < BACKOFF[min(attempt.number, len(BACKOFF)) - 1]:
            return False
        if age > PATIENCE:
            return True
        answer = self._http.get(f"/flow_runs/{attempt.run}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return True
        return answer.raise_for_status().json().get("state_type") in _TERMINAL

    def _create(self, rollout: Rollout, number: int, now: datetime) -> None:
        deployment = self._http.get(f"/deployments/name/{self._deployment}").raise_for_status().json()
        body = {
            "name": f"{rollout.id} #{number}",
            "parameters": {"rollout": rollout.id},
            "idempotency_key": f"{rollout.id}:{number}",
            "tags": ["sluice", rollout.requested.model, rollout.id],
            "state": {"type": "SCHEDULED"},
        }
        path = f"/deployments/{deployment['id']}/create_flow_run"
        run = self._http.post(path, json=body).raise_for_status().json()
        kept: dict[str, object] = {"number": number, "run": run["id"], "at": now.isoformat()}
        self._ledger.remember(f"driver:{rollout.id}", kept)
        log.info("driver created", rollout=rollout.id, number=number, run=run["id"])
