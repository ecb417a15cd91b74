"""Connections: which audience of a model gets which variation. Pure; one value per model.

The ledger keeps it as the applied document of kind `traffic` with the model's name. A model without one sends every
request to its variation `default`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sluicegate.registry.audience.audience import Audience, headers, matches
from sluicegate.registry.audience.layout import SlotRun, lay_out

FALLBACK = "default"
"""The audience of requests that no other audience matches, and the variation that it gets by default."""


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """A variation and its weight relative to the others, a whole number: 1 and 3 are 25 % and 75 %."""

    variation: str
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A variation that gets copies of requests that another one answers. `sample` is in basis points."""

    variation: str
    sample: int


@dataclass(frozen=True, kw_only=True)
class Connection:
    """An audience, the variations that share its requests, and those that get copies of them."""

    audience: Audience
    weighted: tuple[Weighted, ...]
    copied: tuple[Copied, ...] = ()
    layout: tuple[SlotRun, ...] = ()
    """Which slots each variation holds; `settled` fills it in. Empty: slots follow from the weights, in their order."""


class StandIn(StrEnum):
    """When the model's fallback variation answers instead of a variation's stable build."""

    NEVER = "never"
    UNREACHABLE = "unreachable"
    """If the build does not run, cannot be reached, breaks off or takes too long."""
    ERRORS = "errors"
    """Also if it answers with an error of its own (5xx)."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Properties of a variation that do not depend on the audience."""

    variation: str
    by_name: bool = False
    """Whether callers may ask for it by name, whatever audience their requests belong to."""
    stand_in: StandIn = StandIn.NEVER
    """When the model's fallback variation answers instead of it."""
    protected: bool = False
    """Whether two named people must agree to every change of what it serves and of who calls it."""


@dataclass(frozen=True, kw_only=True)
class Connections:
    """A model's audiences in the order in which they are tried: the first that matches takes the request."""

    model: str
    ordered: tuple[Connection, ...] = ()
    fallback: tuple[Weighted, ...] = (Weighted(variation=FALLBACK),)
    """Which variations serve requests of no audience; more than one only for an experiment over everybody."""
    fallback_copied: tuple[Copied, ...] = ()
    fallback_layout: tuple[SlotRun, ...] = ()
    terms: tuple[Terms, ...] = ()
    """Properties of single variations, sorted by name. Variations with default properties are left out."""

    @property
    def variations(self) -> tuple[str, ...]:
        """Every variation that is named, each once."""
        served = [part.variation for connection in self.ordered for part in connection.weighted]
        copied = [part.variation for connection in self.ordered for part in connection.copied]
        rest = [part.variation for part in self.fallback] + [part.variation for part in self.fallback_copied]
        return tuple(dict.fromkeys([*served, *copied, *rest]))

    @property
    def fallback_variation(self) -> str:
        """The variation that serves requests of no audience; if there are several, the heaviest."""
        return max(self.fallback, key=lambda part: part.weight).variation

    def terms_of(self, variation: str) -> Terms:
        """The properties of a variation."""
        return next((each for each in self.terms if each.variation == variation), Terms(variation=variation))

    @property
    def protected(self) -> frozenset[str]:
        """The variations that are protected."""
        return frozenset(each.variation for each in self.terms if each.protected)

    def with_terms(self, terms: Terms) -> Connections:
        """The same connections with these properties for their variation."""
        others = [each for each in self.terms if each.variation != terms.variation]
        own = [terms] if terms != Terms(variation=terms.variation) else []
        return replace(self, terms=tuple(sorted((*others, *own), key=lambda each: each.variation)))

    def takes(self, metadata: Mapping[str, str]) -> Connection | None:
        """The first connection whose audience matches a request with these metadata; None: the fallback."""
        sent = headers(metadata.items())
        return next((each for each in self.ordered if matches(each.audience.condition, sent)), None)


def preview_name(variation: str) -> str:
    """The name by which callers reach a variation's candidate before it is trusted."""
    return f"{variation}/preview"


def weights(weighted: tuple[Weighted, ...]) -> dict[str, int]:
    """The relative weight of each variation."""
    return {part.variation: part.weight for part in weighted}


def settled(wanted: Connections, before: Connections | None) -> Connections:
    """The connections, laid out so that as few units as possible move compared with `before`.

    An audience keeps its layout by its name, wherever it stands in the order. Raises ValueError if all weights are 0.
    """
    former = {each.audience.name: each.layout for each in before.ordered} if before else {}
    ordered = (
        replace(each, layout=lay_out(weights(each.weighted), former.get(each.audience.name, ())))
        for each in wanted.ordered
    )
    rest = lay_out(weights(wanted.fallback), before.fallback_layout if before else ())
    return replace(wanted, ordered=tuple(ordered), fallback_layout=rest)
