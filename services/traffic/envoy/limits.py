"""What a caller may cost the gateway, and what the gateway may cost a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds in bytes, seconds and counts."""

    body_bytes: int = 16 * 1024 * 1024
    small_bytes: int = 32 * 1024
    """A body up to here may be sent by every caller at once."""
    medium_bytes: int = 1024 * 1024
    """From here on, and where its size is not told, a body is large."""
    medium_requests: int = 64
    """Requests with medium bodies that are under way at once; others wait."""
    large_requests: int = 8
    waiting_requests: int = 512
    """Requests with medium bodies that wait, and as many with large ones; beyond it callers get 503 at once."""
    buffer_bytes: int = 128 * 1024
    """What is read of a connection before somebody takes it: of callers who wait, or who do not read their answer."""
    header_kilobytes: int = 48
    header_count: int = 100
    connections: int = 8192
    streams: int = 32
    """Concurrent requests of one HTTP/2 connection."""
    http2_connections: int = 128
    """Each request on them may hold a small body, as each connection of HTTP/1 may."""
    receive_seconds: float = 30.0
    """Time a caller has for sending its whole request."""
    headers_seconds: float = 10.0
    idle_seconds: float = 300.0
    """Time after which a caller's idle connection is closed."""
    upstream_idle_seconds: float = 3.0
    """Shorter than any server's keep-alive (uvicorn: 5 s), or a request meets a connection that is being closed."""
    connect_seconds: float = 1.0
    upstream_requests: int = 4096
    """Requests and connections to one service at a time; beyond it callers get 503 at once."""
    stand_in_requests: int = 256
    """Requests that one service answers at a time in another variation's place; beyond it callers get 503 at once."""
    shadow_requests: int = 64
    """Mirrored requests to one service at a time; beyond it mirrored requests are dropped."""
    heap_bytes: int = 1024 * 1024 * 1024
    """Beyond it Envoy refuses requests before it is killed."""

    @property
    def outside_connections(self) -> int:
        """Those that callers of other hosts may have among all."""
        return max(1, self.connections - max(1, self.connections // 8))

    @property
    def gateway_connections(self) -> int:
        """Those that one gateway of another host may have to the services of this one."""
        return max(1, self.connections // 2)

    @property
    def stranger_connections(self) -> int:
        """Those that all may have there who are not known to be a gateway."""
        return max(1, self.connections // 8)
