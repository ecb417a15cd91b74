"""Connections as a document in a file: which audience of a model gets which variation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from sluicegate.registry.audience.connections import FALLBACK, Connection, Connections, Copied, Weighted
from sluicegate.registry.orders.order import Routed, SetConnections
from sluicegate.registry.plan.document import Document, WholeDocument
from sluicegate.registry.words.units import Weight

Relative = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Copies = Annotated[Weight, Field(gt=0, le=10_000)]


class Route(Document):
    """An audience, and who gets its requests."""

    audience: str = Field(min_length=1)
    """The name of an applied audience."""
    weights: dict[str, Relative] = Field(min_length=1)
    """Variations with relative whole numbers: {a: 1, b: 3} is 25 % and 75 %."""
    copies: dict[str, Copies] = Field(default_factory=dict)
    """Variations that get copies, in per cent of the audience's requests; callers never get their answers."""

    @field_validator("audience")
    @classmethod
    def _no_fallback(cls, audience: str) -> str:
        if audience == FALLBACK:
            raise ValueError(f"{FALLBACK} stands for requests that no audience matches; write it as fallback:")
        return audience

    @field_validator("weights")
    @classmethod
    def _somebody_answers(cls, weights: dict[str, int]) -> dict[str, int]:
        return _answering(weights)


class ConnectionsDocument(WholeDocument):
    """Who gets the requests of a model: its audiences in the order in which they are tried, and all others."""

    kind: Literal["connections"] = "connections"
    """What this document is."""
    model: str = Field(min_length=1)
    """The MLflow registered model."""
    audiences: tuple[Route, ...] = ()
    """In the order in which they are tried: the first one that matches a request gets it."""
    fallback: dict[str, Relative] = Field(default_factory=lambda: {FALLBACK: 1}, min_length=1)
    """Who gets requests that no audience matches: a variation, or several with weights."""
    fallback_copies: dict[str, Copies] = Field(default_factory=dict)
    """Who gets copies of these requests, in per cent."""

    @field_validator("fallback", mode="before", json_schema_input_type=str | dict[str, int])
    @classmethod
    def _one_variation(cls, value: object) -> object:
        return {value: 1} if isinstance(value, str) else value

    @field_validator("fallback")
    @classmethod
    def _somebody_answers(cls, weights: dict[str, int]) -> dict[str, int]:
        return _answering(weights)

    @field_serializer("fallback")
    def _as_written(self, weights: dict[str, int]) -> str | dict[str, int]:
        return next(iter(weights)) if len(weights) == 1 else weights

    @model_validator(mode="after")
    def _each_once(self) -> ConnectionsDocument:
        names = [each.audience for each in self.audiences]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the audience {', '.join(twice)} is named twice; name each once")
        return self

    @property
    def says(self) -> str:
        """A short description."""
        return f"{len(self.audiences)} audiences, all others to {', '.join(self.fallback)}"

    @property
    def act(self) -> SetConnections:
        """The order that applying the document gives."""
        return SetConnections(
            model=self.model,
            routed=tuple(
                Routed(audience=each.audience, weighted=_weighted(each.weights), copied=_copied(each.copies))
                for each in self.audiences
            ),
            fallback=_weighted(self.fallback),
            fallback_copied=_copied(self.fallback_copies),
        )

    @property
    def is_bare(self) -> bool:
        """Whether it equals the connections of a model that has none: one variation takes every request."""
        return not self.audiences and not self.fallback_copies and len(self.fallback) == 1

    @property
    def bare(self) -> ConnectionsDocument:
        """The document's effect once withdrawn: the heaviest fallback variation takes every request."""
        return ConnectionsDocument(model=self.model, fallback={max(self.fallback, key=lambda n: self.fallback[n]): 1})


def connections_document(connections: Connections) -> ConnectionsDocument:
    """The document for recorded connections."""
    return ConnectionsDocument.model_construct(
        kind="connections",
        model=connections.model,
        audiences=tuple(map(_route, connections.ordered)),
        fallback=_weights(connections.fallback),
        fallback_copies=_copies(connections.fallback_copied),
    )


def _answering(weights: dict[str, int]) -> dict[str, int]:
    """The weights above 0. A variation without weight is not connected."""
    if not any(weights.values()):
        raise ValueError("no variation would answer: give one a weight above 0")
    return _plain({name: weight for name, weight in weights.items() if weight})


def _plain(weights: dict[str, int]) -> dict[str, int]:
    """A single variation has weight 1, whatever was written."""
    return dict.fromkeys(weights, 1) if len(weights) == 1 else weights


def _route(connection: Connection) -> Route:
    return Route.model_construct(
        audience=connection.audience.name, weights=_weights(connection.weighted), copies=_copies(connection.copied)
    )


def _weights(weighted: Sequence[Weighted]) -> dict[str, int]:
    return _plain({part.variation: part.weight for part in weighted if part.weight})


def _copies(copied: Sequence[Copied]) -> dict[str, int]:
    return {part.variation: part.sample for part in copied}


def _weighted(weights: Mapping[str, int]) -> tuple[Weighted, ...]:
    return tuple(Weighted(variation=name, weight=weight) for name, weight in weights.items())


def _copied(copies: Mapping[str, int]) -> tuple[Copied, ...]:
    return tuple(Copied(variation=name, sample=sample) for name, sample in copies.items())
