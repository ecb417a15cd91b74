"""Calling: reaches other systems by a run of a Prefect deployment or by signed HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import httpx

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.outbox.address import Address
from sluicegate.services.outbox.pinned import public_addresses
from sluicegate.services.outbox.signed import post, signing_key

POLL_SECONDS = 2.0
LONGEST_REASON = 500
Said = Literal["yes", "no", "none"]


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Everything needed to call other systems."""

    prefect: Callable[[], httpx.Client]
    key: Callable[[], str] = field(repr=False)
    """The secret that signs each POST."""
    allowed: frozenset[str]
    """Hosts that may be called although their addresses are not public."""
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    elapsed: Callable[[], float] = time.monotonic

    def post(self, url: str, *, name: str, kind: str, data: Mapping[str, object], seconds: float) -> httpx.Response:
        """POST signed JSON. Posts with the same name are the same message. Raises Refused, Unreachable."""
        only = public_addresses(url, self.allowed)
        body = json.dumps({"type": kind, "data": data})
        address = Address(url=url, key=signing_key(self.key()))
        return post(address, name=name, body=body, now=self.clock(), seconds=seconds, only=only)

    def create_run(
        self, http: httpx.Client, deployment: str, *, name: str, kind: str, title: str, data: Mapping[str, object]
    ) -> str:
        """Create a run of a deployment, with the data that its flow takes. The same name gives the same run."""
        details = http.get(f"/deployments/name/{deployment}").raise_for_status().json()
        parameters = (details.get("parameter_openapi_schema") or {}).get("properties") or {}
        body = {
            "name": title,
            "parameters": {key: value for key, value in data.items() if key in parameters},
            "idempotency_key": name,
            "tags": ["sluice", kind, str(data["rollout"])],
            "state": {"type": "SCHEDULED"},
        }
        created = http.post(f"/deployments/{details['id']}/create_flow_run", json=body).raise_for_status()
        return str(created.json()["id"])

    def await_run(self, http: httpx.Client, run: str, is_wanted: Callable[[], bool]) -> tuple[Said, str]:
        """Wait for a run to end: yes for Completed, no for Failed, none if it is no longer wanted.

        Raises Unreachable if the run crashed or was cancelled.
        """
        while is_wanted():
            state = http.get(f"/flow_runs/{run}").raise_for_status().json().get("state") or {}
            message = str(state.get("message") or "")
            match state.get("type"):
                case "COMPLETED":
                    return "yes", message or f"run {run} completed"
                case "FAILED":
                    return "no", message or f"run {run} failed"
                case "CRASHED" | "CANCELLED" as ended:
                    raise Unreachable(f"its run {run} {ended.lower()}.")
                case _:
                    self.sleep(POLL_SECONDS)
        return "none", f"run {run} did not end in time"


def subject(rollout: Rollout) -> dict[str, object]:
    """The data about a rollout for other systems: parameters of a deployment's flow, or the body of a POST."""
    return {
        "rollout": rollout.id,
        "model": rollout.requested.model,
        "variation": rollout.requested.variation,
        "candidate": rollout.requested.version,
        "stable": rollout.stable,
        "step": rollout.step + 1,
        "weight": rollout.weight / 100,
        "verdicts": {metric: judged.answer for metric, judged in rollout.judgements.items()},
    }
