"""Comparing: two rollouts side by side, with the differences of their plans, their verdicts and their endings."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from sluicegate.registry.documents.diff import changes
from sluicegate.registry.orders.naming import find
from sluicegate.registry.report.report import Report
from sluicegate.registry.report.view import GateView
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.figures import lasting, per_cent
from sluicegate.services.console import counted
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk

TWO = 2


def page(desk: Desk) -> Endpoint:
    """The page of two rollouts."""

    def context(request: Request) -> Context:
        names = request.query_params.getlist("id")
        if len(set(names)) != TWO:
            raise UsageError(
                f"exactly two rollouts can be compared, not {len(set(names))}.",
                fix="tick two of them on the page of rollouts",
            )
        reports = [counted.report(desk, find(desk.ledger, name)) for name in names]
        first, second = reports
        return {
            "reports": reports,
            "unread": next((each.unread for each in reports if each.unread), None),
            "changes": list(changes(first.plan, second.plan)),
            "gates": _gates(reports),
            "steps": _steps(reports),
        }

    return template(desk, "comparing.html", context)


def _gates(reports: Sequence[Report]) -> list[tuple[str, list[GateView | None]]]:
    """Every metric that either rollout judges, with both verdicts."""
    by_metric = [{gate.view.metric: gate.view for gate in report.gates} for report in reports]
    metrics = dict.fromkeys(metric for gates in by_metric for metric in gates)
    return [(metric, [gates.get(metric) for gates in by_metric]) for metric in metrics]


def _steps(reports: Sequence[Report]) -> list[list[str]]:
    """What became of each step of the longer plan, in both rollouts."""
    most = max(len(report.steps) for report in reports)
    return [[_step(report, number) for report in reports] for number in range(most)]


def _step(report: Report, number: int) -> str:
    if number >= len(report.steps):
        return ""
    step = report.steps[number]
    lasted = "" if step.seconds is None else f", {lasting(step.seconds)}"
    return f"{per_cent(step.weight)}: {step.state}{lasted}"
