"""Sends signed HTTP requests by https://www.standardwebhooks.com, so that receivers can verify their origin and age."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

import httpx

from sluicegate.registry.deadline import bounded
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.outbox.address import Address
from sluicegate.services.outbox.pinned import Pinned

LARGEST = 64 * 1024
"""Bytes of a response that are read."""


def post(
    address: Address, *, name: str, body: str, now: datetime, seconds: float, only: Sequence[str] = ()
) -> httpx.Response:
    """POST JSON with its signature. The same `name` means the same message; redirects are not followed.

    `only`: the IP addresses to connect to; none: those that the host name resolves to. Raises Unreachable if there is
    no response, without naming the address, which may be a secret.
    """
    from standardwebhooks import Webhook

    headers = {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(address.key).sign(msg_id=name, timestamp=now, data=body),
    }
    try:
        with (
            _client(only, seconds) as http,
            http.stream("POST", address.url, content=body, headers=headers) as answer,
        ):
            return httpx.Response(answer.status_code, content=_first_bytes(answer))
    except httpx.HTTPError as error:
        raise Unreachable(f"the webhook does not answer ({type(error).__name__}).") from None


def _client(only: Sequence[str], seconds: float) -> httpx.Client:
    """A client whose requests take at most `seconds`."""
    pinned = Pinned(only) if only else None
    http = httpx.Client(transport=pinned, timeout=seconds)
    return bounded(http, seconds, inside=(pinned.inner,) if pinned else ())


def signing_key(secret: str) -> str:
    """A secret in the format of Standard Webhooks: base64 after whsec_."""
    return f"whsec_{base64.b64encode(secret.encode()).decode()}"


def _first_bytes(answer: httpx.Response) -> bytes:
    read = b""
    for chunk in answer.iter_bytes():
        read += chunk
        if len(read) >= LARGEST:
            break
    return read[:LARGEST]
