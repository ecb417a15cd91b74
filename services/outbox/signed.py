"""Signed HTTP to others, as https://www.standardwebhooks.com says: who receives it can tell that it is ours and new."""

from __future__ import annotations

import base64
import ipaddress
import socket
from collections.abc import Collection
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from registry.errors import Refused, Unreachable
from services.outbox.address import Address

LARGEST = 64 * 1024
"""Bytes of an answer that are read."""


def post(address: Address, *, name: str, body: str, now: datetime, seconds: float) -> httpx.Response:
    """POST JSON with its signature. The same `name` again means the same message; redirects are not followed.

    Raises Unreachable where nobody answers, without telling the address, which may be a secret.
    """
    from standardwebhooks import Webhook

    headers = {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(address.key).sign(msg_id=name, timestamp=now, data=body),
    }
    try:
        with httpx.stream("POST", address.url, content=body, headers=headers, timeout=seconds) as answer:
            return httpx.Response(answer.status_code, content=_up_to(answer, LARGEST))
    except httpx.HTTPError as error:
        raise Unreachable(f"the webhook does not answer ({type(error).__name__}).") from None


def signing_key(secret: str) -> str:
    """A secret in the form that Standard Webhooks takes: base64 after whsec_."""
    return f"whsec_{base64.b64encode(secret.encode()).decode()}"


def refuse_inner(url: str, allowed: Collection[str]) -> None:
    """Refuse an address inside our own network, or one without TLS, unless its host is allowed by name.

    What a document names must not become a way to our own servers. Raises Refused, and Unreachable for an unknown host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in allowed:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)}
    except OSError:
        raise Unreachable(f"the host {host} is not known.") from None
    if parts.scheme != "https" or not all(ipaddress.ip_address(str(each)).is_global for each in found):
        raise Refused(f"{host} is not a public https server.", fix=f"allow it by name: SLUICE_CHECK_HOSTS={host}")


def _up_to(answer: httpx.Response, most: int) -> bytes:
    read = b""
    for chunk in answer.iter_bytes():
        read += chunk
        if len(read) >= most:
            break
    return read[:most]
