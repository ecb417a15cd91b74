"""A model: its builds in MLflow, which of them serve, and its rollouts."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.report.readout import experiment_readout
from sluicegate.registry.rollout.experiment import experiments
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import NotFound, Unreachable
from sluicegate.services.console.acts.models import roles_of_builds
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.views import by_audience, line
from sluicegate.services.console.ports import Desk

STABLES = 10
"""The latest stable builds, which the page of a model lists."""
EXPERIMENTS = 5
"""The newest, which the page of a model shows."""


def page(desk: Desk) -> Endpoint:
    """The page of a model."""

    def context(request: Request) -> Context:
        model = request.path_params["model"]
        rollouts = desk.ledger.rollouts(model=model)
        standing = standings(rollouts)
        builds, away = _builds(desk, model)
        connections = connections_of(desk.ledger, model) or Connections(model=model)
        if not rollouts and not builds and away is None:
            raise NotFound(f"there is no model {model!r}.", fix="see the overview for those that are known")
        shown = experiments(rollouts)[:EXPERIMENTS]
        return {
            "model": model,
            "served": by_audience(desk.overview([model])),
            "stables": [each for each in reversed(rollouts) if each.took_over][:STABLES],
            "address": f"{desk.links.get('gateway', 'GATEWAY')}/{quote(model, safe='')}/predict",
            "gateway": desk.links.get("gateway", "GATEWAY"),
            "by_name": [each.variation for each in connections.terms if each.by_name],
            "unit": next((each.unit for each in standing if each.unit), None),
            "builds": builds,
            "away": away,
            "roles": roles_of_builds(standing),
            "experiments": [experiment_readout(read_for_readout(desk.ledger, group)) for group in shown],
            "rollouts": [line(desk, rollout) for rollout in list(reversed(rollouts))[:50]],
        }

    return template(desk, "model.html", context)


def _builds(desk: Desk, model: str) -> tuple[list[object], str | None]:
    """The builds, newest first, and why they cannot be told."""
    try:
        return list(reversed(desk.builds(model))), None
    except NotFound:
        return [], None
    except Unreachable as error:
        return [], str(error)
