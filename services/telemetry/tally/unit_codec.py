"""Unit codec: the compact storage format of units' sums, for many units at once. Pure.

Each unit has the number of small entries (one byte), these entries (metric, rows, sum of values: one byte each), and
then the others (metric in two bytes, rows in four, sum as a float). Metrics are given by their number in the rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sluicegate.services.telemetry.tally.batch import Floats, Ints

_SMALL = 256
_SMALL_BYTES = 3
_LARGE = np.dtype([("metric", "<u2"), ("n", "<u4"), ("x", "<f8")])


class Entries(NamedTuple):
    """Sums of values and numbers of rows, by unit and metric."""

    unit: Ints
    """The index of the unit."""
    metric: Ints
    x: Floats
    n: Ints


def packed_sums(entries: Entries, units: int) -> list[bytes]:
    """The sums of each unit in the storage format; `units` is their number."""
    if not units:
        return []
    unit, metric, x, n = entries
    fits = (metric < _SMALL) & (n < _SMALL) & (x >= 0) & (x < _SMALL) & (x == np.floor(x))
    order = np.lexsort((metric, ~fits, unit))
    unit, metric, x, n, fits = unit[order], metric[order], x[order], n[order], fits[order]
    rank = np.arange(len(unit)) - np.searchsorted(unit, unit)
    fits &= rank < _SMALL - 1
    small = np.bincount(unit[fits], minlength=units)
    large = np.bincount(unit[~fits], minlength=units)
    ends = np.cumsum(1 + small * _SMALL_BYTES + large * _LARGE.itemsize)
    starts = np.concatenate(([0], ends[:-1]))
    data = np.empty(int(ends[-1]), np.uint8)
    data[starts] = small
    at = starts[unit[fits]] + 1 + rank[fits] * _SMALL_BYTES
    data[at], data[at + 1], data[at + 2] = metric[fits], n[fits], x[fits]
    rest = np.empty(int((~fits).sum()), _LARGE)
    rest["metric"], rest["n"], rest["x"] = metric[~fits], n[~fits], x[~fits]
    owner = unit[~fits]
    at = starts[owner] + 1 + small[owner] * _SMALL_BYTES + (rank[~fits] - small[owner]) * _LARGE.itemsize
    data[at[:, None] + np.arange(_LARGE.itemsize)] = rest.view(np.uint8).reshape(-1, _LARGE.itemsize)
    whole = data.tobytes()
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def unpacked_sums(texts: Sequence[bytes]) -> Entries:
    """The sums of each unit from the storage format; the inverse of `packed_sums`."""
    data = np.frombuffer(b"".join(texts), np.uint8)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    starts = np.cumsum(sizes) - sizes
    small = data[starts].astype(np.int64)
    large = (sizes - 1 - small * _SMALL_BYTES) // _LARGE.itemsize
    units = np.arange(len(texts))
    of_small, of_large = np.repeat(units, small), np.repeat(units, large)
    at = starts[of_small] + 1 + _within(small) * _SMALL_BYTES
    from_large = starts[of_large] + 1 + small[of_large] * _SMALL_BYTES + _within(large) * _LARGE.itemsize
    rest = np.ascontiguousarray(data[from_large[:, None] + np.arange(_LARGE.itemsize)]).view(_LARGE).reshape(-1)
    return Entries(
        np.concatenate((of_small, of_large)), np.concatenate((data[at].astype(np.int64), rest["metric"])),
        np.concatenate((data[at + 2].astype(np.float64), rest["x"])),
        np.concatenate((data[at + 1].astype(np.int64), rest["n"].astype(np.int64))),
    )  # fmt: skip


def _within(sizes: Ints) -> Ints:
    """The numbers 0, 1, … for each group of these sizes."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
