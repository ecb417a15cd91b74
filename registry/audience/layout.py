"""Layout: which of an audience's 10,000 slots each of its variations holds. Pure.

It is stored with the weights that it was made for, because moving the fewest units depends on the former layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

SLOTS = 10_000
"""The number of slots that units hash into."""


@dataclass(frozen=True, kw_only=True)
class SlotRun:
    """Adjacent slots of one variation."""

    variation: str
    slots: int


def lay_out(weights: Mapping[str, int], before: Sequence[SlotRun] = ()) -> tuple[SlotRun, ...]:
    """Share the slots by relative weights, moving as few as possible from one variation to another.

    Slots that had no owner are given out in the order of the weights. Raises ValueError if no weight is above 0.
    """
    owed = quotas(weights)
    kept = _keep(before, owed)
    for variation, slots in _owners(kept).items():
        owed[variation] -= slots
    return _merged(_fill(kept, owed))


def quotas(weights: Mapping[str, int]) -> dict[str, int]:
    """Slots of each variation: its share, rounded so that the sum is right, and at least one for a weight above 0."""
    if not 0 < sum(weight > 0 for weight in weights.values()) <= SLOTS or min(weights.values()) < 0:
        raise ValueError("every weight is 0, so no variation would answer: give one a weight above 0")
    total = sum(weights.values())
    shares = {name: SLOTS * weight / total for name, weight in weights.items()}
    slots = {name: max(int(share), 1 if weights[name] else 0) for name, share in shares.items()}
    while (missing := SLOTS - sum(slots.values())) != 0:
        step = 1 if missing > 0 else -1
        slots[max(slots, key=lambda name: (shares[name] - slots[name]) * step)] += step
    return slots


def intervals(layout: Sequence[SlotRun]) -> dict[str, tuple[range, ...]]:
    """Where each variation's slots lie, in order."""
    places: dict[str, tuple[range, ...]] = {}
    start = 0
    for run in layout:
        places[run.variation] = (*places.get(run.variation, ()), range(start, start + run.slots))
        start += run.slots
    return places


def _keep(before: Sequence[SlotRun], quota: Mapping[str, int]) -> list[tuple[str | None, int]]:
    """The former runs, cut to what their variation may keep. Free slots have the owner None."""
    room = dict(quota)
    kept: list[tuple[str | None, int]] = []
    for run in before:
        keeps = min(run.slots, room.get(run.variation, 0))
        kept += [(run.variation, keeps), (None, run.slots - keeps)]
        room[run.variation] = room.get(run.variation, 0) - keeps
    kept.append((None, SLOTS - sum(run.slots for run in before)))
    return [(owner, slots) for owner, slots in kept if slots]


def _fill(kept: Sequence[tuple[str | None, int]], owed: dict[str, int]) -> Iterable[SlotRun]:
    """Give free slots to the variations that are owed some, first to the left neighbour, so that there are few runs."""
    last = ""
    for owner, slots in kept:
        free = slots
        if owner is not None:
            last = owner
            yield SlotRun(variation=owner, slots=slots)
            continue
        while free:
            last = last if owed.get(last) else next(name for name, slots in owed.items() if slots)
            given = min(free, owed[last])
            owed[last] -= given
            free -= given
            yield SlotRun(variation=last, slots=given)


def _owners(kept: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for owner, slots in kept:
        if owner is not None:
            totals[owner] = totals.get(owner, 0) + slots
    return totals


def _merged(layout: Iterable[SlotRun]) -> tuple[SlotRun, ...]:
    runs = groupby(layout, key=lambda run: run.variation)
    return tuple(SlotRun(variation=name, slots=sum(run.slots for run in group)) for name, group in runs)
