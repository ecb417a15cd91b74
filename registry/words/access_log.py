"""The line that the data plane writes for each request: its fields, their meaning, and how it is read. Pure.

One JSON object a line, `{"2": [[its own], [in common]]}`. 2 is the version of this format. Values stand in the order of
the two lists below, without their names, because a line is written and read for every request. Fields that many
requests share come last, so that they are parsed once for all of them. `services/traffic/envoy/log_format.py` says how
Envoy fills these places; no other file does. Fields of one request alone:

    ts       start of the request, microseconds since 1970, as text
    rid      request id, unique among live lines; a shadow line carries the id of the live request it copies
    trace    the request's traceparent as its service got it; null for a copy of a request that came without one
    unit     the value that was hashed; null when the assignment was random
    dur_us   from the first byte received to the last byte sent, microseconds; null when the request ended before
    bytes_in, bytes_out
    prediction  the service's x-sluice-prediction answer header
    segment0 to segment3  values of the request headers that the rollout's plan splits by: a shadow's slices, a
             canary's slices; null for each that the plan does not name or the request does not have

Fields shared with other requests:

    listener live; shadow: a mirrored copy, whose answer no client saw; or generated: sent by Sluicegate itself
    generated  1 for the copy of a generated request; else null
    method, path (without its query)
    route    what the matched route is for, written by `Place.mark`; null where no model's route matched
    assigned what the request was assigned to, written by `Assigned.header`; null when it was assigned to nothing
    upstream version of the build behind the host that was tried last; null when none was
    stand_in the fallback variation, if its host answered instead of the assigned variation's stable; else null
    host     address of that host
    status   status code of the answer; 0 when there was none, mostly because the client left
    flags    Envoy's response flags, such as UF or DC, separated by commas; `-` for none
    details  Envoy's response code details, such as via_upstream
    attempts how often a service was tried; null if none was
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import orjson

from sluicegate.registry.words.metric import Arm

FORMAT_VERSION = 2
_TEXT = (str,)
_MAYBE_TEXT = (str, type(None))
_COUNT = (int,)
_MAYBE_COUNT = (int, type(None))
Kinds = dict[str, tuple[type, ...]]
"""The types that each field may have, by its name."""
OWN: Kinds = {
    "ts": _TEXT, "rid": _MAYBE_TEXT, "trace": _MAYBE_TEXT, "unit": _MAYBE_TEXT, "dur_us": _MAYBE_COUNT,
    "bytes_in": _COUNT, "bytes_out": _COUNT, "prediction": _MAYBE_TEXT,
    "segment0": _MAYBE_TEXT, "segment1": _MAYBE_TEXT, "segment2": _MAYBE_TEXT, "segment3": _MAYBE_TEXT,
}  # fmt: skip
"""Fields of one request alone, in order."""
COMMON: Kinds = {
    "listener": _TEXT, "generated": _MAYBE_TEXT, "method": _MAYBE_TEXT, "path": _MAYBE_TEXT, "route": _MAYBE_TEXT,
    "assigned": _MAYBE_TEXT, "upstream": _MAYBE_TEXT, "stand_in": _MAYBE_TEXT, "host": _MAYBE_TEXT, "status": _COUNT,
    "flags": _MAYBE_TEXT, "details": _MAYBE_TEXT, "attempts": _MAYBE_COUNT,
}  # fmt: skip
"""Fields that it shares with others, in order."""
_KEY = str(FORMAT_VERSION)
_BEGIN = f'{{"{_KEY}":['.encode()
_BETWEEN, _END = b',["', b"]}"
_ANSWERED = "via_upstream"
_IS_SHADOW = {"live": False, "shadow": True, "generated": False}
_NO_FLAGS: frozenset[str] = frozenset()
_CLIENT_LEFT = frozenset({"DC", "DR"})
_SERVER_ERROR = 500


class End(StrEnum):
    """How a request ended for the build that it was assigned to, which is the one that counts."""

    ANSWERED = "answered"
    CLOSED = "closed"
    """Answered, but the caller closed the connection before the answer's end. Nobody's error."""
    LEFT = "left"
    """The caller left before any answer came: nobody knows how it would have ended."""
    SERVER_ERROR = "5xx"
    """The service, or the gateway instead of it, answered with a server error."""
    TIMEOUT = "timeout"
    RESET = "reset"
    """The service broke off the connection."""
    CONNECT = "connect"
    """The gateway could not connect to the service."""
    STOOD_IN = "stood_in"
    """Stable could not answer; the model's fallback variation did."""
    RETRIED = "retried"
    """A second try succeeded, mostly stable's; the log does not say why the first one failed."""

    @property
    def is_error(self) -> bool:
        """Whether it counts as an error in `source: status`. A caller who left counts too, in both arms alike."""
        return self not in (End.ANSWERED, End.CLOSED)

    @property
    def is_failure(self) -> bool:
        """Whether the build failed for sure."""
        return self.is_error and self is not End.LEFT


_BROKEN = {
    "UT": End.TIMEOUT, "UMSDR": End.TIMEOUT, "UF": End.CONNECT, "UH": End.CONNECT, "NC": End.CONNECT,
    "UO": End.CONNECT, "UC": End.RESET, "UR": End.RESET, "LR": End.RESET, "UPE": End.RESET,
}  # fmt: skip
"""Envoy's flags for a service that took too long, could not be reached or broke off. The first one present counts."""


class UnitSource(StrEnum):
    """How a request's slot was found."""

    HEADER = "header"
    """By hashing the unit: the same unit stays with its arm."""
    RANDOM = "random"
    """Drawn for this request alone, because it carried no unit or the model names none."""
    NAME = "name"
    """There is no slot: the caller asked for the variation by its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assigned:
    """What a request was assigned to, and the state of the rollout that assigned it."""

    variation: str
    """The variation that the audience, the name or the fallback led to."""
    arm: Arm
    """stable or candidate."""
    build: str
    """Version of the assigned build."""
    rollout: str | None
    """The variation's rollout in progress, or its last one; None before the first."""
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
    """The audience that the request matched; None where no audience decided."""
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
    is_generated: bool
    """Whether Sluicegate sent it, or sent the request that it copies."""
    ts_us: int
    """Start of the request, microseconds since 1970."""
    request_id: str
    """The id that the gateway drew. Outcomes refer to it."""
    model: str | None
    """None if no model's route matched: not found, readiness, a malformed request."""
    audience: str | None
    """The audience that the request matched."""
    unit: str | None
    """The value that was hashed."""
    unit_source: UnitSource | None
    """How the request's slot was found."""
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
    """Microseconds from the first byte received to the last byte sent; None if the request ended before."""
    attempts: int
    """How often a service was tried."""
    prediction: str | None
    """The summary of the prediction, as the service wrote it."""
    method: str
    """The request's method."""
    path: str
    """The request's path, without its query."""
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
        """How the request ended for the assigned build."""
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
        """Whether another build answered than the assigned one: stable, for a candidate that failed."""
        return self.assigned is not None and self.served is not None and self.served != self.assigned.build


def parse(line: str | bytes) -> LogLine:
    """Parse one line of the access log. Raises ValueError that says what is wrong with the line."""
    own, common = halves(line.encode() if isinstance(line, str) else line)
    return line_of(checked_own(own), read_common(common))


def line_of(own: Sequence[Any], common: Sequence[Any]) -> LogLine:
    """Build the request from the values of its line's fields. Raises ValueError."""
    ts, rid, _, unit, duration, bytes_in, bytes_out, prediction, *segments = own
    (
        listener, generated, method, path, route, assigned, upstream, stand_in, host, status, flags, details, attempts,
    ) = common  # fmt: skip
    place = read_place(route) if route else None
    return LogLine(
        is_shadow=_IS_SHADOW[listener],
        is_generated=listener == "generated" or generated is not None,
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
        segments=tuple(segments),
    )


def _began(status: int, flags: str | None) -> bool:
    """Whether the service had begun its answer when the caller left."""
    return 0 < status < _SERVER_ERROR and flags is not None and not _CLIENT_LEFT.isdisjoint(flags.split(","))


def halves(line: bytes) -> tuple[Any, bytes]:
    """Split a line into the values of its own fields and the JSON of the shared ones; neither is checked.

    Raises ValueError. A line that is not spelled as the data plane spells it is parsed as ordinary JSON.
    """
    cut = line.rfind(_BETWEEN)
    if cut > 0 and line.startswith(_BEGIN) and line.endswith(_END):
        try:
            return orjson.loads(line[len(_BEGIN) : cut]), line[cut + 1 : -len(_END)]
        except ValueError:
            pass  # the text that looked like the end of the first list is part of a value
    return _halves_of_any(line)


def _halves_of_any(line: bytes) -> tuple[Any, bytes]:
    try:
        row = orjson.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    pair = row.get(_KEY) if isinstance(row, dict) else None
    if not isinstance(pair, list) or len(pair) != len((OWN, COMMON)):
        raise ValueError(f"not an object of format version {FORMAT_VERSION}")
    return pair[0], orjson.dumps(pair[1])


def checked_own(values: Any) -> list[Any]:
    """Check the values of a line's own fields against their types. Raises ValueError."""
    return _checked(values, OWN)


@lru_cache(maxsize=4096)
def read_common(text: bytes) -> list[Any]:
    """Parse the fields that a line shares with others, and check their types. Raises ValueError."""
    try:
        values = _checked(orjson.loads(text), COMMON)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if values[0] not in _IS_SHADOW:
        raise ValueError(f"listener is {values[0]!r}; expected live, shadow or generated")
    return values


def _checked(values: Any, kinds: Kinds) -> list[Any]:
    if not isinstance(values, list) or len(values) != len(kinds):
        raise ValueError(f"expected a list of {len(kinds)} values: {', '.join(kinds)}")
    if not all(type(value) in each for value, each in zip(values, kinds.values(), strict=True)):
        raise ValueError(_misfit(values, kinds))
    return values


def _misfit(values: Sequence[Any], kinds: Kinds) -> str:
    """Which values are not of their type, in words."""
    return "; ".join(
        f"{key} is {value!r}; expected {' or '.join(kind.__name__ for kind in each)}"
        for value, (key, each) in zip(values, kinds.items(), strict=True)
        if type(value) not in each
    )


@lru_cache(maxsize=4096)
def _join(*parts: str) -> str:
    return ";".join(quote(part, safe="") for part in parts)


def _split(what: str, text: str, count: int) -> list[str]:
    parts = [unquote(part) for part in text.split(";")]
    if len(parts) != count:
        raise ValueError(f"{what} has {len(parts)} parts instead of {count}: {text!r}")
    return parts
