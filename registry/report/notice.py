"""Notices: the message to a person about one or several happenings. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.report.happening import Happening, Severity
from sluicegate.registry.report.timeline import Moment
from sluicegate.registry.words import figures

MOST_LINES = 20
_MARKS = {Severity.ROUTINE: "·", Severity.INFO: "✓", Severity.WARNING: "!", Severity.CRITICAL: "✕"}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A message."""

    title: str
    body: str
    severity: Severity


def notice(happenings: Sequence[Happening], console: str | None = None) -> Notice:
    """One message about one or more happenings, oldest first. `console` is the address where they can be seen."""
    worst = max(each.severity for each in happenings)
    lines = [line(each) for each in happenings[-MOST_LINES:]]
    if len(happenings) > MOST_LINES:
        lines.insert(0, f"({len(happenings) - MOST_LINES} earlier ones are left out)")
    if console is not None:
        lines += [f"{console}/rollouts/{name}" for name in dict.fromkeys(each.rollout for each in happenings)]
    title = _title(happenings[0]) if len(happenings) == 1 else _titles(happenings)
    return Notice(title=title, body="\n".join(lines), severity=worst)


def example(now: datetime) -> Happening:
    """The happening of a test message, about a rollout that does not exist."""
    moment = Moment(
        seq=0, at=now, fact="Test", text="this is a test: nothing happened", actor="sluice notify test", why="",
        before=0.0, after=0.0, tone="plain",
    )  # fmt: skip
    return Happening(
        place=0, id=str(uuid.uuid5(uuid.NAMESPACE_URL, now.isoformat())), name="test", rollout="test", model="test",
        variation="default", version="0", strategy="canary", stable=None, phase="ended", ending=None,
        severity=Severity.INFO, moment=moment,
    )  # fmt: skip


def line(happening: Happening) -> str:
    """One happening as one line."""
    moment = happening.moment
    weight = (
        ""
        if moment.before == moment.after
        else f" ({figures.per_cent(moment.before)} → {figures.per_cent(moment.after)})"
    )
    why = f": {moment.why}" if moment.why else ""
    by = f" (by {moment.actor})" if moment.actor else ""
    at = figures.moment(moment.at)
    return (
        f"{_MARKS[happening.severity]} {at} UTC {happening.model} v{happening.version}: {moment.text}{weight}{why}{by}"
    )


def _title(happening: Happening) -> str:
    return f"{happening.model} v{happening.version} {happening.name.replace('-', ' ')}"


def _titles(happenings: Sequence[Happening]) -> str:
    models = ", ".join(dict.fromkeys(each.model for each in happenings))
    return f"{len(happenings)} events of {models}"
