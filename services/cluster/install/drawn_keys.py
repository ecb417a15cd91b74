"""The Secret of an installation: generated once, by whoever installs it, and shared by control pods and flows."""

from __future__ import annotations

import base64
import secrets

from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import named
from sluicegate.services.cluster.kinds import Object

SHARED = ("admin_token", "check_key", "session_secret", "webhook_secret")
"""The keys of `services/host/keys.py` that several pods must share. Every pod generates the others for itself."""


def keys_secret(installation: Installation) -> Object:
    """A Secret with new values."""
    generated = {name: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() for name in SHARED}
    metadata = named(installation, installation.keys, "control")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": generated}
