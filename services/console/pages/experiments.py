"""Experiments: the list, and the page of one with each variation compared with the control."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from starlette.requests import Request

from sluicegate.registry.ledger.experiments import find_experiment, last_experiments
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.report.readout import Readout, arrivals, experiment_readout
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.units import format_share
from sluicegate.services.console import counted
from sluicegate.services.console.pages.ordering import ordering
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.report.exposures_chart import exposures_chart
from sluicegate.services.report.forest_chart import forest_chart
from sluicegate.services.report.page import drawn

PAGE = 20
"""Experiments on one page of the list."""
_ENDINGS = frozenset(ending.value for ending in Ending)


def listing(desk: Desk) -> Endpoint:
    """The list of experiments, of all models or of one."""

    def context(request: Request) -> Context:
        model, before = (request.query_params.get(name, "") for name in ("model", "before"))
        groups = last_experiments(desk.ledger, model=model or None, before=before or None, most=PAGE + 1)
        shown = groups[:PAGE]
        return {
            "experiments": [experiment_readout(read_for_readout(desk.ledger, group)) for group in shown],
            "models": desk.ledger.compared_models(),
            "model": model,
            "next_before": shown[-1][0].requested.experiment if len(groups) > PAGE else None,
        }

    return template(desk, "experiments.html", context)


def page(desk: Desk) -> Endpoint:
    """The page of an experiment, by its id, or by a model's name for that model's latest."""

    def context(request: Request) -> Context:
        comparisons = find_experiment(desk.ledger, request.path_params["id"])
        readout = experiment_readout(read_for_readout(desk.ledger, comparisons))
        evidence = {each.id: counted.evidence(desk, each) for each in comparisons}
        looks = {each.id: desk.ledger.looks(each.id, readout.metric) for each in comparisons}
        return {
            "readout": readout,
            "ratios": {name: each.sample_ratio for name, each in evidence.items()},
            "unread": next((each.unread for each in evidence.values() if each.unread), None),
            "progress": progress(readout, desk.clock()),
            "exposures": drawn(partial(exposures_chart, arrivals(readout, looks)), "arrivals"),
            "goal": goal(readout),
            "forest": drawn(partial(forest_chart, readout), "forest"),
            "ends_by": readout.began_at + timedelta(seconds=readout.lasts) if readout.began_at else None,
            "may_end": request.state.caller.role >= Role.OPERATOR and not readout.is_over,
            "effect": effect(readout),
            "refused": request.query_params.get("refused"),
        }

    return template(desk, "experiment.html", context)


def order(desk: Desk) -> Endpoint:
    """Carry out an order from the form of an experiment, then show the experiment again."""
    return ordering(desk, "/experiments", frozenset(), lambda readout: f"/experiments/{quote(readout['experiment'])}")


def progress(readout: Readout, now: datetime) -> float | None:
    """The elapsed share of its duration, in per cent; None before it begins and once it has ended."""
    if readout.began_at is None or readout.is_over:
        return None
    return min(100 * (now - readout.began_at).total_seconds() / readout.lasts, 100.0)


def goal(readout: Readout) -> str:
    """The condition that a variation has to be shown to meet."""
    how = "better than" if readout.margin == 0 else f"no more than {format_share(readout.margin)} worse than"
    return f"{readout.metric} {how} {readout.control}"


def effect(readout: Readout) -> str:
    """What ending the experiment now would do."""
    running = [compared.variation for compared in readout.compared if compared.state not in _ENDINGS]
    return (
        f"The comparison of {', '.join(running)} with {readout.control} ends as it stands. Requests of audience "
        f"{readout.audience} go where they went before the experiment. No build changes."
    )
