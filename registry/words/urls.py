"""URLs as they may be shown and stored. Pure."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


def without_credentials(url: str) -> str:
    """The URL without user name and password. Any text is accepted; without credentials it comes back unchanged."""
    return _CREDENTIALS.sub("", url)
