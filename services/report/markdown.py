"""A report as Markdown, for places that show no HTML: MLflow's run description, Prefect's artifacts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sluicegate.registry.report.door import door
from sluicegate.registry.report.report import GateReport, Report
from sluicegate.registry.report.view import GateView
from sluicegate.registry.words.figures import Unit, difference, interval, lasting, measured, number, per_cent, share
from sluicegate.services.report.words import headline, state


def markdown(report: Report, links: Sequence[tuple[str, str]] = ()) -> str:
    """A summary of the report: result, steps and evidence; `links` are pairs of name and URL."""
    return "\n".join(
        (
            *_head(report, links),
            *_steps(report),
            *_offline(report),
            *_gates(report.gates),
            *_external(report),
            *_exposures(report),
        )
    )


def _head(report: Report, links: Sequence[tuple[str, str]]) -> Iterator[str]:
    rollout = report.rollout
    arrow = f"v{rollout.stable} → " if rollout.stable else ""
    yield f"# {_cell(rollout.model)} {arrow}v{rollout.candidate}: {state(rollout)}\n"
    yield f"{_cell(headline(report))}\n"
    if report.unread:
        yield f"**Requests, errors, latency and outcomes are missing:** {_cell(report.unread)}\n"
    yield f"`{rollout.id}`, requested by {_cell(report.timeline[0].actor)} {_cell(door(rollout.cause))}\n"
    if links:
        yield " · ".join(f"[{name}]({url})" for name, url in links) + "\n"


def _steps(report: Report) -> Iterator[str]:
    if not report.steps:
        return
    yield "## Steps\n\n| step | weight | planned | done | time |\n|---:|---:|---|---|---:|"
    for step in report.steps:
        asks, why = ", ".join(step.asks) or "at once", f": {step.why}" if step.why else ""
        time = "–" if step.seconds is None else lasting(step.seconds)
        yield f"| {step.number} | {per_cent(step.weight)} | {_cell(asks)} | **{step.state}**{_cell(why)} | {time} |"
    yield ""


def _offline(report: Report) -> Iterator[str]:
    if not report.rollout.offline:
        return
    yield "## Before the first request\n\n| offline gate | verdict | why |\n|---|---|---|"
    for each in report.rollout.offline:
        yield f"| {_cell(each.gate)} | **{each.verdict}** | {_cell(each.reason)} |"
    yield ""


def _external(report: Report) -> Iterator[str]:
    if not report.rollout.external:
        return
    yield "## Measured by others\n\n| external gate | verdict | limit | why |\n|---|---|---|---|"
    for each in report.rollout.external:
        kind = " (watches)" if each.then == "nothing" else " (guardrail)" if each.guardrail else ""
        yield f"| {_cell(each.gate)}{kind} | **{each.verdict}** | {each.limit} | {_cell(each.reason)} |"
    yield ""


def _gates(gates: Sequence[GateReport]) -> Iterator[str]:
    if not gates:
        return
    yield "## Evidence\n\n| metric | verdict | stable | candidate | difference | interval | margin | decided | why |"
    yield "|---|---|---:|---:|---:|---|---:|---|---|"
    for gate in gates:
        view = gate.view
        margin = ", ".join(_conditions(view)) or "–"
        decided = f"look {gate.decided.k}" if gate.decided else "–"
        unit = Unit(view.unit)
        kind = " (watches)" if view.then == "nothing" else " (guardrail)" if view.guardrail else ""
        means = f"{measured(view.stable, unit)} | {measured(view.candidate, unit)}"
        apart = f"{difference(view.estimate, unit)} | {interval(view.low, view.high, unit)}"
        head = f"| {_cell(view.metric)}{kind} | **{view.verdict}** | {means} | {apart}"
        yield f"{head} | {margin} | {decided} | {_cell(view.reason)} |"
    yield ""
    for view in (gate.view for gate in gates if gate.view.slices):
        yield f"Where {_cell(view.metric)} look worst:\n"
        yield from (f"- {_cell(str(each))}" for each in view.slices)
        yield ""


def _conditions(view: GateView) -> Iterator[str]:
    """The margin and limit that a gate has to meet."""
    if view.margin is not None:
        yield share(view.margin)
    if view.below is not None:
        yield f"below {share(view.below)}"


def _exposures(report: Report) -> Iterator[str]:
    if not report.exposures:
        return
    ratio = report.sample_ratio
    p_value = "" if ratio.p_value is None else f" (p = {number(ratio.p_value)})"
    reason = f": {ratio.reason}" if ratio.reason else ""
    yield f"## Exposures\n\nSample ratio: **{ratio.answer}**{p_value}{_cell(reason)}\n"
    yield "| desired weight | observed | stable | errors | candidate | errors |\n|---:|---:|---:|---:|---:|---:|"
    for row in report.exposures:
        stable, candidate = (f"{arm.requests:,} | {arm.errors:,}" for arm in (row.stable, row.candidate))
        yield f"| {per_cent(row.weight)} | {per_cent(row.observed_weight)} | {stable} | {candidate} |"
    yield ""
    for each in report.errors:
        yield f"Errors of {each.arm}: {_cell(str(each))}.\n"


def _cell(text: str) -> str:
    """Text escaped so that it can neither end a table cell nor act as markup."""
    plain = text.replace("\n", " ").replace("|", "\\|").replace("`", "'")
    return plain.replace("<", "&lt;").replace("[", "\\[").replace("](", "] (")
