"""Specs: the specs of rollouts, asked for once they are complete and again until then."""

from __future__ import annotations

from services.telemetry.spec import RolloutSpec, SpecSource

ASK_AGAIN = 1_000_000
"""Microseconds after which a spec that is unknown or incomplete is asked for again."""
_LIMIT = 1_000


class Specs:
    """Remembers complete specs for ever, since plans are frozen; asks again for others, at most once a second each."""

    def __init__(self, source: SpecSource) -> None:
        self._source = source
        self._known: dict[str, tuple[RolloutSpec | None, int]] = {}

    def get(self, rollout: str, now: int) -> RolloutSpec | None:
        """The spec of a rollout at a time in microseconds; None while it is not known."""
        spec, asked_at = self._known.get(rollout, (None, -ASK_AGAIN))
        if (spec is not None and spec.is_complete) or now - asked_at < ASK_AGAIN:
            return spec
        if len(self._known) >= _LIMIT:
            self._known.clear()
        spec = self._source(rollout)
        self._known[rollout] = (spec, now)
        return spec
