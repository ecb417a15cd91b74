"""Capturing: where the services of this machine write bodies, and with which key values are hashed."""

from __future__ import annotations

import secrets
from pathlib import Path

from sluicegate.registry.plan.fields import Capture
from sluicegate.services import durable
from sluicegate.services.bento.process_environment import capture_told, is_default


def bodies_log(home: Path) -> Path:
    """The log whose files the services under `home` write; no file has this very name."""
    return home / "bodies" / "bodies.jsonl"


def capture_environment(capture: Capture, home: Path) -> dict[str, str]:
    """The environment of a service that writes down what the plan asks for; none where that is the default."""
    if is_default(capture):
        return {}
    return capture_told(capture, folder=str(bodies_log(home).parent), key=str(_key(home)))


def _key(home: Path) -> Path:
    """The key of this installation, drawn once; the same for all services, so that equal values have equal hashes."""
    path = home / "bodies.key"
    durable.create(path, secrets.token_hex(32), mode=durable.PRIVATE)
    return path
