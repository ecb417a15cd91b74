"""Decides which values of a header become slices, so that a caller who invents values cannot fill the tables. Pure.

A header has up to 64 slices. The first 32 go to the values that appear first. For one of the others, a value must have
appeared 20 times and in at least 1 % of the requests with the header since values began to wait. All other values are
in the slice `(other)`. So a caller who sends a new value with every request gets 32 slices once, and never another;
there is room left for real, frequent values. A caller with a share s of the traffic can take s / 1 % of the other
slices at once, and as many again each time the traffic has grown by the factor e.

Waiting values are counted by the algorithm of Misra & Gries (1982), in the mergeable form of Agarwal et al. (2012):
there are a hundred counters, and if there are more values, all counts are reduced by the largest count beyond them. A
value in more than one of 101 requests is never lost; without a flood of values the counts are exact. Requests of both
builds are counted together, so that a request's slice does not depend on its build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.slices import MOST_VALUES, NONE, OTHER

AT_SIGHT = MOST_VALUES // 2
"""The number of slices for the values that appear first."""
LEAST = 20
SHARE = 0.01
WAITING = 100
_COUNTED_APART = frozenset({NONE, OTHER})


@dataclass(frozen=True, kw_only=True)
class HeaderValues:
    """The values of one header in one rollout."""

    slices: frozenset[str] = frozenset()
    waiting: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    """The number of requests with the header since values began to wait."""

    def after(self, counts: Counter[str]) -> HeaderValues:
        """The state after more requests, counted by value."""
        new = Counter({value: n for value, n in counts.items() if value not in self.slices | _COUNTED_APART})
        if len(self.slices) >= MOST_VALUES or not (new or self.waiting):
            return self
        ranked = sorted(new, key=lambda value: (-new[value], value))
        at_sight = ranked[: max(AT_SIGHT - len(self.slices), 0)]
        waiting = _bounded(Counter(self.waiting) + Counter({value: new[value] for value in ranked[len(at_sight) :]}))
        is_waiting = bool(waiting or self.waiting)
        requests = self.requests + counts.total() - counts[NONE] if is_waiting else 0
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
    """The counts reduced to at most WAITING values."""
    if len(counts) <= WAITING:
        return counts
    lowered = sorted(counts.values(), reverse=True)[WAITING]
    return Counter({value: n - lowered for value, n in counts.items() if n > lowered})
