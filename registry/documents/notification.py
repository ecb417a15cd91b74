"""Notification: who is notified of what. Addresses contain secrets, so they are stored apart. Pure."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from sluicegate.registry.plan.document import WholeDocument
from sluicegate.registry.report.happening import Happening, Severity


class Means(StrEnum):
    """How somebody is notified."""

    APPRISE = "apprise"
    """By an Apprise URL: Slack, Teams, e-mail and a hundred more."""
    WEBHOOK = "webhook"
    """A POST of JSON to a URL, signed as Standard Webhooks says."""


class Least(StrEnum):
    """The lowest severity that is sent."""

    ROUTINE = "routine"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Notification(WholeDocument):
    """Who is notified of what, and how often at most."""

    kind: Literal["notification"] = "notification"
    """What this document is."""
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    """Its name; the address is stored under it by `sluice notify set NAME`."""
    send: Means
    """How it is sent."""
    severity: Least = Least.WARNING
    """The lowest severity that is sent."""
    models: tuple[str, ...] = ("*",)
    """Names of models; * stands for any characters."""
    per_hour: int = Field(default=20, ge=1, le=3600)
    """The most messages an hour. What exceeds them is sent together, later."""

    def wants(self, happening: Happening) -> bool:
        """Whether the notification is for this happening."""
        is_named = any(fnmatchcase(happening.model, pattern) for pattern in self.models)
        return is_named and happening.severity >= Severity[self.severity.name]

    def document(self) -> dict[str, object]:
        """The notification as JSON values, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind}
