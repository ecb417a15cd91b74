"""Calls: what a plan asks other systems (checks), and what it notifies them of (hooks). Pure."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sluicegate.registry.plan.document import Document
from sluicegate.registry.words.units import Duration


class Call(Document):
    """A Prefect deployment or an address, one of the two."""

    deployment: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None
    """A Prefect deployment, flow/name: a run that ends as Completed means yes, as Failed no."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+[^\s#@]*$")] | None = None
    """An address that gets a signed POST and answers 200 with {"answer": "yes" or "no", "reason": …}, or 202."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.deployment is None) == (self.url is None):
            raise ValueError("name exactly one of deployment and url")
        return self

    def __str__(self) -> str:
        return str(self.deployment or self.url)


class Check(Call):
    """A question to another system; the step ends only if the answer is yes. Name a deployment or a url."""

    timeout: Duration = Field(default=60.0, ge=1, le=86_400)
    """How long an answer may take, all attempts together."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How many attempts to make when the connection breaks off or the system cannot be reached."""
    then: Literal["pause", "abort"] = "pause"
    """What follows when the answer is no. No answer at all pauses the rollout; a resume asks again."""


class Hook(Call):
    """Another system is notified of what has happened. Nothing waits for it. Name a deployment or a url."""

    deployment: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None
    """A Prefect deployment, flow/name: a run of it is created. The notification has arrived once that run ends as
    Completed."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+[^\s#@]*$")] | None = None
    """An address that gets a signed POST. The notification has arrived once it answers with a status from 200 to
    299."""
    after: Literal["promotion", "abort", "rollback"]
    """What it is notified of. promotion: a build took all of the variation's traffic, in steps, at once or as the first
    one. abort: all traffic went back to stable, in whatever phase. rollback: an earlier build took its place again."""
    timeout: Duration = Field(default=60.0, ge=1, le=3600)
    """How long one attempt may take."""
    attempts: int = Field(default=8, ge=1, le=20)
    """How many attempts to make before giving up; the time between attempts grows from 2 seconds to one hour."""
