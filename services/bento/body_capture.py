"""Capturing: where this machine's services write bodies, and the key with which they hash values."""

from __future__ import annotations

import secrets
from pathlib import Path

from sluicegate.registry.plan.fields import Capture
from sluicegate.services import durable
from sluicegate.services.bento.process_environment import capture_told, is_default


def bodies_log(home: Path) -> Path:
    """The common stem of the files that the services under `home` write. No file has exactly this name."""
    return home / "bodies" / "bodies.jsonl"


def capture_environment(capture: Capture, home: Path) -> dict[str, str]:
    """The environment variables that make a service capture what the plan asks for; empty for the default."""
    if is_default(capture):
        return {}
    return capture_told(capture, folder=str(bodies_log(home).parent), key=str(_key(home)))


def _key(home: Path) -> Path:
    """The installation's key, drawn once. All services share it, so that equal values have equal hashes."""
    path = home / "bodies.key"
    durable.create(path, secrets.token_hex(32), mode=durable.PRIVATE)
    return path
