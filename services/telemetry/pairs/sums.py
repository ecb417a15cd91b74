"""PairSums: what many pairs add up to, gathered in memory and then added to a table. Pure and additive.

Each sum has a segment (empty: all requests), a subject, and a key within it:

    copies      how a copy ended                             n
    pairs       agree, differ, or why not compared           n
    schema      how the shapes differ                        n
    time        start of a time bucket                       n compared, total differing
    latency     served, copied, difference (seconds)         power sums; and `served~BIN`, `copied~BIN` counts
    column C    difference, served, copied, product          power sums of numbers
                `d~BIN`, `s~BIN`, `c~BIN`                    counts of differences and of both levels by bin
                concordant, discordant, tied                 n of neighbouring pairs, for the rank agreement
                `["a","b"]`                                  n of pairs where stable said a and the candidate b
                nan served, nan copied, nan both             n

Only the first four, and a column's power sums, are kept by segment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluicegate.registry.words.outputs import OutputKind
from sluicegate.services.telemetry.pairs.compare import Cell, Comparison, Unpaired, is_nan
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.tally.bins import bin_of
from sluicegate.services.telemetry.tally.scores import LIMIT, number_of, same

ALL = ""
"""The segment of every request."""
OTHER = "(other)"
_LABEL = 40
Key = tuple[str, str, str]
"""Segment, subject, key."""


@dataclass(slots=True)
class Powers:
    """A count and power sums."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0

    def take(self, value: float) -> None:
        """Add one value."""
        self.n += 1
        self.total += value
        self.squares += value * value
        self.cubes += value * value * value

    def add(self, other: Powers) -> None:
        """Add other sums to these."""
        self.n += other.n
        self.total += other.total
        self.squares += other.squares
        self.cubes += other.cubes


@dataclass(slots=True)
class PairSums:
    """The sums of one shadow's pairs."""

    sums: dict[Key, Powers] = field(default_factory=dict)
    _before: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The last pair of numbers of each column, until the next one is compared with it."""

    def count(self, subject: str, key: str, segments: Iterable[str] = (ALL,), n: int = 1) -> None:
        """Add to a count."""
        for segment in segments:
            self._at(segment, subject, key).n += n

    def add(self, subject: str, key: str, value: float, segment: str = ALL) -> None:
        """Add a value to power sums."""
        self._at(segment, subject, key).take(value)

    def take(self, pair: Pair, found: Comparison | Unpaired, segments: tuple[str, ...]) -> None:
        """Add one pair; `segments` does not name the empty one."""
        everywhere = (ALL, *segments)
        self._latency(pair)
        if isinstance(found, Unpaired):
            self.count("pairs", found.value, everywhere)
            return
        differs = found.differs()
        self.count("pairs", "differ" if differs else "agree", everywhere)
        self._at(ALL, "time", str(pair.served.bucket)).take(float(differs))
        if found.schema is not None:
            self.count("schema", found.schema[:200])
        for cell in found.cells:
            self._cell(cell, everywhere)

    def rows(self, rollout: str) -> list[dict[str, Any]]:
        """Rows for the table, in order of their keys."""
        return [
            {
                "rollout": rollout, "segment": segment, "what": subject, "key": key, "n": powers.n,
                "total": powers.total, "squares": powers.squares, "cubes": powers.cubes,
            }
            for (segment, subject, key), powers in sorted(self.sums.items())
        ]  # fmt: skip

    def merge(self, sums: Mapping[Key, Powers]) -> None:
        """Add other sums."""
        for key, powers in sums.items():
            self._at(*key).add(powers)

    def _latency(self, pair: Pair) -> None:
        served, copied = pair.served.duration, pair.copied.duration
        if served is None or copied is None or pair.served.failed != 0 or pair.copied.failed != 0:
            return
        for key, value in (("served", served), ("copied", copied), ("difference", copied - served)):
            self._at(ALL, "latency", key).take(value / 1e6)
        self.count("latency", f"served~{bin_of(served)}")
        self.count("latency", f"copied~{bin_of(copied)}")

    def _cell(self, cell: Cell, segments: tuple[str, ...]) -> None:
        subject = f"column {cell.column}"
        if is_nan(cell.served) or is_nan(cell.copied):
            both = is_nan(cell.served) and is_nan(cell.copied)
            self.count(subject, "nan both" if both else f"nan {'served' if is_nan(cell.served) else 'copied'}")
            return
        match cell.kind:
            case OutputKind.LABEL:
                said = json.dumps([_label(cell.served), _label(cell.served if cell.distance == 0 else cell.copied)])
                self.count(subject, said)
                for segment in segments[1:]:
                    self._at(segment, subject, "difference").take(cell.distance)
            case OutputKind.TEXT:
                for segment in segments:
                    self._at(segment, subject, "difference").take(cell.distance)
            case OutputKind.NUMBER:
                self._number(cell, subject, segments)

    def _number(self, cell: Cell, subject: str, segments: tuple[str, ...]) -> None:
        served, copied = number_of(cell.served), number_of(cell.copied)
        if served is None or copied is None or max(abs(served), abs(copied)) > LIMIT:
            self.count(subject, "no number")
            return
        difference = copied - served if cell.distance else 0.0
        for segment in segments:
            self._at(segment, subject, "difference").take(difference)
        for key, value in (("served", served), ("copied", copied), ("product", served * copied)):
            self._at(ALL, subject, key).take(value)
        for key, value in (("d", difference), ("s", served), ("c", copied)):
            self.count(subject, f"{key}~{bin_of_number(value)}")
        self._rank(subject, served, copied)

    def _rank(self, subject: str, served: float, copied: float) -> None:
        """Whether two neighbouring requests are ordered alike by both: each pair of requests is used once."""
        before = self._before.pop(subject, None)
        if before is None:
            self._before[subject] = (served, copied)
            return
        turn = (served - before[0]) * (copied - before[1])
        both_tied = same(served, before[0]) and same(copied, before[1])
        self.count(subject, "concordant" if turn > 0 or both_tied else "discordant" if turn < 0 else "tied")

    def _at(self, segment: str, subject: str, key: str) -> Powers:
        known = self.sums.get((segment, subject, key))
        if known is None:
            known = self.sums[segment, subject, key] = Powers()
        return known


def bin_of_number(value: float) -> int:
    """The bin of a number on a scale that is logarithmic on both sides of 0, four bins per factor of ten."""
    size = abs(value)
    if size < _SMALLEST:
        return 0
    number = min(1 + int(4 * math.log10(size / _SMALLEST)), _BINS)
    return number if value > 0 else -number


def edges(number: int) -> tuple[float, float]:
    """The ends of a bin."""
    if number == 0:
        return -_SMALLEST, _SMALLEST
    near, far = (_SMALLEST * 10 ** ((abs(number) - 1 + step) / 4) for step in (0, 1))
    return (near, far) if number > 0 else (-far, -near)


_SMALLEST = 1e-6
_BINS = 60


def _label(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
