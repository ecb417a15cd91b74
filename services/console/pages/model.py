"""A model: its builds in MLflow, which of them serve, and its rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.ledger.experiments import last_experiments
from sluicegate.registry.ledger.reading import Common, read_for_readout
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.report.history import tenures
from sluicegate.registry.report.readout import experiment_readout
from sluicegate.registry.rollout.facts import Undeployed
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.errors import NotFound, SluiceError, Unreachable
from sluicegate.services.console import counted
from sluicegate.services.console.acts.models import roles_of_builds
from sluicegate.services.console.pages.rendering import Context, Endpoint, refusal, template
from sluicegate.services.console.pages.views import by_audience, lines
from sluicegate.services.console.ports import Desk
from sluicegate.services.report.history_chart import history_chart
from sluicegate.services.report.page import drawn

STABLES = 10
"""Stable builds that are listed, the latest."""
TRAINED = 4
"""Serving builds whose training runs are read."""
METRICS = 8
"""Metrics of a training run that are shown."""
EXPERIMENTS = 5
"""Experiments that are listed, the newest."""
ROLLOUTS = 50
"""Rollouts that are listed, the newest."""
TAKEOVERS = 100
"""Stable builds that the timeline shows, the latest."""


def page(desk: Desk) -> Endpoint:
    """The page of a model."""

    def context(request: Request) -> Context:
        model = request.path_params["model"]
        rollouts = desk.ledger.rollouts(Selection(model=model, newest=ROLLOUTS))
        took_over = desk.ledger.rollouts(Selection(model=model, took_over=True, newest=TAKEOVERS))
        over = list({each.id: each for each in (*took_over, *rollouts)}.values())
        standing = standings(desk.ledger.current(model))
        builds, away = _builds(desk, model)
        connections = connections_of(desk.ledger, model) or Connections(model=model)
        roles = roles_of_builds(standing)
        if not rollouts and not builds and away is None:
            raise NotFound(
                f"there is no model {model!r}.",
                fix=f"register {model} in MLflow, or choose one of the models on the overview: `sluice status`",
            )
        served, unread = counted.overview(desk, [model])
        shown = last_experiments(desk.ledger, model=model, most=EXPERIMENTS)
        stables = tenures(over, _emptied_at(desk, over))
        return {
            "model": model,
            "served": by_audience(served),
            "unread": unread,
            "spent": {row.build: row.spent for row in served if row.spent},
            "history": drawn(partial(history_chart, stables, desk.clock()), "history"),
            "stables": sorted(stables, key=lambda each: each.since, reverse=True)[:STABLES],
            "address": f"{desk.links.get('gateway', 'GATEWAY')}/{quote(model, safe='')}/predict",
            "gateway": desk.links.get("gateway", "GATEWAY"),
            "by_name": [each.variation for each in connections.terms if each.by_name],
            "unit": next((each.unit for each in standing if each.unit), None),
            "builds": builds,
            "metrics": METRICS,
            "away": away,
            "roles": roles,
            "trained": _trained(desk, [build for build in builds if build.ref.version in roles]),
            "experiments": [experiment_readout(read_for_readout(desk.ledger, group)) for group in shown],
            "rollouts": lines(desk, rollouts[::-1], Common(desk.ledger)),
        }

    return template(desk, "model.html", context)


def training_run(desk: Desk) -> Endpoint:
    """Redirects to the MLflow run that made a build. MLflow is queried only when somebody follows the link."""

    async def endpoint(request: Request) -> Response:
        model, version = request.path_params["model"], request.path_params["version"]
        try:
            builds = await run_in_threadpool(desk.catalog.builds, model)
            url = run_url(desk.links, model, version, builds)
        except SluiceError as error:
            return refusal(request, error, desk.links)
        return RedirectResponse(url, status_code=303)

    return endpoint


def run_url(links: Mapping[str, str], model: str, version: str, builds: Sequence[Build]) -> str:
    """The URL of a build's training run. Raises NotFound if there is none."""
    run = next((build.run for build in builds if build.ref.version == version), None)
    if run is None:
        raise NotFound(
            f"MLflow knows no training run of {model} v{version}.",
            fix="register models from a run, such as with mlflow.sklearn.log_model(..., registered_model_name=...)",
        )
    if "mlflow" not in links:
        raise NotFound("the address of MLflow's pages is not known.", fix="set MLFLOW_TRACKING_URI for the console")
    return f"{links['mlflow']}/#/runs/{quote(run, safe='')}"


def _emptied_at(desk: Desk, rollouts: Sequence[Rollout]) -> dict[str, datetime]:
    """When each undeployed variation was emptied, by the id of the rollout whose build it had."""
    return {
        rollout.id: entry.at
        for rollout in rollouts
        if rollout.undeployed
        for entry in desk.ledger.entries(rollout.id)
        if isinstance(entry.fact, Undeployed)
    }


def _trained(desk: Desk, builds: Sequence[Build]) -> dict[str, Mapping[str, float]]:
    """The metrics of these builds' training runs, by version; runs that cannot be read now are left out."""
    measured: dict[str, Mapping[str, float]] = {}
    for build in builds[:TRAINED]:
        with suppress(NotFound, Unreachable):
            values = desk.catalog.run_metrics(build.run) if build.run else {}
            measured[build.ref.version] = {name: value for name, value in values.items() if math.isfinite(value)}
    return measured


def _builds(desk: Desk, model: str) -> tuple[list[Build], str | None]:
    """The builds, newest first, and the reason if MLflow does not answer."""
    try:
        return list(reversed(desk.catalog.builds(model))), None
    except NotFound:
        return [], None
    except Unreachable as error:
        return [], str(error)
