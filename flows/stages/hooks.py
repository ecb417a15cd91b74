"""Hooks: others are told of promotions, aborts and rollbacks, at least once, until they take it or are given up.

Nothing waits for them: what happened is on record and in force already. Each call has a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import httpx
import structlog

from sluicegate.flows.stages.calling import LONGEST_REASON, Calling, subject
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders import progress
from sluicegate.registry.rollout.facts import HookCalled
from sluicegate.registry.rollout.hooks import DueHook, due_hooks
from sluicegate.registry.words.errors import IllegalMove, SluiceError, Unreachable

log = structlog.get_logger("hooks")

MOST = 16
"""Calls under way at the same time."""


class Telling(Calling):
    """Makes one attempt to tell a hook."""

    def notify(self, due: DueHook) -> str:
        """Tell it; what it said. Raises SluiceError, httpx.HTTPError, ValueError where it did not take the news."""
        if due.hook.deployment is not None:
            return self._run(due, due.hook.deployment)
        answer = self.post(
            str(due.hook.url), name=due.key, kind="sluice.hook", data=news(due), seconds=due.hook.timeout
        )
        if not answer.is_success:
            raise Unreachable(f"it answered {answer.status_code}.")
        return f"it answered {answer.status_code}"

    def _run(self, due: DueHook, deployment: str) -> str:
        """The run of this news; where that ended badly, another one. One that still runs is waited for once more."""
        http, over = self.prefect(), self.elapsed() + due.hook.timeout
        answer, reason = "none", ""
        for ended in range(due.attempt):
            title = f"{due.hook.after} of {due.rollout.candidate}"
            run = self.create_run(http, deployment, name=f"{due.key}.{ended}", kind="hook", title=title, data=news(due))
            with suppress(Unreachable):
                answer, reason = self.await_run(http, run, lambda: self.elapsed() < over)
                if answer == "yes":
                    return reason
                if answer == "none":
                    break
        raise Unreachable(reason or "its run crashed or was cancelled.")


def at_once(call: Callable[[], None]) -> None:
    """Make the call and wait for it: for who looks by hand."""
    call()


@dataclass
class HookPass:
    """One look: every hook that is due is told beside the look."""

    ledger: Ledger
    notify: Callable[[DueHook], str]
    clock: Callable[[], datetime]
    hand: Callable[[Callable[[], None]], object] = at_once
    """Takes each call, so that one that hangs keeps no other waiting."""
    _under_way: set[str] = field(default_factory=set, init=False)
    _unrecorded: dict[str, HookCalled] = field(default_factory=dict, init=False)
    """What was told while the ledger took nothing: it is not told again for that."""

    def look(self, now: datetime) -> None:
        """Begin what is due. Returns at once, whatever hangs."""
        for due in due_hooks(self.ledger.current(), now):
            if len(self._under_way) >= MOST:
                return
            if due.key in self._under_way:
                continue
            self._under_way.add(due.key)
            try:
                self.hand(partial(self._call, due))
            except RuntimeError as error:  # no thread is to be had now
                self._under_way.discard(due.key)
                log.error("a hook is not told now; tried again", hook=due.key, why=str(error))

    def _call(self, due: DueHook) -> None:
        """Tell, then record. Whoever dies between the two is followed by one that tells it again, by the same key."""
        try:
            called = self._unrecorded.get(due.key) or self._told(due)
            self._unrecorded[due.key] = called
            with suppress(IllegalMove):  # somebody else has recorded this attempt
                progress.append(self.ledger, due.rollout.id, lambda _: called, self.clock())
            del self._unrecorded[due.key]
        except SluiceError as error:
            log.warning("a hook was told, and that is not on record; tried again", hook=due.key, why=str(error))
        except Exception:
            log.exception("a hook could not be told; tried again", hook=due.key)
        finally:
            self._under_way.discard(due.key)

    def _told(self, due: DueHook) -> HookCalled:
        try:
            is_taken, reason = True, self.notify(due)
        except (SluiceError, httpx.HTTPError, ValueError, LookupError) as error:
            is_taken, reason = False, str(error) or type(error).__name__
        return due.called(is_taken=is_taken, reason=reason[:LONGEST_REASON])


def news(due: DueHook) -> dict[str, object]:
    """What a hook is told: the parameters that the deployment's flow takes, or the data of the POST."""
    rollout = due.rollout
    return subject(rollout) | {
        "after": due.hook.after,
        "at": due.happened_at.isoformat(),
        "actor": rollout.actor,
        "reason": rollout.reason,
        "key": due.key,
    }
