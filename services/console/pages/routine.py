"""Routine: facts of every rollout that goes well, which pages fold so that the others stand out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from sluicegate.registry.report.timeline import Moment
from sluicegate.registry.rollout.facts import (
    Baked,
    Begun,
    Entry,
    Fact,
    Frozen,
    Judged,
    Observed,
    Packed,
    Ready,
    Settled,
)
from sluicegate.registry.words.verdict import Answer

Stretch = tuple[bool, tuple[Moment, ...]]
"""Moments one after another, and whether they are routine."""


def is_routine(fact: Fact) -> bool:
    """Whether it happens in every rollout that goes well. A failing verdict does not."""
    match fact:
        case Judged(answer=answer):
            return answer != Answer.FAIL
        case Begun() | Packed() | Ready() | Frozen() | Observed() | Baked() | Settled():
            return True
        case _:
            return False


def stretches(entries: Sequence[Entry], moments: Iterable[Moment]) -> list[Stretch]:
    """The timeline of these entries, newest first, with routine that follows one another together."""
    told = zip(reversed(entries), reversed(tuple(moments)), strict=True)
    return [
        (routine, tuple(moment for _, moment in group))
        for routine, group in groupby(told, key=lambda each: is_routine(each[0].fact))
    ]
