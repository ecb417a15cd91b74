"""Slots: the 10,000 places that units hash into, and which arm holds each of them. Pure.

A variation holds some of an audience's slots, usually one interval. A candidate grows inside its variation's slots from
a place drawn from the rollout's id, wrapping at their end. While it grows it only takes slots from stable: no unit
leaves the candidate, variations do not exchange units, and the first units differ between rollouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from sluicegate.registry.audience.layout import SLOTS

_TRIES = 1_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring slots of one arm."""

    start: int
    length: int
    is_candidate: bool


def slot(salt: str, unit: str) -> int:
    """The slot of a unit, as the data plane computes it: xxh64 of `salt:unit`, modulo 10,000."""
    return xxhash.xxh64_intdigest(f"{salt}:{unit}".encode("utf-8", "surrogateescape")) % SLOTS


def is_unit(value: str | None) -> bool:
    """Whether a header's value is one unit: neither empty nor a list. In HTTP a repeated header is a list."""
    return bool(value) and "," not in (value or "")


def runs(ranges: Sequence[range], *, weight: int, key: str) -> tuple[Run, ...]:
    """The runs of a variation's slots, in order, with `weight` basis points of them for the candidate.

    `key`, the rollout's id, decides where the candidate begins. A weight above 0 gives at least one slot.
    """
    left = _size(sum(map(len, ranges)), weight)
    pieces = []
    for part in _from(ranges, _start(ranges, key)):
        length = min(left, len(part))
        left -= length
        pieces += [(part[:length], True), (part[length:], False)]
    ordered = sorted((part.start, len(part), arm) for part, arm in pieces if part)
    return tuple(_merged(Run(start=start, length=length, is_candidate=arm) for start, length, arm in ordered))


def holder(sizes: Sequence[int], at: int) -> int:
    """The index of the run that holds slot `at`, for consecutive runs of these sizes."""
    end = 0
    for index, size in enumerate(sizes):
        end += size
        if at < end:
            return index
    raise ValueError(f"slot {at} lies beyond the {end} slots held")


def _start(ranges: Sequence[range], key: str) -> int:
    """The first place drawn from the key that lies in the ranges. It does not change when other slots come or go."""
    for turn in range(_TRIES):
        place = xxhash.xxh64_intdigest((f"{key}/{turn}" if turn else key).encode()) % SLOTS
        if any(place in part for part in ranges):
            return place
    return ranges[0].start if ranges else 0


def _from(ranges: Sequence[range], start: int) -> list[range]:
    """The slots in circular order, beginning at `start`."""
    late = [range(max(part.start, start), part.stop) for part in ranges if part.stop > start]
    early = [range(part.start, min(part.stop, start)) for part in ranges if part.start < start]
    return late + early


def _merged(ordered: Iterator[Run]) -> Iterator[Run]:
    last: Run | None = None
    for run in ordered:
        if last is not None and last.is_candidate == run.is_candidate and last.start + last.length == run.start:
            last = Run(start=last.start, length=last.length + run.length, is_candidate=run.is_candidate)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def _size(length: int, weight: int) -> int:
    if not 0 <= weight <= SLOTS:
        raise ValueError(f"weight {weight} is not between 0 and {SLOTS} basis points")
    if weight == 0 or length == 0:
        return 0
    return max(1, (length * weight + SLOTS // 2) // SLOTS)
