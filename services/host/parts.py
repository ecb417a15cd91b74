"""Parts: the programs of the stack, how each is known to be ready, and what must be ready before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluicegate.registry.words.program import Program


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """Ready when a GET (a POST where there is a body) is answered with 200, and `contains` is in the answer."""

    url: str
    contains: str = ""
    body: str | None = None
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Handover(Protocol):
    """How a successor takes over while the former one still runs."""

    def step_aside(self) -> None:
        """Before the successor is started."""
        ...

    def is_ready(self) -> bool:
        """Whether the successor serves."""
        ...

    def drain(self, former: Collection[int], successor: int) -> None:
        """Have the former processes finish what they do; returns when they have, or after a while."""
        ...

    def done(self) -> None:
        """After the former one has ended."""
        ...

    def step_back(self) -> None:
        """In place of the last two: the successor came to nothing and the former one stays."""
        ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program of the stack."""

    program: Program
    probe: HttpProbe | None = None
    """None: ready when it has run for two seconds."""
    after: tuple[str, ...] = ()
    """Names of parts that must be ready before it is started."""
    handover: Handover | None = None
    """None: it is ended before another one is started in its place."""

    @property
    def name(self) -> str:
        return self.program.name
