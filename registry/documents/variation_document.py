"""Variation as a document in a file: properties of a model's slot that do not depend on the audience. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from sluicegate.registry.audience.connections import FALLBACK, StandIn, Terms
from sluicegate.registry.orders.order import SetTerms
from sluicegate.registry.plan.document import WholeDocument


class VariationDocument(WholeDocument):
    """Properties of a variation that do not depend on the audience. Its deployment says which build it serves."""

    kind: Literal["variation"] = "variation"
    """What this document is."""
    model: str = Field(min_length=1)
    """The MLflow registered model."""
    variation: str = Field(default=FALLBACK, min_length=1)
    """The slot of the model."""
    by_name: StrictBool = False
    """Whether callers may ask for it by name."""
    stand_in: StandIn = StandIn.NEVER
    """When the model's fallback variation answers instead of it."""
    protected: StrictBool = False
    """Whether two named people must agree to every change of what it serves."""

    @property
    def name(self) -> str:
        """Its name among variations."""
        return f"{self.model}/{self.variation}"

    @property
    def says(self) -> str:
        """A short description."""
        words = ("protected" if self.protected else "", "by name" if self.by_name else "")
        stood_in = "" if self.stand_in is StandIn.NEVER else f"stand-in: {self.stand_in}"
        return ", ".join(filter(None, (*words, stood_in))) or "no properties of its own"

    @property
    def act(self) -> SetTerms:
        """The order that applying the document gives."""
        return SetTerms(
            model=self.model, variation=self.variation, by_name=self.by_name, stand_in=self.stand_in,
            protected=self.protected,
        )  # fmt: skip

    @property
    def is_bare(self) -> bool:
        """Whether it has only default properties."""
        return self == self.bare

    @property
    def bare(self) -> VariationDocument:
        """The document's effect once withdrawn."""
        return VariationDocument(model=self.model, variation=self.variation)


def variation_document(model: str, terms: Terms) -> VariationDocument:
    """The document for recorded properties."""
    return VariationDocument(
        model=model, variation=terms.variation, by_name=terms.by_name, stand_in=terms.stand_in,
        protected=terms.protected,
    )  # fmt: skip
