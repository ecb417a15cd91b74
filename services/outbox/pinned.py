"""Pinned: which addresses a name may stand for, and a transport that connects to these and no other.

Between a check of a name and the connection the name may be pointed at another machine (DNS rebinding). So it is looked
up once, and the connection goes to what was checked.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

import httpx

from sluicegate.registry.words.errors import Refused, Unreachable


def public_addresses(url: str, allowed: Collection[str]) -> tuple[str, ...]:
    """The IP addresses to which a connection may go; none for a host that is allowed by name: whatever it stands for.

    What a document names must not become a way to our own servers. Raises Refused for an address inside our own network
    or one without TLS, and Unreachable for an unknown host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in allowed:
        return ()
    try:
        addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)]
    except (OSError, ValueError):  # no such host; no such port, or nothing that could be a host
        raise Unreachable(f"the name of the host {host} cannot be resolved.") from None
    if parts.scheme != "https" or not all(is_public(ipaddress.ip_address(each)) for each in addresses):
        raise Refused(f"{host} is not a public https server.", fix=f"to allow it, set SLUICE_CHECK_HOSTS={host}")
    return tuple(dict.fromkeys(addresses))


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
"""Not public, and not known as such to every Python of ours."""


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether packets to it leave for the internet: those to the IPv4 address that an IPv6 one stands for, too.

    So of IPv6 only what the internet's hosts have, and what a translator turns into a public IPv4 address.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    inner = _inner_address(address)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global and address not in _DOCUMENTATION


def _inner_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one carries: mapped, 6to4, ISATAP, or by NAT64 and its well-known prefix."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    is_isatap = address.packed[8] & 0xFC == 0 and address.packed[9:12] == b"\x00\x5e\xfe"
    if address in _NAT64 or (address in _GLOBAL_UNICAST and is_isatap):
        return ipaddress.IPv4Address(address.packed[12:])
    return None


class Pinned(httpx.BaseTransport):
    """Connects to these addresses, the first that takes it; what is asked and whose certificate counts stay the name's.

    A proxy is not used: it would look the name up again.
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
    """The same request, which keeps its Host, to an address."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
