"""How a model's name may stand in a path: RFC 3986 has several spellings that mean the same. Pure."""

from __future__ import annotations

import re
import string
from urllib.parse import quote

from sluicegate.services.traffic.envoy.resources import Resource

_UNRESERVED = frozenset((string.ascii_letters + string.digits + "-._~").encode())
"""Escaped or not: Envoy writes them out before it looks for a route, and escapes what no path may hold."""
_AS_IT_IS = frozenset(b"!$&'()*+,;=@[]")
"""May stand in a path as they are and as escapes, and Envoy leaves them as they came."""
ODD_PATH = "[^?]*[^?A-Za-z0-9._~/-].*"
"""Every path that may spell a name with other characters than unreserved ones; plain names are found without this."""


def path_of(model: str, page: str = "") -> Resource:
    """Matches the path `/{model}{page}`, however the name is spelled."""
    plain = quote(model, safe="")
    return {"safe_regex": {"regex": _spelled(model, page)}} if "%" in plain else {"path": f"/{plain}{page}"}


def paths_below(model: str, page: str) -> Resource:
    """Matches every path that begins with `/{model}{page}`, however the name is spelled."""
    plain = quote(model, safe="")
    return {"safe_regex": {"regex": f"{_spelled(model, page)}.*"}} if "%" in plain else {"prefix": f"/{plain}{page}"}


def _spelled(model: str, page: str) -> str:
    return f"/{''.join(map(_spellings, model.encode()))}{re.escape(page)}"


def _spellings(byte: int) -> str:
    """The pattern of every spelling of a byte that may reach the routes."""
    if byte in _UNRESERVED:
        return re.escape(chr(byte))
    escape = "%" + "".join(f"[{digit}{digit.lower()}]" if digit.isalpha() else digit for digit in f"{byte:02X}")
    return f"(?:{re.escape(chr(byte))}|{escape})" if byte in _AS_IT_IS else escape
