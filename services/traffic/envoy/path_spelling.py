"""How a model's name may be spelled in a path: RFC 3986 allows several equivalent spellings. Pure."""

from __future__ import annotations

import re
import string
from urllib.parse import quote

from sluicegate.services.traffic.envoy.resources import Resource

_UNRESERVED = frozenset((string.ascii_letters + string.digits + "-._~").encode())
"""Bytes that Envoy unescapes before it looks for a route. It escapes bytes that a path may not contain."""
_AS_IT_IS = frozenset(b"!$&'()*+,;=@[]")
"""Bytes that may be in a path plain or escaped, and that Envoy leaves as they are."""
ODD_PATH = "[^?]*[^?A-Za-z0-9._~/-].*"
"""Matches paths that may contain a name with characters that are not unreserved. Plain names do not need it."""


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
    """A pattern for all spellings of a byte that may reach the routes."""
    if byte in _UNRESERVED:
        return re.escape(chr(byte))
    escape = "%" + "".join(f"[{digit}{digit.lower()}]" if digit.isalpha() else digit for digit in f"{byte:02X}")
    return f"(?:{re.escape(chr(byte))}|{escape})" if byte in _AS_IT_IS else escape
