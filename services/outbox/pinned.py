"""Pinned: checks the IP addresses of a host name, and a transport that connects only to the checked ones.

Between a check and the connection, a name may be pointed at another machine (DNS rebinding). So the name is resolved
once, and the connection goes to the checked addresses.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

import httpx

from sluicegate.registry.words.errors import Refused, Unreachable


def public_addresses(url: str, allowed: Collection[str]) -> tuple[str, ...]:
    """The IP addresses to which a connection may go; none for a host in `allowed`, which may resolve to anything.

    A URL in a document must not give access to internal servers. Raises Refused for an address that is not public or a
    URL without TLS, and Unreachable for an unknown host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in allowed:
        return ()
    try:
        addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)]
    except (OSError, ValueError):  # no such host; an invalid port or host name
        raise Unreachable(f"the name of the host {host} cannot be resolved.") from None
    if parts.scheme != "https" or not all(is_public(ipaddress.ip_address(each)) for each in addresses):
        raise Refused(f"{host} is not a public https server.", fix=f"to allow it, set SLUICE_CHECK_HOSTS={host}")
    return tuple(dict.fromkeys(addresses))


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
"""Not public, though `is_global` of older supported Pythons says so."""


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is on the public internet. An IPv6 address that embeds an IPv4 one counts as that one.

    Of all other IPv6 addresses, only global unicast ones count as public.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    inner = _inner_address(address)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global and address not in _DOCUMENTATION


def _inner_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address embeds: mapped, 6to4, ISATAP, or NAT64 with its well-known prefix."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    is_isatap = address.packed[8] & 0xFC == 0 and address.packed[9:12] == b"\x00\x5e\xfe"
    if address in _NAT64 or (address in _GLOBAL_UNICAST and is_isatap):
        return ipaddress.IPv4Address(address.packed[12:])
    return None


class Pinned(httpx.BaseTransport):
    """Connects to the first of these addresses that accepts. The Host header and the certificate check keep the name.

    Uses no proxy, which would resolve the name again.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for address in self._addresses[:-1]:
            try:
                return self.inner.handle_request(_to(address, request))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return self.inner.handle_request(_to(self._addresses[-1], request))

    def close(self) -> None:
        self.inner.close()


def _to(address: str, request: httpx.Request) -> httpx.Request:
    """The same request, sent to an address; it keeps its Host header."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
