"""Hooks: which other systems to notify now of a promotion, an abort or a rollback, from the record alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.plan.calls import Hook
from sluicegate.registry.rollout.facts import AtOnce, HookCalled
from sluicegate.registry.rollout.rollout import Ending, HookReply, Rollout
from sluicegate.registry.rollout.standing import took_over_at

BACKOFF = (2.0, 10.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds between attempts."""


@dataclass(frozen=True, kw_only=True)
class DueHook:
    """One hook to call now."""

    rollout: Rollout
    hook: Hook
    position: int
    attempt: int
    happened_at: datetime

    @property
    def key(self) -> str:
        """The same for every attempt, so that receivers can recognise repeats."""
        requested = int(self.rollout.requested_at.timestamp())
        return f"{self.rollout.id}.{requested}.{self.hook.after}.{self.position}"

    def called(self, *, is_taken: bool, reason: str) -> HookCalled:
        """The fact that records this attempt."""
        is_last = self.attempt >= self.hook.attempts
        return HookCalled(
            after=self.hook.after, position=self.position, attempt=self.attempt, actor=str(self.hook),
            answer="taken" if is_taken else "given_up" if is_last else "failed", reason=reason,
        )  # fmt: skip


def due_hooks(rollouts: Sequence[Rollout], now: datetime) -> tuple[DueHook, ...]:
    """Every hook to call now, the one that has waited longest first. `rollouts`: all current ones."""
    due = sorted(_due(rollouts, now), key=lambda each: each[0])
    return tuple(hook for _, hook in due)


def _due(rollouts: Sequence[Rollout], now: datetime) -> Iterator[tuple[datetime, DueHook]]:
    for rollout in rollouts:
        for after, at in _happened(rollout):
            for position, hook in _hooks(rollout, after, rollouts):
                reply = rollout.hook_replies.get((after, position))
                since = _due_since(reply, at)
                if since is not None and since <= now:
                    attempt = 1 if reply is None else reply.called.attempt + 1
                    yield since, DueHook(
                        rollout=rollout, hook=hook, position=position, attempt=attempt, happened_at=at
                    )  # fmt: skip


def _due_since(reply: HookReply | None, happened_at: datetime) -> datetime | None:
    """When the next attempt is due; None if there is none."""
    if reply is None:
        return happened_at
    if reply.called.answer != "failed":
        return None
    return reply.at + timedelta(seconds=BACKOFF[min(reply.called.attempt, len(BACKOFF)) - 1])


def _happened(rollout: Rollout) -> Iterator[tuple[str, datetime]]:
    """The events of a rollout that hooks are called for, with their times."""
    over = rollout.promoted_at or (rollout.ended_at if rollout.ending is Ending.ESTABLISHED else None)
    if over is not None:
        yield "rollback" if rollout.requested.strategy == AtOnce.ROLLBACK else "promotion", over
    if rollout.ending is Ending.ABORTED and rollout.ended_at is not None:
        yield "abort", rollout.ended_at


def _hooks(rollout: Rollout, after: str, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, Hook]]:
    """The hooks of the rollout's plan; after a rollback, of the plan of the rollout whose build was taken back."""
    planned = _taken_back(rollout, rollouts) if after == "rollback" else rollout
    if planned is not None:
        yield from ((i, hook) for i, hook in enumerate(planned.plan.hooks) if hook.after == after)


def _taken_back(rollout: Rollout, rollouts: Sequence[Rollout]) -> Rollout | None:
    """The rollout that had promoted the build that this rollback replaced."""
    since = rollout.promoted_at
    before = (
        each
        for each in rollouts
        if each.target == rollout.target and each.took_over and each.requested.version == rollout.stable
        and each.id != rollout.id and since is not None and took_over_at(each) <= since
    )  # fmt: skip
    return max(before, key=took_over_at, default=None)
