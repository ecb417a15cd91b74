"""Capturing: where the services of this machine write bodies, and with which key values are hashed."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from sluicegate.registry.plan.fields import Capture, KeptPredictions
from sluicegate.services import durable


def bodies_log(home: Path) -> Path:
    """The log whose files the services under `home` write; no file has this very name."""
    return home / "bodies" / "bodies.jsonl"


def capture_environment(capture: Capture, home: Path) -> dict[str, str]:
    """The environment of a service that writes down what the plan asks for; none where that is the default."""
    if not capture.has_bodies and capture.predictions is not KeptPredictions.OFF:
        return {}
    wanted = {
        "folder": str(bodies_log(home).parent),
        "key": str(_key(home)),
        "share": capture.share,
        "features": capture.features.value,
        "predictions": capture.predictions.value,
        "headers": list(capture.headers),
    }
    return {"BENTO_CAPTURE": json.dumps(wanted)}


def _key(home: Path) -> Path:
    """The key of this installation, drawn once; the same for all services, so that equal values have equal hashes."""
    path = home / "bodies.key"
    durable.create(path, secrets.token_hex(32), mode=durable.PRIVATE)
    return path
