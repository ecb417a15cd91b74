"""SpecCache: caches the specs of rollouts, and reloads those that are unknown or incomplete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

ASK_AGAIN = 1_000_000
"""Microseconds after which an unknown or incomplete spec is loaded again; also if the clock has been set back."""
_LIMIT = 1_000


class Complete(Protocol):
    """A spec that is reloaded until it is complete."""

    @property
    def is_complete(self) -> bool:
        """Whether the spec can no longer change."""
        ...


SpecT = TypeVar("SpecT", bound=Complete)


class SpecCache(Generic[SpecT]):
    """Caches complete specs for ever, since a rollout's plan never changes; reloads others at most once a second
    each."""

    def __init__(self, source: Callable[[str], SpecT | None]) -> None:
        self._source = source
        self._known: dict[str, tuple[SpecT | None, int]] = {}

    def get(self, rollout: str, now: int) -> SpecT | None:
        """The spec of a rollout at a time in microseconds; None while it is not known."""
        spec, asked_at = self._known.get(rollout, (None, -ASK_AGAIN))
        if (spec is not None and spec.is_complete) or 0 <= now - asked_at < ASK_AGAIN:
            return spec
        if len(self._known) >= _LIMIT:
            self._known.clear()
        spec = self._source(rollout)
        self._known[rollout] = (spec, now)
        return spec
