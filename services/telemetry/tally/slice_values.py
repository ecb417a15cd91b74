"""Which values of a header are slices of their own, so that nobody who invents values fills the tables. Pure.

Of 64 slices of a header the first 32 go to the values that come first. For each of the others a value must have come 20
times, and in at least one of a hundred requests that have the header, since values began to wait; all the rest are in
the slice `(other)`. So whoever sends a new value with every request gets 32 slices, once, and never another; real
values that come often find room beside them. Who owns a share s of the traffic can take s / 1 % of the rest at once,
and as many more for each time that the traffic multiplies by e.

Which values wait is counted as Misra & Gries (1982) do, in the mergeable form of Agarwal et al. (2012): a hundred
counters, and when there are more, all are lowered by the size of the largest beyond them. A value that comes in more
than one of 101 requests is never lost; without a flood the counts are exact. Both builds' requests count together, so
that which slice a request is in tells nothing of the build that it met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.slices import MOST_VALUES, NONE, OTHER

AT_SIGHT = MOST_VALUES // 2
"""Values that are taken as they come."""
LEAST = 20
SHARE = 0.01
WAITING = 100
_COUNTED_APART = frozenset({NONE, OTHER})


@dataclass(frozen=True, kw_only=True)
class HeaderValues:
    """What is known of the values of one header in one rollout."""

    slices: frozenset[str] = frozenset()
    waiting: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    """Those that have the header, since values wait."""

    def after(self, seen: Counter[str]) -> HeaderValues:
        """What is known after so many more requests by value."""
        new = Counter({value: n for value, n in seen.items() if value not in self.slices | _COUNTED_APART})
        if len(self.slices) >= MOST_VALUES or not (new or self.waiting):
            return self
        ranked = sorted(new, key=lambda value: (-new[value], value))
        at_sight = ranked[: max(AT_SIGHT - len(self.slices), 0)]
        waiting = _bounded(Counter(self.waiting) + Counter({value: new[value] for value in ranked[len(at_sight) :]}))
        is_waiting = bool(waiting or self.waiting)
        requests = self.requests + seen.total() - seen[NONE] if is_waiting else 0
        often = [value for value, n in waiting.most_common() if n >= max(LEAST, SHARE * requests)]
        room = MOST_VALUES - len(self.slices) - len(at_sight)
        admitted = {*at_sight, *sorted(often, key=lambda value: (-waiting[value], value))[:room]}
        left = {value: n for value, n in waiting.items() if value not in admitted}
        slices = self.slices | admitted
        return HeaderValues(slices=slices, waiting={} if len(slices) >= MOST_VALUES else left, requests=requests)

    def slice_of(self, value: str) -> str:
        """The slice in which a request with this value is counted."""
        return value if value in self.slices or value in _COUNTED_APART else OTHER


def _bounded(counts: Counter[str]) -> Counter[str]:
    """The counts of no more values than may wait."""
    if len(counts) <= WAITING:
        return counts
    lowered = sorted(counts.values(), reverse=True)[WAITING]
    return Counter({value: n - lowered for value, n in counts.items() if n > lowered})
