"""The Secret of an installation: drawn once, by whoever installs it, and shared by the control pods and the flows."""

from __future__ import annotations

import base64
import secrets

from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import named
from sluicegate.services.cluster.kinds import Object

SHARED = ("admin_token", "check_key", "session_secret", "webhook_secret")
"""Of `services/host/keys.py`: what several pods must have in common. Every pod draws the others for itself."""


def keys_secret(installation: Installation) -> Object:
    """A Secret with new values."""
    drawn = {name: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() for name in SHARED}
    metadata = named(installation, installation.keys, "control")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": drawn}
