"""Spans: where the gateway sends a trace of each request. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SpanReceiver:
    """A receiver of spans by OTLP over HTTP, and the headers that it requires."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
