"""Checks: the question that a step asks before it is left, put to a Prefect deployment or by signed HTTP.

Asked twice it is one question: its name is that of rollout, step and how often the step asked before, so a driver that
dies in the middle is followed by one that hears the answer to the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import httpx

from sluicegate.registry.plan.fields import Check
from sluicegate.registry.rollout.facts import Checked
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Refused, SluiceError, Unreachable
from sluicegate.services.outbox.address import Address
from sluicegate.services.outbox.pinned import public_addresses
from sluicegate.services.outbox.signed import post, signing_key

POLL_SECONDS = 2.0
LONGEST_REASON = 500
BACKOFF = (1.0, 2.0, 4.0, 8.0)
Said = Literal["yes", "no", "none"]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is needed to ask."""

    prefect: Callable[[], httpx.Client]
    key: Callable[[], str] = field(repr=False)
    """The secret that signs what is posted."""
    allowed: frozenset[str]
    """Hosts that may be asked although they are not public."""
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    elapsed: Callable[[], float] = time.monotonic

    def ask(self, rollout: Rollout, check: Check, is_open: Callable[[], bool]) -> Checked:
        """Ask until there is an answer, the time is up, or nobody wants to know any more."""
        answer, reason = self._answer(rollout, check, is_open)
        return Checked(step=rollout.step, answer=answer, actor=str(check), reason=reason[:LONGEST_REASON])

    def _answer(self, rollout: Rollout, check: Check, is_open: Callable[[], bool]) -> tuple[Said, str]:
        over, why = self.elapsed() + check.timeout, "it was not asked"

        def is_wanted() -> bool:
            return self.elapsed() < over and is_open()

        name = f"{rollout.id}.{int(rollout.requested_at.timestamp())}.{rollout.step}.{rollout.asked(rollout.step)}"
        ended = 0
        for attempt in range(check.attempts):
            try:
                if check.deployment is not None:
                    return self._run(check.deployment, f"{name}.{ended}", rollout, is_wanted)
                return self._post(str(check.url), name, rollout, is_wanted, check.timeout)
            except Refused as refused:
                return "none", str(refused)
            except SluiceError as error:
                why, ended = str(error), ended + 1
            except httpx.HTTPError as error:
                why = str(error)
            if not is_wanted():
                break
            self.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
        return "none", why

    def _post(
        self, url: str, name: str, rollout: Rollout, is_wanted: Callable[[], bool], timeout: float
    ) -> tuple[Said, str]:
        only = public_addresses(url, self.allowed)
        body = json.dumps({"type": "sluice.check", "data": question(rollout)})
        address = Address(url=url, key=signing_key(self.key()))
        while is_wanted():
            seconds = min(timeout, LONGEST_CALL)
            answer = post(address, name=name, body=body, now=self.clock(), seconds=seconds, only=only)
            if answer.status_code != httpx.codes.ACCEPTED:
                return _heard(answer)
            self.sleep(POLL_SECONDS)
        return "none", "no answer in time"

    def _run(self, deployment: str, name: str, rollout: Rollout, is_wanted: Callable[[], bool]) -> tuple[Said, str]:
        http = self.prefect()
        run = _create(http, deployment, name, rollout)
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


LONGEST_CALL = 30.0
"""Seconds that one call may take; who needs longer answers 202 and is asked again."""


def question(rollout: Rollout) -> dict[str, object]:
    """What a check is told: those parameters of the deployment's flow that it takes, or the data of the POST."""
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


def _create(http: httpx.Client, deployment: str, name: str, rollout: Rollout) -> str:
    """The run of this question; the same one when it was created before."""
    found = http.get(f"/deployments/name/{deployment}").raise_for_status().json()
    taken = (found.get("parameter_openapi_schema") or {}).get("properties") or {}
    body = {
        "name": f"check {rollout.candidate} step {rollout.step + 1}",
        "parameters": {key: value for key, value in question(rollout).items() if key in taken},
        "idempotency_key": name,
        "tags": ["sluice", "check", rollout.id],
        "state": {"type": "SCHEDULED"},
    }
    return str(http.post(f"/deployments/{found['id']}/create_flow_run", json=body).raise_for_status().json()["id"])


def _heard(answer: httpx.Response) -> tuple[Said, str]:
    """The answer of a POST. Raises Unreachable where the question may be put once more."""
    if answer.status_code != httpx.codes.OK:
        raise Unreachable(f"it answered {answer.status_code}.")
    try:
        said = answer.json()
    except (ValueError, RecursionError):
        said = None
    word = said.get("answer") if isinstance(said, dict) else None
    if not isinstance(said, dict) or word not in ("yes", "no"):
        return "none", 'its answer is not {"answer": "yes" or "no"}'
    return ("yes" if word == "yes" else "no"), str(said.get("reason") or "no reason given")
