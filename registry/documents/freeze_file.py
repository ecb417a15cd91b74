"""Freezes as people write them: the values of a YAML text in, a freeze out, or every error with its place."""

from __future__ import annotations

from pydantic import ValidationError

from sluicegate.registry.plan.messages import explain
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.words.units import format_duration
from sluicegate.registry.words.yaml_text import Text


def read_freeze_text(text: Text) -> Freeze | None:
    """The freeze of a text whose values are a mapping; None when it has problems, which are then noted in it."""
    try:
        return Freeze.model_validate(text.values)
    except ValidationError as error:
        problems = explain(error, Freeze)
    for problem in problems:
        text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
    return None


def freeze_in_words(freeze: Freeze) -> str:
    """A few words about it, for people."""
    times = [
        f"{w.cron} for {format_duration(w.lasts)}" if w.cron and w.lasts else f"{w.from_} to {w.until}"
        for w in freeze.windows
    ]
    return f"{'; '.join(times) or 'lifted'} ({freeze.zone})"
