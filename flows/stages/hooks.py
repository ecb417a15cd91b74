"""Hooks: notify other systems of promotions, aborts and rollbacks, at least once, until they accept or time is up.

Nothing waits for hooks: the event is recorded and in force already. Each call has its own thread.
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


class HookCaller(Calling):
    """Makes one attempt to notify a hook."""

    def notify(self, due: DueHook) -> str:
        """Notify the hook; returns its answer. Raises SluiceError, httpx.HTTPError, ValueError if it did not accept."""
        if due.hook.deployment is not None:
            return self._run(due, due.hook.deployment)
        answer = self.post(
            str(due.hook.url), name=due.key, kind="sluice.hook", data=news(due), seconds=due.hook.timeout
        )
        if not answer.is_success:
            raise Unreachable(f"it answered {answer.status_code}.")
        return f"it answered {answer.status_code}"

    def _run(self, due: DueHook, deployment: str) -> str:
        """Run the deployment for this event. Starts a new run if one ended badly, and waits for one that still runs."""
        http, deadline = self.prefect(), self.elapsed() + due.hook.timeout
        answer, reason = "none", ""
        for ended in range(due.attempt):
            title = f"{due.hook.after} of {due.rollout.candidate}"
            run = self.create_run(http, deployment, name=f"{due.key}.{ended}", kind="hook", title=title, data=news(due))
            with suppress(Unreachable):
                answer, reason = self.await_run(http, run, lambda: self.elapsed() < deadline)
                if answer == "yes":
                    return reason
                if answer == "none":
                    break
        raise Unreachable(reason or "its run crashed or was cancelled.")


def at_once(call: Callable[[], None]) -> None:
    """Make the call and wait for it, for a caller that runs the pass by hand."""
    call()


@dataclass
class HookPass:
    """Notifies every hook that is due, each call beside the pass."""

    ledger: Ledger
    notify: Callable[[DueHook], str]
    clock: Callable[[], datetime]
    hand: Callable[[Callable[[], None]], object] = at_once
    """Runs each call, so that a call that hangs delays no other."""
    _under_way: set[str] = field(default_factory=set, init=False)
    _unrecorded: dict[str, HookCalled] = field(default_factory=dict, init=False)
    """Calls made that the ledger could not record yet. They are recorded later, not repeated."""

    def look(self, now: datetime) -> None:
        """Start the calls that are due. Returns at once, even if calls hang."""
        for due in due_hooks(self.ledger.current(), now):
            if len(self._under_way) >= MOST:
                return
            if due.key in self._under_way:
                continue
            self._under_way.add(due.key)
            try:
                self.hand(partial(self._call, due))
            except RuntimeError as error:  # no thread is available now
                self._under_way.discard(due.key)
                log.error("a hook is not told now; tried again", hook=due.key, why=str(error))

    def _call(self, due: DueHook) -> None:
        """Notify, then record. After a crash between the two, the call is repeated with the same key."""
        try:
            called = self._unrecorded.get(due.key) or self._called(due)
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

    def _called(self, due: DueHook) -> HookCalled:
        try:
            is_taken, reason = True, self.notify(due)
        except (SluiceError, httpx.HTTPError, ValueError, LookupError) as error:
            is_taken, reason = False, str(error) or type(error).__name__
        return due.called(is_taken=is_taken, reason=reason[:LONGEST_REASON])


def news(due: DueHook) -> dict[str, object]:
    """The data of an event for a hook: parameters of the deployment's flow, or the body of a POST."""
    rollout = due.rollout
    return subject(rollout) | {
        "after": due.hook.after,
        "at": due.happened_at.isoformat(),
        "actor": rollout.actor,
        "reason": rollout.reason,
        "key": due.key,
    }
