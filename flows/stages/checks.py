"""Checks: questions that a step asks before the rollout leaves it, by a Prefect deployment or by signed HTTP.

A check may be sent twice and counts once: its name consists of the rollout, the step and the number of earlier checks
of the step. So if a driver dies while it waits, the next one gets the answer to the same question.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from sluicegate.flows.stages.calling import LONGEST_REASON, POLL_SECONDS, Calling, Said, subject
from sluicegate.registry.plan.calls import Check
from sluicegate.registry.rollout.facts import Checked
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Refused, SluiceError, Unreachable

BACKOFF = (1.0, 2.0, 4.0, 8.0)
LONGEST_CALL = 30.0
"""Seconds that one call may take. A receiver that needs longer answers 202 and is polled."""


class CheckRunner(Calling):
    """Runs checks."""

    def ask(self, rollout: Rollout, check: Check, is_open: Callable[[], bool]) -> Checked:
        """Ask until there is an answer, the time is up, or the step is no longer open."""
        answer, reason = self._answer(rollout, check, is_open)
        return Checked(step=rollout.step, answer=answer, actor=str(check), reason=reason[:LONGEST_REASON])

    def _answer(self, rollout: Rollout, check: Check, is_open: Callable[[], bool]) -> tuple[Said, str]:
        deadline, why = self.elapsed() + check.timeout, "it could not be asked"

        def is_wanted() -> bool:
            return self.elapsed() < deadline and is_open()

        name = (
            f"{rollout.id}.{int(rollout.requested_at.timestamp())}.{rollout.step}.{rollout.times_checked(rollout.step)}"
        )
        ended_runs = 0
        for attempt in range(check.attempts):
            try:
                if check.deployment is not None:
                    return self._run(check.deployment, f"{name}.{ended_runs}", rollout, is_wanted)
                return self._post(str(check.url), name, rollout, is_wanted, check.timeout)
            except Refused as refused:
                return "none", str(refused)
            except SluiceError as error:
                why, ended_runs = str(error), ended_runs + 1
            except httpx.HTTPError as error:
                why = str(error)
            if not is_wanted():
                break
            self.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
        return "none", why

    def _post(
        self, url: str, name: str, rollout: Rollout, is_wanted: Callable[[], bool], timeout: float
    ) -> tuple[Said, str]:
        data, seconds = subject(rollout), min(timeout, LONGEST_CALL)
        while is_wanted():
            answer = self.post(url, name=name, kind="sluice.check", data=data, seconds=seconds)
            if answer.status_code != httpx.codes.ACCEPTED:
                return _read_answer(answer)
            self.sleep(POLL_SECONDS)
        return "none", "no answer in time"

    def _run(self, deployment: str, name: str, rollout: Rollout, is_wanted: Callable[[], bool]) -> tuple[Said, str]:
        http, title = self.prefect(), f"check {rollout.candidate} step {rollout.step + 1}"
        run = self.create_run(http, deployment, name=name, kind="check", title=title, data=subject(rollout))
        return self.await_run(http, run, is_wanted)


def _read_answer(answer: httpx.Response) -> tuple[Said, str]:
    """The answer of a POST. Raises Unreachable if the check may be sent again."""
    if answer.status_code != httpx.codes.OK:
        raise Unreachable(f"it answered {answer.status_code}.")
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        body = None
    word = body.get("answer") if isinstance(body, dict) else None
    if not isinstance(body, dict) or word not in ("yes", "no"):
        return "none", 'its answer is not {"answer": "yes" or "no"}'
    return ("yes" if word == "yes" else "no"), str(body.get("reason") or "no reason given")
