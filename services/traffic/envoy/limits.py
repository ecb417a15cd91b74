"""Limits on what callers may use of the gateway, and the gateway of a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits in bytes, seconds and counts."""

    body_bytes: int = 16 * 1024 * 1024
    small_bytes: int = 32 * 1024
    """Bodies up to this size are buffered for all callers at once."""
    medium_bytes: int = 1024 * 1024
    """Larger bodies, and those of unknown size, are large."""
    medium_requests: int = 64
    """Open requests with medium bodies at a time; others wait."""
    large_requests: int = 8
    waiting_requests: int = 512
    """Waiting requests with medium bodies, and as many with large ones. Beyond it callers get 503 at once."""
    buffer_bytes: int = 128 * 1024
    """Bytes buffered for a connection whose other side does not read yet: a waiting request, or a slow caller."""
    header_kilobytes: int = 48
    header_count: int = 100
    connections: int = 8192
    streams: int = 32
    """Concurrent requests of one HTTP/2 connection."""
    http2_connections: int = 128
    """Open HTTP/2 connections. Each of their requests may buffer a small body, like a whole HTTP/1 connection."""
    receive_seconds: float = 30.0
    """Time that a caller has to send its whole request."""
    headers_seconds: float = 10.0
    idle_seconds: float = 300.0
    """Time after which a caller's idle connection is closed."""
    upstream_idle_seconds: float = 3.0
    """Shorter than any server's keep-alive (uvicorn: 5 s), so that no request meets a closing connection."""
    relayed_seconds: float = 3.0
    """Time for which a connection through a relay gets requests. The relay balances connections, so this is how long a
    replica that was removed may still get some; it is ended later than that."""
    connect_seconds: float = 1.0
    upstream_requests: int = 4096
    """Requests and connections to one service at a time; beyond it callers get 503 at once."""
    stand_in_requests: int = 256
    """Open requests to one service that stands in for another variation. Beyond it callers get 503 at once."""
    shadow_requests: int = 64
    """Mirrored requests to one service at a time; beyond it mirrored requests are dropped."""
    heap_bytes: int = 1024 * 1024 * 1024
    """Beyond it Envoy refuses requests before it is killed."""

    @property
    def outside_connections(self) -> int:
        """How many of all connections callers on other hosts may use."""
        return max(1, self.connections - max(1, self.connections // 8))

    @property
    def gateway_connections(self) -> int:
        """Most connections of one gateway on another host to this host's services."""
        return max(1, self.connections // 2)

    @property
    def stranger_connections(self) -> int:
        """Most connections to this host's services from all addresses that are no known gateway's."""
        return max(1, self.connections // 8)
