"""Freezes as people are told of them."""

from __future__ import annotations

from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.words.units import format_duration


def freeze_in_words(freeze: Freeze) -> str:
    """A few words about it, for people."""
    times = [
        f"{w.cron} for {format_duration(w.lasts)}" if w.cron and w.lasts else f"{w.from_} to {w.until}"
        for w in freeze.windows
    ]
    return f"{'; '.join(times) or 'lifted'} ({freeze.zone})"
