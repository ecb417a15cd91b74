"""Spans: where what the gateway did for each request is told to others. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SpanReceiver:
    """A receiver of spans, by OTLP over HTTP, and the headers that it wants."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
