"""Deployment: which build a variation shall serve, as a document that stands in a file. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.plan.document import Document
from sluicegate.registry.plan.messages import explain
from sluicegate.registry.words.digest import digest_of
from sluicegate.registry.words.yaml_text import Text


class Deployment(Document):
    """Which build a variation shall serve. It is rolled out by the variation's plan."""

    kind: Literal["deployment"] = "deployment"
    """What this document is."""
    model: str = Field(min_length=1)
    """The MLflow registered model."""
    variation: str = Field(default=FALLBACK, min_length=1)
    """The slot of the model."""
    build: str = Field(pattern=r"^[1-9][0-9]{0,9}$")
    """The version in MLflow, such as 7: a file says one build, no alias that moves."""

    @field_validator("build", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number else value

    @property
    def name(self) -> str:
        """Its name among deployments."""
        return f"{self.model}/{self.variation}"

    def document(self) -> dict[str, object]:
        """The deployment as JSON values."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        return digest_of(self.document())


def read_deployment_text(text: Text) -> Deployment | None:
    """The deployment of a text whose values are a mapping; None when it has problems, which are then noted in it."""
    try:
        return Deployment.model_validate(text.values)
    except ValidationError as error:
        problems = explain(error, Deployment)
    for problem in problems:
        text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
    return None
