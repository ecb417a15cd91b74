"""Slots: the 10,000 places that units hash into, and who holds them. Pure.

A variation holds a fixed interval of an audience's slots. A candidate grows inside its variation's interval from an
offset drawn from the rollout's id, wrapping at the interval's end: while it grows it only takes slots from stable, so
nobody moves out, variations do not trade units, and not always the same units go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

SLOTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring slots of one arm."""

    length: int
    is_candidate: bool


def slot(salt: str, unit: str) -> int:
    """The slot of a unit, as the data plane computes it: xxh64 of `salt:unit`, modulo 10,000."""
    return xxhash.xxh64_intdigest(f"{salt}:{unit}".encode("utf-8", "surrogateescape")) % SLOTS


def is_unit(value: str | None) -> bool:
    """Whether a header's value is one unit: neither empty nor a list. A header that is sent twice is a list in HTTP."""
    return bool(value) and "," not in (value or "")


def runs(*, length: int, weight: int, key: str) -> tuple[Run, ...]:
    """The runs of an interval of `length` slots whose candidate has `weight` basis points of it.

    `key` draws where the candidate begins; the rollout's id. A weight above 0 is at least one slot.
    """
    size = _size(length, weight)
    if size in (0, length):
        return (Run(length=length, is_candidate=size > 0),) if length else ()
    start = xxhash.xxh64_intdigest(key.encode()) % length
    wrapped = max(0, start + size - length)
    parts = [
        (wrapped, True),
        (start - wrapped, False),
        (size - wrapped, True),
        (length - start - size + wrapped, False),
    ]
    return tuple(Run(length=count, is_candidate=candidate) for count, candidate in parts if count)


def holder(sizes: Sequence[int], at: int) -> int:
    """The index of the size whose run holds slot `at`, when runs of these sizes follow one another."""
    end = 0
    for index, size in enumerate(sizes):
        end += size
        if at < end:
            return index
    raise ValueError(f"slot {at} lies beyond the {end} slots held")


def _size(length: int, weight: int) -> int:
    if not 0 <= weight <= SLOTS:
        raise ValueError(f"weight {weight} is not between 0 and {SLOTS} basis points")
    if weight == 0 or length == 0:
        return 0
    return max(1, (length * weight + SLOTS // 2) // SLOTS)
