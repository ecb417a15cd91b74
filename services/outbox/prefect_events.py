"""Sends every fact as a Prefect event over Prefect's HTTP API, so that Prefect automations can react."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import httpx

from sluicegate.registry.report.happening import Happening
from sluicegate.registry.words.errors import Unreachable

NAME = "prefect"
PREFIX = "sluice.rollout"
"""The prefix of event names, such as sluice.rollout.aborted, and of resource ids, sluice.rollout.<id>."""


class PrefectEvents:
    """A sink. Prefect stores an event once even if it is sent again, because events have ids."""

    name = NAME

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def send(self, news: Sequence[Happening], now: datetime) -> None:
        """Raises Unreachable."""
        del now
        try:
            self._http.post("/events", json=[event(each) for each in news]).raise_for_status()
        except httpx.HTTPError as error:
            raise Unreachable(f"Prefect accepted no events: {error!r}.", fix="sluice doctor") from error


def event(happening: Happening) -> dict[str, object]:
    """A happening in the format of Prefect's API."""
    return {
        "id": happening.id,
        "occurred": happening.moment.at.isoformat(),
        "event": f"{PREFIX}.{happening.name}",
        "resource": {
            "prefect.resource.id": f"{PREFIX}.{happening.rollout}",
            "prefect.resource.name": f"{happening.model} v{happening.version}",
            "sluice.model": happening.model,
            "sluice.variation": happening.variation,
            "sluice.version": happening.version,
            "sluice.severity": happening.severity.name.lower(),
        },
        "related": [
            {
                "prefect.resource.id": f"sluice.model.{happening.model}",
                "prefect.resource.role": "model",
                "prefect.resource.name": happening.model,
            }
        ],
        "payload": happening.as_json(),
    }
