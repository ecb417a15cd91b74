"""Deployment files of Qwak's: what of them goes where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluicegate.flows.cli.output import remark
from sluicegate.flows.cli.reach import call
from sluicegate.registry.audience.qwak_deployment import QwakDeployment
from sluicegate.registry.audience.short_form import audience_written


def apply_audiences(file: QwakDeployment, where: Path | None) -> None:
    """Apply the audiences of which the file says who belongs to them, and say what of it changes nothing."""
    for each in file.audiences:
        if each.has_conditions:
            body = {"values": audience_written(each.audience), "where": str(where)}
            changed = call("POST", "/api/v1/documents", body)["changed"]
            remark(f"audience {each.audience.name}: {'applied' if changed else 'unchanged'}")
    if file.aside:
        keys = ", ".join(file.aside)
        remark(f"{where}: {keys} have no effect; a plan says how its builds are served")


def routing(file: QwakDeployment, *, is_fallback: bool) -> dict[str, Any]:
    """Who is sent where, as the order of a deployment says it."""
    routed = [
        {
            "audience": each.audience.name,
            "weights": {route.variation: route.weight for route in each.routes if not route.shadow},
            "samples": {route.variation: float(route.weight) for route in each.routes if route.shadow},
        }
        for each in file.audiences
    ]
    return {"routed": routed, "fallback_variation": None if is_fallback else file.fallback}
