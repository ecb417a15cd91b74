"""Parts: the programs of the stack, their readiness probes, and their dependencies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluicegate.registry.words.program import Program


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """Ready if a GET, or a POST if there is a body, returns 200 and a response that contains `contains`."""

    url: str
    contains: str = ""
    body: str | None = None
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Handover(Protocol):
    """How a successor takes over while the former program is still running."""

    def step_aside(self) -> None:
        """Called before the successor is started."""
        ...

    def is_ready(self) -> bool:
        """Whether the successor serves requests."""
        ...

    def drain(self, former: Collection[int], successor: int) -> None:
        """Let the former processes finish their requests; returns when they have, or after a time limit."""
        ...

    def done(self) -> None:
        """Called after the former program has ended."""
        ...

    def step_back(self) -> None:
        """Called instead of `drain` and `done` if the successor failed and the former program stays."""
        ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program of the stack."""

    program: Program
    probe: HttpProbe | None = None
    """None: ready after it has been running for two seconds."""
    after: tuple[str, ...] = ()
    """Names of parts that must be ready before it is started."""
    handover: Handover | None = None
    """None: it is stopped before its successor is started."""

    @property
    def name(self) -> str:
        return self.program.name
