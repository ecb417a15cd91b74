"""Said: what a gateway that a keeper does not share a machine with says of itself. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a gateway said of itself."""

    has: str = ""
    """The sheet that it was given last, and has carried out or refused."""
    serves: str | None = None
    """The version that its Envoy reports."""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """By build."""
    why: str = ""
    """Why it does not serve the sheet that it has."""
    refused: bool = False
    """Whether Envoy refused it."""
    held: Sequence[str] = ()
    """The models whose former routes stay for that reason, where all others have theirs."""
    instance: str | None = None
    """Which gateway it is: its host and folder."""
    address: str | None = None
    """The IPv4 address that its console heard it from."""
    served: Mapping[str, Any] | None = None
    """What ought to stand in its logs, and how much of them was not sent."""
    stable_only: Mapping[str, str] | None = None
    """Since when, and why, it serves the stable-only form of its routes."""


def read_said(told: object) -> Said:
    """What of it has the form that is read here; the rest counts as not said: it is another machine's."""
    if not isinstance(told, dict):
        return Said()
    return Said(**{name: value for name, value in told.items() if name in _SAYS and _SAYS[name](value)})


def sheet_name(text: str) -> str:
    """By which a sheet of routes is known."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_requests(value: object) -> bool:
    return isinstance(value, dict) and _are_numbers(value) and min(value.values(), default=0) >= 0


def _is_served(value: object) -> bool:
    """Whether this is what ought to stand in its logs, and how much of each was not sent."""
    if not isinstance(value, dict):
        return value is None
    counts = (_is_number(value.get(name)) for name in ("buffered", "failed_writes"))
    return all(counts) and _are_numbers(value.get("ended")) and _are_numbers(value.get("unsent"))


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(IPv4Address(value))
    except ValueError:
        return False


def _is_mark(value: object) -> bool:
    """Whether this says since when, and why, it serves stable builds alone."""
    if not isinstance(value, dict):
        return value is None
    try:
        return datetime.fromisoformat(value["since"]).tzinfo is not None and isinstance(value["why"], str)
    except (ValueError, TypeError, KeyError):
        return False


_SAYS: Mapping[str, Callable[[object], bool]] = {
    "has": lambda value: isinstance(value, str),
    "serves": lambda value: value is None or isinstance(value, str),
    "instance": lambda value: isinstance(value, str),
    "address": lambda value: value is None or _is_address(value),
    "in_flight": _are_requests,
    "why": lambda value: isinstance(value, str),
    "refused": lambda value: isinstance(value, bool),
    "held": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "served": _is_served,
    "stable_only": _is_mark,
}
