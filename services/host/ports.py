"""Loopback ports: chosen once, recorded, and kept for as long as nobody else takes them."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sluicegate.registry.words.errors import Refused
from sluicegate.services import durable

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 29_999
"""Below the range from which systems draw the local ports of outgoing connections."""


def read_ports(path: Path) -> dict[str, int]:
    """What was chosen before; empty when nothing was, or when the file cannot be read."""
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def choose_ports(
    path: Path, names: Collection[str], *, held: Collection[str], fixed: Mapping[str, int] | None = None
) -> dict[str, int]:
    """A port for each name, recorded in `path`.

    A recorded port is kept when it is free, or when its name is in `held`: then a program of ours listens on it.
    `fixed` are ports that somebody asked for; one that is taken raises Refused.
    """
    before, wanted = read_ports(path), fixed or {}
    ports: dict[str, int] = {}
    for name in names:
        port = wanted.get(name, before.get(name))
        keep = port is not None and ((name in held and port == before.get(name)) or is_free(port))
        if not keep and name in wanted:
            raise Refused(f"port {port}, asked for as the {name} port, is taken.", fix="Free it or ask for another.")
        ports[name] = (
            port if keep and port is not None else next(_candidates(path, {*before.values(), *ports.values()}))
        )
    if ports != before:
        durable.replace(path, json.dumps(ports, indent=1), mode=durable.PRIVATE)
    return ports


def is_free(port: int) -> bool:
    """Whether one could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _candidates(path: Path, taken: Collection[int]) -> Iterator[int]:
    """Free ports, beginning at a place of this state folder's own, so that two folders seldom meet."""
    span = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4], "big") % span
    for step in range(span):
        port = FIRST + (start + step) % span
        if port not in taken and is_free(port):
            yield port
    raise Refused(f"no free port between {FIRST} and {LAST}.", fix="End programs that listen on loopback.")
