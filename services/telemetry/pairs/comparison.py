"""Compares two answers to one request cell by cell, by the kind of their values. Pure.

Answers are read from prediction summaries of up to 32 rows and 2 KiB; longer ones are cut and not compared. JSON has no
NaN, so the predictor writes null. Booleans, integers and short texts are labels; other numbers are scores or
regressions; long texts are compared word by word. Several unnamed numbers are a vector, whose largest entry is an
additional label with the name `top`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.registry.words.outputs import OutputKind
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.scores import Missing, Summary, number_of, same

TOP = "top"
"""The derived column of a vector: the position of its largest entry."""
_RELATIVE = 1e-6
_LABEL_LENGTH = 60


class Unpaired(StrEnum):
    """Why two answers could not be compared."""

    OTHER_BUILD = "other build"
    """The caller's answer came from another build than stable: a canary is running, or stable has changed."""
    LEFT = "caller left"
    SERVED_FAILED = "served failed"
    COPY_FAILED = "copy failed"
    TRUNCATED = "too long"
    """A summary was cut."""
    UNREADABLE = "no summary"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Two values at the same place."""

    column: str
    row: int
    kind: OutputKind
    served: object
    copied: object
    distance: float
    """0 if they are equal; otherwise 1 for labels, the difference for numbers, the share of words not shared for
    texts."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of comparing two answers to one request."""

    schema: str | None = None
    """How the shapes differ, if they do: other columns or rows, or 4xx instead of an answer."""
    cells: tuple[Cell, ...] = ()

    def differs(self, column: str | None = None, within: float | None = None) -> bool:
        """Whether any value differs, in one column if it is given; numbers by more than `within`."""
        if self.schema is not None:
            return True
        wanted = (cell for cell in self.cells if (cell.column == column if column else cell.column != TOP))
        return any(not _agrees(cell, within) for cell in wanted)

    @property
    def distance(self) -> float:
        """The largest distance of any cell; a difference of shape is larger than any of values."""
        if self.schema is not None:
            return float("1e300")
        return max((cell.distance for cell in self.cells), default=0.0)


def compare_pair(served: Exposure, copied: Exposure, kinds: Mapping[str, OutputKind]) -> Comparison | Unpaired:
    """The comparison of two answers, or why there is none. `kinds` are those that the model's signature declares."""
    if served.failed is None:
        return Unpaired.LEFT
    if served.failed or served.status >= 400:
        return Unpaired.SERVED_FAILED
    if copied.failed is None or copied.failed:
        return Unpaired.COPY_FAILED
    if copied.status >= 400:
        return Comparison(schema=f"answered {copied.status} where stable answered {served.status}")
    return compare(Summary(served.prediction), Summary(copied.prediction), kinds)


def compare(served: Summary, copied: Summary, kinds: Mapping[str, OutputKind]) -> Comparison | Unpaired:
    """The comparison of two summaries, or why there is none."""
    missing = served.missing or copied.missing
    if missing is not None:
        return Unpaired.TRUNCATED if missing is Missing.TRUNCATED else Unpaired.UNREADABLE
    if served.columns != copied.columns:
        return Comparison(schema=f"columns {', '.join(copied.columns)} where stable has {', '.join(served.columns)}")
    if len(served.rows) != len(copied.rows):
        return Comparison(schema=f"{len(copied.rows)} rows where stable has {len(served.rows)}")
    cells = [
        cell(column, row, left, right, kinds.get(column))
        for row, (mine, its) in enumerate(zip(served.rows, copied.rows, strict=True))
        for column, left, right in zip(served.columns, mine, its, strict=False)
    ]
    return Comparison(cells=(*cells, *_tops(served, copied)))


def cell(column: str, row: int, served: object, copied: object, kind: OutputKind | None = None) -> Cell:
    """Two values at the same place, compared by their kind."""
    kind = kind or kind_of(served, copied)
    return Cell(
        column=column, row=row, kind=kind, served=served, copied=copied, distance=_distance(kind, served, copied)
    )


def kind_of(served: object, copied: object) -> OutputKind:
    """The kind of two values; if one is null, the kind of the other."""
    values = [value for value in (served, copied) if value is not None]
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return OutputKind.NUMBER if any(isinstance(value, float) for value in values) else OutputKind.LABEL
    is_long = any(isinstance(value, str) and len(value) > _LABEL_LENGTH for value in values)
    return OutputKind.TEXT if is_long else OutputKind.LABEL


def is_nan(value: object) -> bool:
    """Whether a cell has no value, because the model's answer was NaN, infinite or null."""
    return value is None


def _tops(served: Summary, copied: Summary) -> list[Cell]:
    columns = served.columns
    if len(columns) < 2 or columns != [str(position) for position in range(len(columns))]:
        return []
    tops = [(_top(mine), _top(its)) for mine, its in zip(served.rows, copied.rows, strict=True)]
    return [
        cell(TOP, row, mine, its, OutputKind.LABEL) for row, (mine, its) in enumerate(tops) if None not in (mine, its)
    ]


def _top(values: Sequence[object]) -> int | None:
    numbers = [number_of(value) for value in values]
    present = [number for number in numbers if number is not None]
    return numbers.index(max(present)) if len(present) == len(numbers) else None


def _agrees(cell: Cell, within: float | None) -> bool:
    if cell.distance == 0:
        return True
    if cell.kind is OutputKind.LABEL or is_nan(cell.served) != is_nan(cell.copied):
        return False
    return within is not None and cell.distance <= within


def _distance(kind: OutputKind, served: object, copied: object) -> float:
    if is_nan(served) or is_nan(copied):
        return float(is_nan(served) != is_nan(copied))
    match kind:
        case OutputKind.LABEL:
            return float(not same(served, copied))
        case OutputKind.NUMBER:
            return _apart(served, copied)
        case OutputKind.TEXT:
            return _words_apart(str(served), str(copied))


def _apart(served: object, copied: object) -> float:
    left, right = number_of(served), number_of(copied)
    if left is None or right is None:
        return float(not same(served, copied))
    apart = abs(left - right)
    return 0.0 if apart <= _RELATIVE * max(abs(left), abs(right)) else apart


def _words_apart(served: str, copied: str) -> float:
    """One minus the share of distinct words in common (Jaccard 1901)."""
    if served == copied:
        return 0.0
    left, right = set(served.split()), set(copied.split())
    shared = len(left & right) / max(len(left | right), 1)
    return max(1.0 - shared, _RELATIVE)
