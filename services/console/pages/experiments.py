"""Experiments: all of them, and one with each variation beside the control."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from starlette.requests import Request

from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.report.readout import Readout, experiment_readout
from sluicegate.registry.rollout.experiment import experiments, find_experiment
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.units import format_share
from sluicegate.services.console.operations import Role
from sluicegate.services.console.pages.ordering import ordering
from sluicegate.services.console.pages.rendering import Endpoint, Found, template
from sluicegate.services.console.ports import Desk

PAGE = 20
"""Experiments on one page of the list."""
_ENDINGS = frozenset(ending.value for ending in Ending)


def listing(desk: Desk) -> Endpoint:
    """The list of experiments, of all models or of one."""

    def show(request: Request) -> Found:
        model, before = (request.query_params.get(name, "") for name in ("model", "before"))
        known = experiments(desk.ledger.rollouts())
        found = [group for group in known if model in ("", group[0].requested.model)]
        names = [group[0].requested.experiment for group in found]
        start = names.index(before) + 1 if before in names else 0
        shown = found[start : start + PAGE]
        return {
            "experiments": [experiment_readout(read_for_readout(desk.ledger, group)) for group in shown],
            "models": sorted({group[0].requested.model for group in known}),
            "model": model,
            "next_before": shown[-1][0].requested.experiment if start + PAGE < len(found) else None,
        }

    return template(desk, "experiments.html", show)


def page(desk: Desk) -> Endpoint:
    """The page of an experiment, by its id or by its model's name for the latest."""

    def show(request: Request) -> Found:
        comparisons = find_experiment(desk.ledger.rollouts(), request.path_params["id"])
        found = experiment_readout(read_for_readout(desk.ledger, comparisons))
        return {
            "found": found,
            "goal": goal(found),
            "ends_by": found.began_at + timedelta(seconds=found.lasts) if found.began_at else None,
            "may_end": request.state.caller.role >= Role.OPERATOR and not found.is_over,
            "effect": effect(found),
            "refused": request.query_params.get("refused"),
        }

    return template(desk, "experiment.html", show)


def order(desk: Desk) -> Endpoint:
    """Carry out an order from the form of an experiment, and show it again."""
    return ordering(desk, "/experiments", frozenset(), lambda told: f"/experiments/{quote(told['experiment'])}")


def goal(found: Readout) -> str:
    """What a variation must be shown to do."""
    how = "better than" if found.margin == 0 else f"no more than {format_share(found.margin)} worse than"
    return f"{found.metric} {how} {found.control}"


def effect(found: Readout) -> str:
    """What ending it now would do."""
    going_on = [each.variation for each in found.compared if each.state not in _ENDINGS]
    return (
        f"The comparison of {', '.join(going_on)} with {found.control} ends as it stands. Requests of audience "
        f"{found.audience} go where they went before the experiment. No build changes."
    )
