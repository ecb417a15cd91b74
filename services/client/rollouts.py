"""Requests to the console for rollouts and orders on them, as values. Answers are the console's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

from sluicegate.services.client.asking import JSON, Ask, Server, segment
from sluicegate.services.client.showing import View

Verb = Literal["pause", "resume", "approve", "jump", "promote", "abort"]

ENDED = "ended"
"""The last phase."""


def has_changed(before: View, after: View) -> bool:
    """Whether anything but the elapsed time differs."""
    return {**before, "elapsed": None} != {**after, "elapsed": None}


def page(model: str | None, before: str | None) -> Ask:
    """A page of all rollouts, or of one model's, newest first."""
    query = {name: value for name, value in (("model", model), ("before", before)) if value is not None}
    return _get("/api/v1/rollouts" + (f"?{urlencode(query)}" if query else ""))


def captures(
    model: str, build: str | None, since: datetime | None, until: datetime | None, after: str | None
) -> Ask:  # fmt: skip
    """A page of captured requests."""
    times = {name: str(round(at.timestamp() * 1e6)) for name, at in (("since", since), ("until", until)) if at}
    query = times | {name: value for name, value in (("build", build), ("after", after)) if value is not None}
    return _get(f"/api/v1/models/{segment(model)}/captures" + (f"?{urlencode(query)}" if query else ""))


def one(rollout: str) -> Ask:
    """One rollout, by its id or by a model's name."""
    return _get(f"/api/v1/rollouts/{segment(rollout)}")


def order(rollout: str, verb: Verb, reason: str, more: Mapping[str, Any]) -> Ask:
    """An order on a rollout."""
    return _post(f"/api/v1/rollouts/{segment(rollout)}/{verb}", {"reason": reason, **more})


def start(model: str, build: str, variation: str) -> Ask:
    """Starts a rollout. If the same rollout already exists, the console returns that one."""
    return _post("/api/v1/rollouts", {"model": model, "build": build, "variation": variation})


def report(rollout: str) -> Ask:
    """A rollout's report, with its page."""
    return _get(f"/api/v1/rollouts/{segment(rollout)}/report?html=1")


def _get(path: str) -> Ask:
    return Ask(server=Server.CONSOLE, method="GET", path=path)


def _post(path: str, body: Mapping[str, Any]) -> Ask:
    content = json.dumps(body).encode()
    return Ask(server=Server.CONSOLE, method="POST", path=path, headers=(JSON,), content=content, is_harmless=False)
