"""Slices: parts of the traffic by the value of a request header, and the names of what is counted in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

LONGEST = 64
"""Characters of a value that are looked at."""
MOST_VALUES = 64
"""Values of one header that are slices of their own; requests with any further one are in the slice `(other)`."""
OTHER = "(other)"
NONE = "(none)"
"""The slice of requests without the header, or with an empty one."""
MOST_SLICES = MOST_VALUES + 2
"""Slices of one header, these two included."""
MOST_HEADERS = 4
"""Headers of one plan."""
_STROKE = "|"


@dataclass(frozen=True, order=True)
class Slice:
    """The requests whose header has this value."""

    header: str
    value: str

    def __str__(self) -> str:
        return f"{self.header}={self.value}"


@lru_cache(maxsize=4096)
def sliced_name(metric: str, part: Slice) -> str:
    """The derived metric "the metric, of the requests of this slice"."""
    return f"{metric}{_STROKE}{part}"


@lru_cache(maxsize=4096)
def read_sliced(name: str) -> tuple[str, Slice] | None:
    """Metric and slice of a name that `sliced_name` wrote; None of any other."""
    metric, stroke, text = name.partition(_STROKE)
    header, _, value = text.partition("=")
    return (metric, Slice(header, value)) if stroke else None


@lru_cache(maxsize=4096)
def spelled(value: str | None) -> str:
    """A header's value as it is counted: cut, and without what cannot be printed."""
    cut = (value or "")[:LONGEST].strip()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut) or NONE
