"""What a gateway reports about itself to a keeper on another machine. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GatewayReport:
    """A gateway's report about itself."""

    after: float | None = None
    """When its console gave the last answer before this report, by the console's clock, in seconds since 1970."""
    has: str = ""
    """The last sheet of routes that it was given and has applied or refused."""
    serves: str | None = None
    """The version that its Envoy reports."""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Requests in flight, by build."""
    why: str = ""
    """Why it does not serve the sheet that it has."""
    refused: bool = False
    """Whether Envoy refused the sheet."""
    held: Sequence[str] = ()
    """The models that keep their former routes because Envoy refused the new ones."""
    instance: str | None = None
    """Which gateway it is: its host and folder."""
    address: str | None = None
    """The IPv4 address that its console heard it from."""
    own_address: str | None = None
    """The IPv4 address from which, by its own account, it connects to the relay: another one if it speaks to the
    console through a proxy."""
    served: Mapping[str, Any] | None = None
    """How many requests should be in its logs, and how large their files were at that moment."""
    stable_only: Mapping[str, str] | None = None
    """Since when, and why, it serves the stable-only form of its routes."""


def read_gateway_report(values: object) -> GatewayReport:
    """Read a report. Values of the wrong form are ignored, because another machine sent them."""
    if not isinstance(values, dict):
        return GatewayReport()
    return GatewayReport(**{name: value for name, value in values.items() if name in _FORMS and _FORMS[name](value)})


def sheet_name(text: str) -> str:
    """The name of a sheet of routes: a hash of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and _are_numbers(value) and min(value.values(), default=0) >= 0


def _are_sizes(value: object) -> bool:
    return isinstance(value, dict) and all(map(_are_counts, value.values()))


def _is_served(value: object) -> bool:
    """Whether this is the form of `served`: counts of requests for its logs, and the sizes of their files by head."""
    if not isinstance(value, dict):
        return value is None
    counts = (_is_number(value.get(name)) for name in ("buffered", "failed_writes"))
    return all(counts) and _are_numbers(value.get("ended")) and _are_sizes(value.get("written"))


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(IPv4Address(value))
    except ValueError:
        return False


def _is_mark(value: object) -> bool:
    """Whether this is the form of `stable_only`: a time with a zone, and a reason."""
    if not isinstance(value, dict):
        return value is None
    try:
        return datetime.fromisoformat(value["since"]).tzinfo is not None and isinstance(value["why"], str)
    except (ValueError, TypeError, KeyError):
        return False


_FORMS: Mapping[str, Callable[[object], bool]] = {
    "after": lambda value: isinstance(value, float),
    "has": lambda value: isinstance(value, str),
    "serves": lambda value: value is None or isinstance(value, str),
    "instance": lambda value: isinstance(value, str),
    "address": lambda value: value is None or _is_address(value),
    "own_address": lambda value: value is None or _is_address(value),
    "in_flight": _are_counts,
    "why": lambda value: isinstance(value, str),
    "refused": lambda value: isinstance(value, bool),
    "held": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "served": _is_served,
    "stable_only": _is_mark,
}
