"""Lines: parses many lines of the access log at once into a batch. Pure.

The common part of lines is parsed once, and their individual fields are checked by column. If a column is invalid, each
line is checked separately, so that only unreadable ones are set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sluicegate.registry.words.access_log import OWN, End, checked_own, halves, line_of, read_common
from sluicegate.services.telemetry.tally.batch import NO_DURATION, Batch, Ints, integers
from sluicegate.services.telemetry.tally.exposure import FAR, Exposure, expose
from sluicegate.services.telemetry.tally.slicing import written

_BLANK = ("0", None, None, None, None, 0, 0, None, None, None, None, None)
_NONE = -(1 << 62)
_NO_TEXT = {type(None)}
_NOTHING = -1
Unreadable = tuple[bytes, str]
"""An unreadable line, and the reason."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The parsed lines."""

    batch: Batch
    """The requests that were assigned to an arm."""
    ends: tuple[End, ...]
    """How the requests of each of the batch's kinds ended."""
    shadows: int
    """Lines of mirrored copies."""
    unassigned: int

    def __len__(self) -> int:
        return len(self.batch) + self.shadows + self.unassigned


class _Common(NamedTuple):
    """The common part of many lines."""

    exposure: Exposure | None
    """None for copies, and for requests that were assigned to no build."""
    end: End
    is_shadow: bool


def read_lines(lines: Sequence[bytes], width: int) -> tuple[Lines, list[Unreadable]]:
    """Parse lines; unreadable ones are returned apart. `width` is the length of a time bucket in seconds."""
    places: dict[bytes, int] = {}
    commons, which, owns, texts = list[_Common](), list[int](), list[Any](), list[bytes]()
    unreadable: list[Unreadable] = []
    for text in lines:
        try:
            own, half = halves(text)
            place = places.get(half)
            if place is None:
                commons.append(_common(half))
                place = places[half] = len(commons) - 1
            if b"\\u" in text:  # an escape may be a character that no database can store
                _require_storable(checked_own(own), commons[place].exposure)
        except (ValueError, RecursionError) as error:
            unreadable.append((text, str(error)))
            continue
        which.append(place)
        owns.append(own)
        texts.append(text)
    columns = _columns(owns)
    if columns is None:
        wrong = {row: why for row, own in enumerate(owns) if (why := _wrong(own)) is not None}
        unreadable += [(texts[row], why) for row, why in wrong.items()]
        which = [each for row, each in enumerate(which) if row not in wrong]
        columns = _columns([each for row, each in enumerate(owns) if row not in wrong])
        assert columns is not None, "what is wrong with a column is wrong with one of its values"
    return _lines(commons, integers(which), columns, width), unreadable


@lru_cache(maxsize=4096)
def _common(half: bytes) -> _Common:
    line = line_of(_BLANK, read_common(half))
    return _Common(expose(line, 1), line.end, line.is_shadow)


def _require_storable(own: Sequence[Any], exposure: Exposure | None) -> None:
    """Raise ValueError for a text that some database cannot store. Header values are escaped, so that all can be."""
    if exposure is not None:
        _, rid, _, unit, _, _, _, prediction, *_ = own
        exposure._replace(rid=rid, unit=unit, prediction=prediction).require_storable()


class _Columns(NamedTuple):
    """The individual fields of requests, by column."""

    at: Ints
    duration: Ints
    rids: Sequence[str | None]
    units: Sequence[str | None]
    predictions: Sequence[str | None]
    segments: Sequence[Sequence[str | None]]


def _columns(owns: Sequence[Any]) -> _Columns | None:
    """The individual fields of lines by column; None if one has the wrong type or is out of range."""
    if not owns:
        return _Columns(integers(()), integers(()), (), (), (), ())
    if not set(map(type, owns)) <= {list} or set(map(len, owns)) != {len(OWN)}:
        return None
    columns = list(zip(*owns, strict=True))
    if not all(set(map(type, column)) <= set(kinds) for column, kinds in zip(columns, OWN.values(), strict=True)):
        return None
    times, rids, _, units, durations, _, _, predictions, *segments = columns
    try:
        at = integers(list(map(int, times)))
        duration = integers([_NONE if each is None else each for each in durations])
    except (ValueError, OverflowError):
        return None
    is_sound = (at >= 0) & (at < FAR) & ((duration == _NONE) | ((duration >= 0) & (duration < FAR)))
    return _Columns(at, duration, rids, units, predictions, segments) if is_sound.all() else None


def _wrong(own: Any) -> str | None:
    """What is wrong with a line's individual fields; None if nothing is."""
    try:
        at, _, _, _, duration, *_ = checked_own(own)
        if not (0 <= int(at) < FAR and 0 <= (duration or 0) < FAR):
            raise ValueError("a number is out of range")
    except (ValueError, OverflowError) as error:
        return str(error)
    return None


def _lines(commons: Sequence[_Common], place: Ints, columns: _Columns, width: int) -> Lines:
    exposed = [number for number, each in enumerate(commons) if each.exposure is not None]
    kinds = tuple(each.exposure for each in commons if each.exposure is not None)
    kind_at = np.full(len(commons), _NOTHING)
    kind_at[exposed] = range(len(exposed))
    kind = kind_at[place] if len(commons) else place
    second = columns.at // 1_000_000
    batch = Batch(
        kinds=kinds, kind=kind, at=columns.at, bucket=second - second % width,
        duration=np.where(columns.duration == _NONE, NO_DURATION, columns.duration),
        rids=columns.rids if all(columns.rids) else [each or None for each in columns.rids],
        units=columns.units, predictions=columns.predictions, slices=_slices(kinds, kind, columns.segments),
    )  # fmt: skip
    if len(exposed) < len(commons):
        batch = batch.select(np.flatnonzero(kind != _NOTHING))
    shadows = sum(int((place == number).sum()) for number, each in enumerate(commons) if each.is_shadow)
    return Lines(
        batch=batch, ends=tuple(commons[number].end for number in exposed), shadows=shadows,
        unassigned=len(place) - len(batch) - shadows,
    )  # fmt: skip


def _slices(
    kinds: Sequence[Exposure], kind: Ints, segments: Sequence[Sequence[str | None]]
) -> Sequence[str | None] | None:
    """For each request, the values of the headers by which its rollout is sliced."""
    if all(set(map(type, column)) == _NO_TEXT for column in segments):
        return None
    is_judged = [number != _NOTHING and kinds[number].is_judged for number in kind.tolist()]
    rows = zip(is_judged, zip(*segments, strict=True), strict=True)
    slices = [written(values) if judged else None for judged, values in rows]
    return slices if any(slices) else None
