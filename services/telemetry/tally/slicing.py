"""Slices of a rollout's requests: the slices of each request, and the stratum in which they are counted. Pure.

One row of the tallies for each slice and five minutes would be thousands of rows a day. Within one weight, assignment
is the same at any hour, so slices are counted by the day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import orjson

from sluicegate.registry.words.slices import NONE, Slice, read_sliced, sliced_name, spelled

DAY = 86_400


@lru_cache(maxsize=4096)
def written(values: tuple[str | None, ...]) -> str | None:
    """The values of a request's headers, in the order of the plan, as one text; None if it has none of them."""
    spellings = [spelled(value) for value in values]
    while spellings and spellings[-1] == NONE:
        spellings.pop()
    return orjson.dumps(spellings).decode() if spellings else None


@lru_cache(maxsize=4096)
def values_of(text: str | None) -> tuple[str, ...]:
    """The values in a text from `written`."""
    return tuple(orjson.loads(text)) if text else ()


def slice_at(text: str | None, position: int, header: str) -> Slice:
    """The slice of a request by one header."""
    values = values_of(text)
    return Slice(header, values[position] if position < len(values) else NONE)


def slices_by_metric(text: str | None, sliced: Mapping[str, tuple[tuple[int, str], ...]], metric: str) -> Iterator[str]:
    """The names of a metric in each slice of a request."""
    for position, header in sliced.get(metric, ()):
        yield sliced_name(metric, slice_at(text, position, header))


def stratum_bucket(metric: str, bucket: int) -> int:
    """The bucket in which a metric is counted: that of the day for a sliced one. Negative buckets, for units that were
    met in an earlier epoch, stay as they are."""
    return bucket if bucket < 0 or read_sliced(metric) is None else bucket - bucket % DAY
