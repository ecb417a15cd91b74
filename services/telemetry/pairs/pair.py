"""Pair: the served and the copied answer to one request. Pure.

A copy is read from the shadow log like a request from the live one, so both halves of a pair are exposures, and the
same code measures both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from sluicegate.registry.words.access_log import LogLine
from sluicegate.services.telemetry.tally.exposure import Exposure, expose
from sluicegate.services.telemetry.tally.measurements import request_values
from sluicegate.services.telemetry.tally.spec import Measures


class Ended(StrEnum):
    """How a copy ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """4xx: the candidate refuses what stable's callers send."""
    ERROR = "error"
    """5xx from the service."""
    TIMEOUT = "timeout"
    RESET = "reset"
    """The service closed the connection."""
    UNREACHABLE = "unreachable"
    """No connection, or no healthy service."""
    OVERLOADED = "overloaded"
    LOST = "lost"
    """Cut off on the gateway's side."""


_BY_FLAG = {
    "UT": Ended.TIMEOUT, "SI": Ended.TIMEOUT, "UF": Ended.UNREACHABLE, "UH": Ended.UNREACHABLE,
    "NC": Ended.UNREACHABLE, "UO": Ended.OVERLOADED, "UC": Ended.RESET, "LR": Ended.RESET, "UR": Ended.RESET,
    "URX": Ended.RESET, "UPE": Ended.RESET, "DC": Ended.LOST, "DR": Ended.LOST,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy as its log records it."""

    exposure: Exposure
    ended: Ended
    segments: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers to one request."""

    served: Exposure
    copied: Exposure


def read_copy(line: LogLine, bucket_seconds: int) -> Copy | None:
    """The copy in a line of the shadow log; None if the line belongs to no rollout.

    Raises ValueError for numbers and texts that a database cannot store.
    """
    exposure = expose(replace(line, is_shadow=False), bucket_seconds) if line.is_shadow else None
    if exposure is None or exposure.rollout is None or exposure.rid is None:
        return None
    exposure.require_storable()
    segments = tuple(None if each is None else each[:_LONGEST] for each in line.segments)
    if any("\0" in (each or "") for each in segments):
        raise ValueError("a segment contains NUL")
    return Copy(exposure=exposure, ended=_ended(line), segments=segments)


_LONGEST = 80
"""Characters of a segment's value."""


def _ended(line: LogLine) -> Ended:
    for flag in sorted(line.flags):
        if flag in _BY_FLAG:
            return _BY_FLAG[flag]
    if line.status >= 500:
        return Ended.ERROR
    if line.status >= 400:
        return Ended.REFUSED
    return Ended.ANSWERED if line.status else Ended.LOST


def paired_values(pair: Pair, measures: Measures) -> Iterator[tuple[str, float | None, float | None]]:
    """Name, stable's value and the candidate's value of each metric that is measured on requests; None if missing.

    If only the candidate's threshold is moved, stable's value is the one at the original threshold.
    """
    stable = dict(request_values(pair.served, measures))
    for name, value in request_values(pair.copied, measures):
        yield name, stable.get(name.partition(">")[0]), value
