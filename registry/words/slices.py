"""Slices: parts of the traffic by the value of a request header, and the names of their metrics. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

LONGEST = 64
"""How many characters of a value count."""
MOST_VALUES = 64
"""How many values of one header get a slice of their own. Requests with any other value are in `(other)`."""
OTHER = "(other)"
NONE = "(none)"
"""The slice of requests whose header is missing or empty."""
MOST_SLICES = MOST_VALUES + 2
"""How many slices one header can have, with `(other)` and `(none)`."""
MOST_HEADERS = 4
"""How many headers one plan may slice by."""
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
    """Metric and slice of a name that `sliced_name` made; None for any other name."""
    metric, stroke, text = name.partition(_STROKE)
    header, _, value = text.partition("=")
    return (metric, Slice(header, value)) if stroke else None


@lru_cache(maxsize=4096)
def spelled(value: str | None) -> str:
    """A header's value as it is counted: cut to LONGEST, with unprintable characters replaced."""
    cut = (value or "")[:LONGEST].strip()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut) or NONE
