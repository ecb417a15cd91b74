"""Freezes in words."""

from __future__ import annotations

from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.words.units import format_duration


def freeze_in_words(freeze: Freeze) -> str:
    """A short description of a freeze."""
    times = [
        f"{w.cron} for {format_duration(w.lasts)}" if w.cron and w.lasts else f"{w.from_} to {w.until}"
        for w in freeze.windows
    ]
    return f"{'; '.join(times) or 'lifted'} ({freeze.zone})"
