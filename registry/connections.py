"""Connections: which audience of a model gets which of its variations. Pure; one value per model.

The ledger keeps it as the applied document of kind `traffic` named like the model. A model that has none sends every
request to its variation `default`.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.audience import Audience


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A variation and its weight beside the others: relative whole numbers, 1 and 3 are 25 % and 75 %."""

    variation: str
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A variation that gets copies of requests, which another answers; sample in basis points."""

    variation: str
    sample: int


@dataclass(frozen=True, kw_only=True)
class Connection:
    """An audience, the variations that share its requests, and those that get copies of them."""

    audience: Audience
    weighted: tuple[Weighted, ...]
    copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Connections:
    """A model's audiences in the order in which they are asked: the first that matches takes the request."""

    model: str
    ordered: tuple[Connection, ...] = ()
    fallback: tuple[Weighted, ...] = (Weighted(variation="default"),)
    """Who serves the requests that no audience takes; more than one only for an experiment over everybody."""

    @property
    def variations(self) -> tuple[str, ...]:
        """Every variation that is named, each once."""
        served = [part.variation for connection in self.ordered for part in connection.weighted]
        copied = [part.variation for connection in self.ordered for part in connection.copied]
        return tuple(dict.fromkeys([*served, *copied, *(part.variation for part in self.fallback)]))
