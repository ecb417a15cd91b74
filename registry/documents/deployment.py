"""Deployment: which build a variation should serve, as a document in a file. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.plan.document import WholeDocument


class Deployment(WholeDocument):
    """Which build a variation should serve. It is rolled out by the variation's plan."""

    kind: Literal["deployment"] = "deployment"
    """What this document is."""
    model: str = Field(min_length=1)
    """The MLflow registered model."""
    variation: str = Field(default=FALLBACK, min_length=1)
    """The slot of the model."""
    build: str = Field(pattern=r"^[1-9][0-9]{0,9}$")
    """The version in MLflow, such as 7. It must be a fixed version, not an alias that moves."""

    @field_validator("build", mode="before", json_schema_input_type=str | int)
    @classmethod
    def _as_text(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number else value

    @property
    def name(self) -> str:
        """Its name among deployments."""
        return f"{self.model}/{self.variation}"
