"""Routine: facts that every successful rollout has. Pages fold them so that the others stand out. Pure."""

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
"""Whether these consecutive moments are routine, and the moments."""


def is_routine(fact: Fact) -> bool:
    """Whether every successful rollout has such a fact. A failing verdict is never routine."""
    match fact:
        case Judged(answer=answer):
            return answer != Answer.FAIL
        case Begun() | Packed() | Ready() | Frozen() | Observed() | Baked() | Settled():
            return True
        case _:
            return False


def stretches(entries: Sequence[Entry], moments: Iterable[Moment]) -> list[Stretch]:
    """The timeline of these entries, in order, in stretches that are routine or not."""
    pairs = zip(entries, moments, strict=True)
    return [
        (routine, tuple(moment for _, moment in group))
        for routine, group in groupby(pairs, key=lambda pair: is_routine(pair[0].fact))
    ]
