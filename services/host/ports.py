"""Loopback ports: chosen once, recorded, and kept as long as no other program uses them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from sluicegate.registry.words.errors import Refused
from sluicegate.services import durable
from sluicegate.services.loopback import is_free

FIRST, LAST = 20_000, 29_999
"""Below the range from which systems take the local ports of outgoing connections."""


def read_ports(path: Path) -> dict[str, int]:
    """The recorded ports; empty if there are none or the file cannot be read."""
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def choose_ports(path: Path, names: Collection[str], *, in_use: Collection[str]) -> dict[str, int]:
    """A port for each name, recorded in `path`.

    A recorded port is kept if it is free, or if its name is in `in_use`, because one of our programs listens on it.
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
    """Free ports, starting at a number that depends on the state folder, so that two folders rarely collide."""
    span = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4], "big") % span
    for step in range(span):
        port = FIRST + (start + step) % span
        if port not in taken and is_free(port):
            yield port
    raise Refused(f"no free port between {FIRST} and {LAST}.", fix="End programs that listen on loopback.")
