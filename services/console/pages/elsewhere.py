"""Links to a rollout in other programs: its version and training run in MLflow, its run in Prefect."""

from __future__ import annotations

from urllib.parse import quote

from sluicegate.registry.ledger.attempt import last_attempt
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console.ports import Desk


def elsewhere(desk: Desk, rollout: Rollout) -> dict[str, str]:
    """URLs by their label."""
    candidate, places = rollout.requested, {}
    if "mlflow" in desk.links:
        model = quote(candidate.model, safe="")
        places["MLflow version"] = f"{desk.links['mlflow']}/#/models/{model}/versions/{candidate.version}"
        places["Training run"] = f"/models/{model}/builds/{quote(candidate.version, safe='')}/run"
    last = last_attempt(desk.ledger, rollout.id)
    if "prefect" in desk.links and last is not None:
        places["Prefect run"] = f"{desk.links['prefect']}/runs/flow-run/{last.run}"
    return places
