"""Loopback ports: chosen once, recorded, and kept for as long as nobody else takes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from sluicegate.registry.words.errors import Refused
from sluicegate.services import durable
from sluicegate.services.loopback import is_free

FIRST, LAST = 20_000, 29_999
"""Below the range from which systems draw the local ports of outgoing connections."""


def read_ports(path: Path) -> dict[str, int]:
    """What was chosen before; empty when nothing was, or when the file cannot be read."""
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def choose_ports(path: Path, names: Collection[str], *, in_use: Collection[str]) -> dict[str, int]:
    """A port for each name, recorded in `path`.

    A recorded port is kept when it is free, or when its name is in `in_use`: then a program of ours listens on it.
    """
    before = read_ports(path)
    ports: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        if port is None or not (name in in_use or is_free(port)):
            port = next(_candidates(path, {*before.values(), *ports.values()}))
        ports[name] = port
    if ports != before:
        durable.replace(path, json.dumps(ports, indent=1), mode=durable.PRIVATE)
    return ports


def _candidates(path: Path, taken: Collection[int]) -> Iterator[int]:
    """Free ports, beginning at a place of this state folder's own, so that two folders seldom meet."""
    span = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4], "big") % span
    for step in range(span):
        port = FIRST + (start + step) % span
        if port not in taken and is_free(port):
            yield port
    raise Refused(f"no free port between {FIRST} and {LAST}.", fix="End programs that listen on loopback.")
