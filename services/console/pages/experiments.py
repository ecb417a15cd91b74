"""Experiments: the list, and the page of one with each variation compared with the control."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from starlette.requests import Request

from sluicegate.registry.ledger.experiments import find_experiment, last_experiments
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.orders.progress import stable
from sluicegate.registry.report.readout import Readout, arrivals, experiment_readout
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.units import format_share
from sluicegate.services.console import counted
from sluicegate.services.console.attention import Decision, decisions
from sluicegate.services.console.if_match import rollout_tag
from sluicegate.services.console.pages.effects import Offer, offers
from sluicegate.services.console.pages.ordering import admitted, ordering
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Caller
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
            "acts": [
                {"offer": offer, "action": action, "tag": tag}
                for offer, action, tag in _acts(desk, readout, comparisons, request.state.caller)
            ],
            "key": secrets.token_urlsafe(12),
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


def decisions_with_offers(desk: Desk, caller: Caller) -> list[dict[str, object]]:
    """The experiments that a person should decide about, newest first, each with what the caller may do."""
    return [
        {"readout": each.readout, "best": each.best, "offers": _deciding(desk, each, caller)}
        for each in decisions(desk)
    ]


def _deciding(desk: Desk, decision: Decision, caller: Caller) -> list[Offer]:
    """To release the best variation, or to end the experiment."""
    every = _acts(desk, decision.readout, decision.comparisons, caller)
    return [offer for offer, _, _ in every if offer.is_primary or offer.order == "end"]


def _acts(
    desk: Desk, readout: Readout, comparisons: Sequence[Rollout], caller: Caller
) -> Iterator[tuple[Offer, str, str]]:
    """What the caller may do: release a variation, the winner first, or end the experiment without a change. Each with
    the path of its form and the entity tag of what was seen.

    A variation is released by the order `promote` on its comparison, while the control has the build that it had.
    """
    if stable(desk.ledger, readout.model, readout.control) == readout.control_build:
        for each in sorted(comparisons, key=lambda each: each.requested.variation != readout.winner):
            may_release = [order for order in admitted(each, caller) if order == "promote"]
            for offer in offers(each, may_release, needs_person=False):
                variation = each.requested.variation
                released = replace(offer, is_primary=variation == readout.winner, place=f"release-{variation}")
                yield released, f"/rollouts/{quote(each.id)}/promote", rollout_tag(each.id, each.seq)
    if caller.role >= Role.OPERATOR and not readout.is_over:
        yield _end(readout), f"/experiments/{quote(readout.experiment)}/end", ""


def _end(readout: Readout) -> Offer:
    running = [compared.variation for compared in readout.compared if compared.state not in _ENDINGS]
    effect = (
        f"The comparison of {', '.join(running)} with {readout.control} ends as it stands. Requests of audience "
        f"{readout.audience} go where they went before the experiment. No build changes; a variation can be released "
        "afterwards, too."
    )
    hint = f"{readout.control} keeps v{readout.control_build}"
    return Offer(order="end", name="End without a change", hint=hint, effect=effect, is_primary=False)
