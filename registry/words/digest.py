"""Digest: the hash that identifies a document. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def digest_of(values: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON of these values, in hexadecimal. The order of keys does not matter."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
