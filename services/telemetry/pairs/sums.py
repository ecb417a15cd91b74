"""PairSums: sums over many pairs, collected in memory and then added to a table. Pure and additive.

Each sum has a segment (empty: all requests), a subject, and a key:

    copies      how a copy ended                             n
    pairs       agree, differ, or why not compared           n
    judged M    agree, differ: by the plan's metric M        n
    timed M     start of a time bucket                       n compared, total differing by M
    schema      how the shapes differ                        n
    time        start of a time bucket                       n compared, total differing
    latency     served, copied, difference (seconds)         power sums; and `served~BIN`, `copied~BIN` counts
    column C    difference, served, copied, product          power sums of numbers
                `d~BIN`, `s~BIN`, `c~BIN`                    counts of differences and of both levels by bin
                concordant, discordant, tied                 n of neighbouring pairs, for the rank agreement
                `["a","b"]`                                  n of pairs where stable answered a, the candidate b
                nan served, nan copied, nan both             n

Only pairs, judged pairs and a column's power sums are kept by segment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sluicegate.registry.words.outputs import OutputKind
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.comparison import Cell, Comparison, Unpaired, is_nan
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.tally.accumulator import Accumulator
from sluicegate.services.telemetry.tally.histogram import bin_of
from sluicegate.services.telemetry.tally.scores import LIMIT, number_of, same

ALL = ""
"""The segment of every request."""
OTHER = "(other)"
_LABEL = 40
Key = tuple[str, str, str]
"""Segment, subject, key."""


class PairSums:
    """The sums of one shadow's pairs."""

    def __init__(self) -> None:
        self._sums = Accumulator[Key]()
        self._before: dict[str, tuple[float, float]] = {}
        """The last pair of numbers of each column, until it is compared with the next one."""

    def count(self, subject: str, key: str, segments: Iterable[str] = (ALL,), n: int = 1) -> None:
        """Add to a count."""
        for segment in segments:
            self._sums.add((segment, subject, key), Tally(n=n))

    def add(self, subject: str, key: str, value: float, segments: Iterable[str] = (ALL,)) -> None:
        """Add a value to power sums."""
        for segment in segments:
            self._sums.take((segment, subject, key), value)

    def tallies(self) -> dict[Key, Tally]:
        """All sums."""
        return self._sums.tallies()

    def take(self, pair: Pair, comparison: Comparison | Unpaired, segments: tuple[str, ...]) -> None:
        """Add one pair; `segments` does not include the empty one."""
        everywhere = (ALL, *segments)
        self._latency(pair)
        if isinstance(comparison, Unpaired):
            self.count("pairs", comparison.value, everywhere)
            return
        differs = comparison.differs()
        self.count("pairs", "differ" if differs else "agree", everywhere)
        self.add("time", str(pair.served.bucket), float(differs))
        if comparison.schema is not None:
            self.count("schema", comparison.schema[:200])
        for cell in comparison.cells:
            self._cell(cell, everywhere)

    def judge(self, pair: Pair, by_metric: Mapping[str, bool], segments: tuple[str, ...]) -> None:
        """Add whether one pair differs by each of the plan's metrics."""
        for metric, differs in by_metric.items():
            self.count(f"judged {metric}", "differ" if differs else "agree", (ALL, *segments))
            self.add(f"timed {metric}", str(pair.served.bucket), float(differs))

    def _latency(self, pair: Pair) -> None:
        served, copied = pair.served.duration, pair.copied.duration
        if served is None or copied is None or pair.served.failed != 0 or pair.copied.failed != 0:
            return
        for key, value in (("served", served), ("copied", copied), ("difference", copied - served)):
            self.add("latency", key, value / 1e6)
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
                labels = json.dumps([_label(cell.served), _label(cell.served if cell.distance == 0 else cell.copied)])
                self.count(subject, labels)
                self.add(subject, "difference", cell.distance, segments[1:])
            case OutputKind.TEXT:
                self.add(subject, "difference", cell.distance, segments)
            case OutputKind.NUMBER:
                self._number(cell, subject, segments)

    def _number(self, cell: Cell, subject: str, segments: tuple[str, ...]) -> None:
        served, copied = number_of(cell.served), number_of(cell.copied)
        if served is None or copied is None or max(abs(served), abs(copied)) > LIMIT:
            self.count(subject, "no number")
            return
        difference = copied - served if cell.distance else 0.0
        self.add(subject, "difference", difference, segments)
        for key, value in (("served", served), ("copied", copied), ("product", served * copied)):
            self.add(subject, key, value)
        for key, value in (("d", difference), ("s", served), ("c", copied)):
            self.count(subject, f"{key}~{bin_of_number(value)}")
        self._rank(subject, served, copied)

    def _rank(self, subject: str, served: float, copied: float) -> None:
        """Count whether both builds order two neighbouring requests alike. Each request is used in one comparison."""
        before = self._before.pop(subject, None)
        if before is None:
            self._before[subject] = (served, copied)
            return
        turn = (served - before[0]) * (copied - before[1])
        both_tied = same(served, before[0]) and same(copied, before[1])
        self.count(subject, "concordant" if turn > 0 or both_tied else "discordant" if turn < 0 else "tied")


def rows_of(rollout: str, tallies: Mapping[Key, Tally]) -> list[tuple[Any, ...]]:
    """Rows for the table of sums."""
    return [(rollout, *key, *tally) for key, tally in tallies.items()]


def bin_of_number(value: float) -> int:
    """The bin of a number on a scale that is logarithmic on both sides of 0, with four bins per factor of ten."""
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
