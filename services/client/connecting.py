"""How a client reaches its servers: where, with which token, how long it waits, how many connections it keeps."""

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
"""Shorter than the gateway's own 300 s, so that no request meets a connection that is being closed."""


class Options(TypedDict, total=False):
    """What a client may be told besides URL and token; `Connecting` says what each means."""

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
    """Everything that is set once for a client."""

    gateway: str
    """URL of the gateway, which answers predictions; by default SLUICE_GATEWAY in the environment."""
    token: str | None = field(default=None, repr=False)
    """The console's token, by default SLUICE_TOKEN. The gateway, and so any model's service, never sees it."""
    console: str | None = None
    """URL of the console, which takes outcomes and orders; by default SLUICE_API."""
    timeout: float = 10.0
    """Seconds that one try may take, unless the call says otherwise."""
    retries: Retries = field(default_factory=Retries)
    connections: int = 100
    """At most so many are open at a time, and kept for the next request."""
    unit_header: str | None = None
    """The header that units go into; by default what the gateway names for each model."""
    flush_every: float = 1.0
    """Seconds after which outcomes are sent even when they make no whole batch."""
    gateway_token: str | None = field(default=None, repr=False)
    """What a gateway of another host requires, by default SLUICE_GATEWAY_TOKEN. It is sent by TLS alone."""
    ca: str | None = None
    """File of the certificate authority that is trusted, by default SLUICE_CA; without either those of the system."""

    @classmethod
    def from_arguments(
        cls, url: str | None, token: str | None, options: Options, environment: Mapping[str, str]
    ) -> Self:
        """From a client's arguments; what they leave out, as `eval "$(sluice env)"` has it. Raises CannotBeSent."""
        gateway = url or environment.get("SLUICE_GATEWAY")
        if not gateway:
            raise CannotBeSent("no gateway is named.", fix='Pass its URL, or first run eval "$(sluice env)" before.')
        if console := options.get("console") or environment.get("SLUICE_API"):
            options = {**options, "console": console}
        if known := options.get("gateway_token") or environment.get("SLUICE_GATEWAY_TOKEN"):
            options = {**options, "gateway_token": known}
        if ca := options.get("ca") or environment.get("SLUICE_CA"):
            options = {**options, "ca": ca}
        return cls(gateway=gateway, token=token or environment.get("SLUICE_TOKEN") or None, **options)

    @property
    def servers(self) -> tuple[Server, ...]:
        """Which servers this client can ask."""
        return (Server.GATEWAY,) if self.console is None else (Server.GATEWAY, Server.CONSOLE)

    def require_console(self) -> None:
        """Raise CannotBeSent where no console is named."""
        if self.console is None:
            fix = "Client(url, token, console=URL); sluice status prints it."
            raise CannotBeSent("outcomes and orders go to the console, but no console is named.", fix=fix)

    def http(self, server: Server) -> dict[str, Any]:
        """Keyword arguments of the HTTP client that asks this server."""
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
        """How long one try may take; `timeout` in seconds, or None for the usual."""
        seconds = self.timeout if timeout is None else timeout
        return httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds))


def _trusting(ca: str) -> ssl.SSLContext:
    """Raises CannotBeSent where there is no such file, or it holds no certificate."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        fix = "Copy ca.pem from the folder tls of the other host's state folder, and name the copy in SLUICE_CA."
        raise CannotBeSent(f"the certificate authority in {ca} cannot be read: {error}.", fix=fix) from None
