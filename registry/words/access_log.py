"""The line that the data plane writes for each request: its fields, their meaning, and how it is read. Pure.

One JSON object a line. `services/traffic/envoy/log_format.py` says how Envoy fills these keys; no other file does:

    v        version of this format, 1
    listener live; shadow: a mirrored copy, whose answer no client saw; or generated: sent by Sluicegate itself
    generated in the lines of copies alone: 1 for the copy of a generated request; else null
    ts       start of the request, microseconds since 1970, as text
    rid      request id, unique among live lines; a shadow line carries the id of the live request it copies
    trace    the request's traceparent as its service got it; null for a copy of a request that came without one
    route    what the matched route is for, written by `Place.mark`; null where no model's route matched
    assigned what the request was assigned to, written by `Assigned.header`; null when it was assigned to nothing
    unit     the value that was hashed; null when the assignment was random
    upstream version of the build behind the host that was tried last; null when none was
    stand_in the fallback variation, if that host answered instead of the assigned variation's stable; else null
    host     address of that host
    status   status code of the answer; 0 when there was none, mostly because the client left
    flags    Envoy's response flags, such as UF or DC, separated by commas; `-` for none
    details  Envoy's response code details, such as via_upstream
    dur_us   from the first byte received to the last byte sent, microseconds; null when it ended before
    attempts how often a service was tried; null if none was
    prediction  the service's x-sluice-prediction answer header
    method, path (without its query), bytes_in, bytes_out
    segments the values of the request headers by which the rollout's plan splits it: a shadow's segments, a canary's
             slices; null for each that it does not name, or the request does not have
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any
from urllib.parse import quote, unquote

import orjson

from sluicegate.registry.words.metric import Arm

FORMAT_VERSION = 1
_TEXT = (str,)
_MAYBE_TEXT = (str, type(None))
_COUNT = (int,)
_MAYBE_COUNT = (int, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "listener": _TEXT, "ts": _TEXT, "rid": _MAYBE_TEXT, "route": _MAYBE_TEXT, "assigned": _MAYBE_TEXT,
    "unit": _MAYBE_TEXT, "upstream": _MAYBE_TEXT, "host": _MAYBE_TEXT, "status": _COUNT, "flags": _MAYBE_TEXT,
    "details": _MAYBE_TEXT, "dur_us": _MAYBE_COUNT, "attempts": _MAYBE_COUNT, "prediction": _MAYBE_TEXT,
    "method": _MAYBE_TEXT, "path": _MAYBE_TEXT, "bytes_in": _COUNT, "bytes_out": _COUNT,
}  # fmt: skip
_VALUES = itemgetter(*_KINDS)
_ANSWERED = "via_upstream"
_IS_SHADOW = {"live": False, "shadow": True, "generated": False}
_NO_FLAGS: frozenset[str] = frozenset()
_ARE_TEXTS = frozenset(_MAYBE_TEXT)
_CLIENT_LEFT = frozenset({"DC", "DR"})
_SERVER_ERROR = 500


class End(StrEnum):
    """How a request ended for the build that it was assigned to, which is the one that counts."""

    ANSWERED = "answered"
    CLOSED = "closed"
    """Answered, but the caller closed before the answer's end. Nobody's error."""
    LEFT = "left"
    """The caller left before any answer came: nobody knows how it would have ended."""
    SERVER_ERROR = "5xx"
    """The service, or the gateway instead of it, answered with a server error."""
    TIMEOUT = "timeout"
    RESET = "reset"
    """The service broke off."""
    CONNECT = "connect"
    """The gateway could not connect to the service."""
    STOOD_IN = "stood_in"
    """Stable could not answer; the model's fallback variation did."""
    RETRIED = "retried"
    """A second try succeeded, mostly stable's; the log does not say why the first one failed."""

    @property
    def is_error(self) -> bool:
        """Whether it counts in `source: status`; a caller who left counts too, in both arms alike."""
        return self not in (End.ANSWERED, End.CLOSED)

    @property
    def is_failure(self) -> bool:
        """Whether the build failed for sure."""
        return self.is_error and self is not End.LEFT


_BROKEN = {
    "UT": End.TIMEOUT, "UMSDR": End.TIMEOUT, "UF": End.CONNECT, "UH": End.CONNECT, "NC": End.CONNECT,
    "UO": End.CONNECT, "UC": End.RESET, "UR": End.RESET, "LR": End.RESET, "UPE": End.RESET,
}  # fmt: skip
"""Envoy's flags for a service that took too long, could not be reached or broke off; the first that is there counts."""


class UnitSource(StrEnum):
    """How a request's slot was found."""

    HEADER = "header"
    """By hashing the unit: the same unit stays with its arm."""
    RANDOM = "random"
    """Drawn for this request alone, because it carried no unit or the model names none."""
    NAME = "name"
    """It has none: the caller asked for the variation by its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assigned:
    """What a request was assigned to, and the state of the rollout that assigned it."""

    variation: str
    """The variation that its audience, its name or the fallback gave it."""
    arm: Arm
    """stable or candidate."""
    build: str
    """Version of the assigned build."""
    rollout: str | None
    """The rollout under way, or the last one, of this variation; none before any."""
    epoch: int
    """The rollout's count of weight changes."""
    weight: int
    """The candidate's share in force, in basis points."""

    @property
    def header(self) -> str:
        """One line of text, safe in a header, that `read_assigned` reads back."""
        return _join(self.variation, self.arm, self.build, self.rollout or "", str(self.epoch), str(self.weight))


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a route of the data plane is for."""

    model: str
    """The registered model."""
    audience: str | None
    """The audience that the request matched; none where no audience decided."""
    unit_source: UnitSource
    """How its slot was found: hash, random, or name."""

    @property
    def mark(self) -> str:
        """One line of text that `read_place` reads back."""
        return _join(self.model, self.audience or "", self.unit_source)


@lru_cache(maxsize=4096)
def read_place(mark: str) -> Place:
    """The value that `Place.mark` wrote. Raises ValueError."""
    model, audience, source = _split("route", mark, 3)
    return Place(model=model, audience=audience or None, unit_source=UnitSource(source))


@lru_cache(maxsize=4096)
def read_assigned(header: str) -> Assigned:
    """The value that `Assigned.header` wrote. Raises ValueError."""
    variation, arm, build, rollout, epoch, weight = _split("assigned", header, 6)
    return Assigned(
        variation=variation, arm=Arm(arm), build=build, rollout=rollout or None, epoch=int(epoch), weight=int(weight)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One request as the data plane saw it."""

    is_shadow: bool
    """Whether this is a mirrored copy. Never an exposure."""
    ts_us: int
    """Start of the request, microseconds since 1970."""
    request_id: str
    """The id that the gateway drew; outcomes name it."""
    model: str | None
    """None if no model's route matched: not found, readiness, a malformed request."""
    audience: str | None
    """The audience that it matched."""
    unit: str | None
    """The value that was hashed."""
    unit_source: UnitSource | None
    """How its slot was found."""
    assigned: Assigned | None
    """None if the request was assigned to no build, such as for a model whose stable build has no service."""
    served: str | None
    """Version of the build whose answer the caller got; None if no service answered."""
    host: str | None
    """Address of the service that was tried last."""
    status: int
    """Status code of the answer; 0 if there was none."""
    flags: frozenset[str]
    """Envoy's response flags."""
    details: str
    """Envoy's response code details."""
    duration_us: int | None
    """Microseconds from the first byte received to the last byte sent; None if it ended before."""
    attempts: int
    """How often a service was tried."""
    prediction: str | None
    """The summary of the prediction, as the service wrote it."""
    method: str
    """Of the request."""
    path: str
    """Of the request, without its query."""
    bytes_in: int
    """Size of the request's body."""
    bytes_out: int
    """Size of the answer's body."""
    stand_in: str | None = None
    """The variation that answered instead of the assigned one."""
    segments: tuple[str | None, ...] = ()
    """The values of the headers that the plan splits by."""

    @property
    def end(self) -> End:
        """How it ended, for the assigned build."""
        if not self.flags and self.attempts <= 1 and not self.is_fallback:
            return End.SERVER_ERROR if self.status >= _SERVER_ERROR else End.ANSWERED
        if self.stand_in is not None and 0 < self.status < _SERVER_ERROR:
            return End.STOOD_IN
        has_left = bool(self.flags & _CLIENT_LEFT)
        if has_left and not self.status:
            return End.RETRIED if self.attempts > 1 else End.LEFT
        broken = next((end for flag, end in _BROKEN.items() if flag in self.flags), None)
        if broken is not None:
            return broken
        if self.status >= _SERVER_ERROR:
            return End.SERVER_ERROR
        if self.attempts > 1 or self.is_fallback:
            return End.RETRIED
        return End.CLOSED if has_left else End.ANSWERED

    @property
    def is_fallback(self) -> bool:
        """Whether another build than the assigned one answered: stable, for a candidate that failed."""
        return self.assigned is not None and self.served is not None and self.served != self.assigned.build


def is_generated(line: bytes) -> bool:
    """Whether a copy's line is of a request that no caller sent. In the text of a field a quotation mark is escaped."""
    return b'"generated":"1"' in line


def parse(line: str | bytes) -> LogLine:
    """The request that a line of the access log tells of. Raises ValueError, saying what is wrong with the line."""
    return line_of(fields(line))


def line_of(values: tuple[Any, ...]) -> LogLine:
    """The request that the values of a line's fields tell of. Raises ValueError."""
    (
        listener, ts, rid, route, assigned, unit, upstream, host, status, flags, details, duration, attempts,
        prediction, method, path, bytes_in, bytes_out, stand_in, segments,
    ) = values  # fmt: skip
    place = read_place(route) if route else None
    return LogLine(
        is_shadow=_IS_SHADOW[listener],
        ts_us=int(ts),
        request_id=rid or "",
        model=place.model if place else None,
        audience=place.audience if place else None,
        unit=unit,
        unit_source=place.unit_source if place else None,
        assigned=read_assigned(assigned) if assigned else None,
        served=upstream if details == _ANSWERED or _began(status, flags) else None,
        host=host,
        status=status,
        flags=_NO_FLAGS if flags in ("-", None) else frozenset(flags.split(",")),
        details=details or "",
        duration_us=duration,
        attempts=attempts or 0,
        prediction=prediction,
        method=method or "",
        path=path or "",
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        stand_in=stand_in if details == _ANSWERED else None,
        segments=segments,
    )


def _began(status: int, flags: str | None) -> bool:
    """Whether the service had begun its answer when the caller left."""
    return 0 < status < _SERVER_ERROR and flags is not None and not _CLIENT_LEFT.isdisjoint(flags.split(","))


def fields(line: str | bytes) -> tuple[Any, ...]:
    """The values of the line's fields, each of its type, in the order of `_KINDS`, who stood in, and the segments."""
    try:
        row = orjson.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    version = row.get("v") if isinstance(row, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(f"not an object of format version {FORMAT_VERSION}, but of {version!r}")
    try:
        values: tuple[Any, ...] = _VALUES(row)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is 'missing'; every field must be there") from error
    if not _fits(tuple(map(type, values))):
        raise ValueError(_misfit(values))
    if values[0] not in _IS_SHADOW:
        raise ValueError(f"listener is {values[0]!r}; expected live, shadow or generated")
    stand_in, segments = row.get("stand_in"), row.get("segments")
    if stand_in is None and segments is None:
        return *values, None, ()
    return *values, _stand_in(stand_in), _segments(segments)


def _stand_in(name: object) -> str | None:
    if name is None or isinstance(name, str):
        return name
    raise ValueError(f"stand_in is {name!r}; expected a text")


def _segments(segments: object) -> tuple[str | None, ...]:
    if segments is None:
        return ()
    if not isinstance(segments, list) or not _ARE_TEXTS.issuperset(map(type, segments)):
        raise ValueError(f"segments is {segments!r}; expected a list of texts")
    return tuple(segments)


@lru_cache(maxsize=1024)
def _fits(types: tuple[type, ...]) -> bool:
    """Whether the types of a line's fields are as they should be; few combinations occur, so most are known."""
    return all(found in kinds for found, kinds in zip(types, _KINDS.values(), strict=True))


def _misfit(values: tuple[Any, ...]) -> str:
    """What is wrong with the values that are not of their type."""
    return "; ".join(
        f"{key} is {value!r}; expected {' or '.join(kind.__name__ for kind in kinds)}"
        for value, (key, kinds) in zip(values, _KINDS.items(), strict=True)
        if type(value) not in kinds
    )


@lru_cache(maxsize=4096)
def _join(*parts: str) -> str:
    return ";".join(quote(part, safe="") for part in parts)


def _split(what: str, text: str, count: int) -> list[str]:
    parts = [unquote(part) for part in text.split(";")]
    if len(parts) != count:
        raise ValueError(f"{what} has {len(parts)} parts where {count} belong: {text!r}")
    return parts
