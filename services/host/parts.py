"""Parts: the programs of the stack, how each is known to be ready, and what must be ready before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.program import Program


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """Ready when a GET (a POST where there is a body) is answered with 200, and `contains` is in the answer."""

    url: str
    contains: str = ""
    body: str | None = None
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program of the stack."""

    program: Program
    probe: HttpProbe | None = None
    """None: ready when it has run for two seconds."""
    after: tuple[str, ...] = ()
    """Names of parts that must be ready before it is started."""

    @property
    def name(self) -> str:
        return self.program.name
