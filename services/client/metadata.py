"""Metadata and units as HTTP headers, which audience conditions and the hash read. Pure.

Names are case-insensitive, as in HTTP. Values are sent as UTF-8 bytes, which is what the gateway compares; numbers and
booleans as their usual text. Anything that would arrive changed is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from sluicegate.services.client.problems import CannotBeSent

MetadataValue = str | bool | int | float | Decimal | None
"""None: the header is not sent."""
Header = tuple[bytes, bytes]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_EDGES = " \t"
_OF_HTTP = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-request-id",
})  # fmt: skip
_OF_GATEWAY = ("x-sluice-", "x-envoy-", "x-forwarded-")


def metadata_headers(metadata: Mapping[str, MetadataValue]) -> list[Header]:
    """The headers for this metadata. Raises CannotBeSent."""
    headers: dict[str, Header] = {}
    for name, value in metadata.items():
        if value is None:
            continue
        key = _name(name)
        if key in headers:
            raise CannotBeSent(
                f"metadata name {name!r} is given twice.", fix="Upper and lower case are the same name; keep one."
            )
        headers[key] = (key.encode(), _value(f"metadata {name!r}", value))
    return list(headers.values())


def unit_header(name: str, unit: str | int) -> Header:
    """The header for the unit. Raises CannotBeSent if the gateway would not hash it."""
    text = str(unit)
    if not text or "," in text:
        what = "is empty" if not text else "contains a comma, which HTTP reads as two values"
        raise CannotBeSent(f"unit {text!r} {what}; it would be assigned at random.", fix="Give one plain id.")
    return _name(name).encode(), _value("the unit", text)


def _name(name: str) -> str:
    key = name.lower()
    if not _TOKEN.fullmatch(key):
        fix = "Use letters, digits, dashes and underscores."
        raise CannotBeSent(f"metadata name {name!r} cannot be the name of an HTTP header.", fix=fix)
    alike = key.replace("_", "-")  # some servers treat both as the same name
    if alike in _OF_HTTP or alike.startswith(_OF_GATEWAY):
        raise CannotBeSent(f"metadata name {name!r} is reserved for HTTP or the gateway.", fix="Choose another name.")
    return key


def _value(what: str, value: str | bool | float | Decimal) -> bytes:
    text = _text(what, value)
    if _CONTROLS.search(text):
        raise CannotBeSent(f"{what} has a control character, such as a line break: {text!r}.", fix="Leave it out.")
    if text.strip(_EDGES) != text:
        fix = "Remove them: HTTP drops spaces at both ends, so no condition could match them."
        raise CannotBeSent(f"{what} begins or ends with a space: {text!r}.", fix=fix)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CannotBeSent(f"{what} is not valid Unicode: {text!r}.") from None


def _text(what: str, value: str | bool | float | Decimal) -> str:
    match value:
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() | Decimal() if math.isfinite(value):
            return format(value, "f") if isinstance(value, Decimal) else _decimal(value)
        case _ if hasattr(value, "item"):
            return _text(what, value.item())
        case _:
            fix = "Send a text, a finite number, True or False."
            raise CannotBeSent(f"{what} is {value!r}, which cannot be sent in a header.", fix=fix)


def _decimal(value: float) -> str:
    """The exact number without an exponent, which ranges in audience conditions cannot read."""
    return format(Decimal(float.__repr__(value)), "f")
