"""What a client may ask of the console: rollouts, and orders on them. Sends nothing; answers are the console's JSON."""

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
    """Whether anything is otherwise but the time that has passed."""
    return {**before, "elapsed": None} != {**after, "elapsed": None}


def page(model: str | None, before: str | None) -> Ask:
    """A page of all rollouts, newest first, or of those of one model."""
    words = {name: word for name, word in (("model", model), ("before", before)) if word is not None}
    return _get("/api/v1/rollouts" + (f"?{urlencode(words)}" if words else ""))


def captures(
    model: str, build: str | None, since: datetime | None, until: datetime | None, after: str | None
) -> Ask:  # fmt: skip
    """A page of captured requests."""
    times = {name: str(round(at.timestamp() * 1e6)) for name, at in (("since", since), ("until", until)) if at}
    words = times | {name: word for name, word in (("build", build), ("after", after)) if word is not None}
    return _get(f"/api/v1/models/{segment(model)}/captures" + (f"?{urlencode(words)}" if words else ""))


def one(rollout: str) -> Ask:
    """One rollout, by its id or by a model's name."""
    return _get(f"/api/v1/rollouts/{segment(rollout)}")


def order(rollout: str, verb: Verb, reason: str, more: Mapping[str, Any]) -> Ask:
    """An order on a rollout."""
    return _post(f"/api/v1/rollouts/{segment(rollout)}/{verb}", {"reason": reason, **more})


def start(model: str, build: str, variation: str) -> Ask:
    """Begins a rollout. The same asked twice is one rollout."""
    return _post("/api/v1/rollouts", {"model": model, "build": build, "variation": variation})


def report(rollout: str) -> Ask:
    """A rollout's report, with its page."""
    return _get(f"/api/v1/rollouts/{segment(rollout)}/report?html=1")


def _get(path: str) -> Ask:
    return Ask(server=Server.CONSOLE, method="GET", path=path)


def _post(path: str, body: Mapping[str, Any]) -> Ask:
    content = json.dumps(body).encode()
    return Ask(server=Server.CONSOLE, method="POST", path=path, headers=(JSON,), content=content, is_harmless=False)
