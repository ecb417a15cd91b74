"""How a client reaches its servers: URLs, tokens, timeouts and connection limits."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypedDict

import httpx

from sluicegate.services.client.asking import Server, is_near
from sluicegate.services.client.problems import CannotBeSent
from sluicegate.services.client.retrying import Retries

_CONNECT_SECONDS = 2.0
_IDLE_SECONDS = 60.0
"""Shorter than the gateway's own 300 s, so that no request uses a connection that is being closed."""


class Options(TypedDict, total=False):
    """A client's optional arguments; `Connecting` describes them."""

    console: str
    timeout: float
    retries: Retries
    connections: int
    unit_header: str
    flush_every: float
    gateway_token: str
    ca: str


@dataclass(frozen=True, kw_only=True)
class Connecting:
    """A client's settings."""

    gateway: str
    """URL of the gateway, which answers predictions; by default SLUICE_GATEWAY from the environment."""
    token: str | None = field(default=None, repr=False)
    """The console's token; by default SLUICE_TOKEN. It is never sent to the gateway, so models' services cannot see
    it."""
    console: str | None = None
    """URL of the console, which takes outcomes and orders; by default SLUICE_API."""
    timeout: float = 10.0
    """Seconds that one attempt may take, unless the call sets its own."""
    retries: Retries = field(default_factory=Retries)
    connections: int = 100
    """The most open connections, including those kept for later requests."""
    unit_header: str | None = None
    """The header for units; by default the gateway names it for each model."""
    flush_every: float = 1.0
    """Seconds after which outcomes are sent even if they do not fill a batch."""
    gateway_token: str | None = field(default=None, repr=False)
    """The token for a gateway of another host; by default SLUICE_GATEWAY_TOKEN. It is sent only over TLS."""
    ca: str | None = None
    """File of the trusted certificate authority; by default SLUICE_CA, and without that the system's authorities."""

    @classmethod
    def from_arguments(
        cls, url: str | None, token: str | None, options: Options, environment: Mapping[str, str]
    ) -> Self:
        """From a client's arguments, completed from what `eval "$(sluice env)"` sets. Raises CannotBeSent."""
        gateway = url or environment.get("SLUICE_GATEWAY")
        if not gateway:
            raise CannotBeSent("no gateway is named.", fix='Pass its URL, or first run eval "$(sluice env)" before.')
        if console := options.get("console") or environment.get("SLUICE_API"):
            options = {**options, "console": console}
        if gateway_token := options.get("gateway_token") or environment.get("SLUICE_GATEWAY_TOKEN"):
            options = {**options, "gateway_token": gateway_token}
        if ca := options.get("ca") or environment.get("SLUICE_CA"):
            options = {**options, "ca": ca}
        return cls(gateway=gateway, token=token or environment.get("SLUICE_TOKEN") or None, **options)

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that this client knows."""
        return (Server.GATEWAY,) if self.console is None else (Server.GATEWAY, Server.CONSOLE)

    def require_console(self) -> None:
        """Raise CannotBeSent if no console is named."""
        if self.console is None:
            fix = "Client(url, token, console=URL); sluice status prints it."
            raise CannotBeSent("outcomes and orders go to the console, but no console is named.", fix=fix)

    def http(self, server: Server) -> dict[str, Any]:
        """Keyword arguments of the HTTP client for this server."""
        url = self.gateway if server is Server.GATEWAY else self.console or ""
        token = self.token if server is Server.CONSOLE else self.gateway_token if url.startswith("https:") else None
        return {
            "base_url": url,
            "headers": {"authorization": f"Bearer {token}"} if token else {},
            "verify": True if self.ca is None else _trusting(self.ca),
            "timeout": self.patience(None),
            "limits": httpx.Limits(
                max_connections=self.connections,
                max_keepalive_connections=self.connections,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            "trust_env": not is_near(url),
        }

    def patience(self, timeout: float | None) -> httpx.Timeout:
        """The time limit of one attempt; `timeout` in seconds, or None for the default."""
        seconds = self.timeout if timeout is None else timeout
        return httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds))


def _trusting(ca: str) -> ssl.SSLContext:
    """A TLS context that trusts this authority. Raises CannotBeSent if the file is missing or has no certificate."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        fix = "Copy ca.pem from the folder tls of the other host's state folder, and name the copy in SLUICE_CA."
        raise CannotBeSent(f"the certificate authority in {ca} cannot be read: {error}.", fix=fix) from None
