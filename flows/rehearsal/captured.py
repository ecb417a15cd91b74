"""Captured requests: those that a predictor wrote down, or plain JSON lines of requests, ready to run again. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.errors import UsageError

_BODIES = frozenset({"dataframe_split", "dataframe_records", "inputs", "instances"})


@dataclass(frozen=True, kw_only=True)
class Label:
    """An outcome of one row of a request."""

    name: str
    row: int
    value: bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A request to run again."""

    rid: str
    body: bytes
    answer: object | None = None
    """The answer at that time; None if it was not captured."""
    headers: Mapping[str, str] = field(default_factory=dict)
    at: int = 0
    """Microseconds since 1970; 0 if unknown."""
    outcomes: tuple[Label, ...] = ()
    """The outcomes measured after the request."""


def read_captured(lines: Iterable[str], where: str) -> Iterator[Captured]:
    """The requests of JSON lines, in order. Raises UsageError naming the line.

    A line is what a predictor captured in full, `{"request": …, "answer": …, "headers": …, "rid": …}`, of which only
    the request is required, or the request itself.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{where}:{number}: not JSON: {error}.") from None
        if not isinstance(fields, dict):
            raise UsageError(f"{where}:{number}: not a JSON object.", fix='one object a line: {"inputs": [{…}]}')
        if fields.get("copy") is not True:  # a shadow's answer: the request has a line of its own
            yield captured(fields, f"{where}:{number}", str(number))


def captured(fields: Mapping[str, object], where: str, name: str) -> Captured:
    """The request of one line's fields; `where` names the line. Raises UsageError if it cannot be run again."""
    if _BODIES & fields.keys():
        return Captured(rid=name, body=json.dumps(fields).encode())
    request = fields.get("request", fields.get("features"))
    if not isinstance(request, dict) or not _BODIES & request.keys():
        raise UsageError(
            f"{where}: no request can be run again: {', '.join(sorted(_BODIES))} is missing.",
            fix="capture in full: capture: {features: full}; hashed and cut bodies cannot be run again",
        )
    answer = fields.get("answer", fields.get("predictions"))
    if isinstance(answer, dict) and answer.keys() == {"predictions"}:
        answer = answer["predictions"]
    headers, at = fields.get("headers"), fields.get("at")
    return Captured(
        rid=str(fields.get("rid", name)),
        body=json.dumps(request).encode(),
        answer=answer,
        headers={str(k).lower(): str(v) for k, v in headers.items()} if isinstance(headers, dict) else {},
        at=at if isinstance(at, int) else 0,
        outcomes=tuple(_labels(fields.get("outcomes"))),
    )


def _labels(outcomes: object) -> Iterator[Label]:
    for each in outcomes if isinstance(outcomes, list) else []:
        match each:
            case {"name": str(name), "row": int(row), "value": bool() | int() | float() | str() | None as value}:
                yield Label(name=name, row=row, value=value)
            case _:
                continue
