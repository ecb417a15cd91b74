"""Pair: the tallies of both arms of one stratum."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluicegate.registry.words.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both arms of one stratum: inside it, only chance decided who got which arm."""

    stable: Tally = field(default_factory=Tally)
    candidate: Tally = field(default_factory=Tally)

    def __add__(self, other: Pair) -> Pair:
        return Pair(stable=self.stable + other.stable, candidate=self.candidate + other.candidate)

    @property
    def n(self) -> int:
        return self.stable.n + self.candidate.n

    @property
    def information(self) -> float:
        """n1 n0 / n of the realised sizes: what w (1 - w) n is in expectation. 0 when an arm is empty."""
        return self.stable.n * self.candidate.n / self.n if self.n else 0.0
