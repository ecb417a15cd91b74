"""Translates Qwak's deployment files into audiences and into the body of a deploy request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluicegate.flows.cli.output import remark
from sluicegate.flows.cli.reach import call
from sluicegate.registry.audience.qwak_deployment import QwakDeployment
from sluicegate.registry.audience.short_form import audience_written


def apply_audiences(file: QwakDeployment, where: Path | None) -> None:
    """Apply the audiences that the file defines by conditions, and name its keys that have no effect."""
    for each in file.audiences:
        if each.has_conditions:
            body = {"values": audience_written(each.audience), "where": str(where)}
            changed = call("POST", "/api/v1/documents", body)["changed"]
            remark(f"audience {each.audience.name}: {'applied' if changed else 'unchanged'}")
    if file.aside:
        keys = ", ".join(file.aside)
        remark(f"{where}: {keys} have no effect; a plan says how its builds are served")


def routing(file: QwakDeployment, *, is_fallback: bool) -> dict[str, Any]:
    """The file's routes, in the form that a deploy request uses."""
    routed = [
        {
            "audience": each.audience.name,
            "weights": {route.variation: route.weight for route in each.routes if not route.shadow},
            "samples": {route.variation: float(route.weight) for route in each.routes if route.shadow},
        }
        for each in file.audiences
    ]
    return {"routed": routed, "fallback_variation": None if is_fallback else file.fallback}
