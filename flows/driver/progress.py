"""What a driver shows in the Prefect UI: tables and pictures of verdicts, a progress bar, the report at the end."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from sluicegate.registry.report.report import Report
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words import figures
from sluicegate.registry.words.units import FULL, format_weight
from sluicegate.registry.words.verdict import Verdict
from sluicegate.services.report.markdown import markdown
from sluicegate.services.report.page import picture
from sluicegate.services.report.sequence_chart import sequence_chart
from sluicegate.services.report.weight_chart import weight_chart

if TYPE_CHECKING:
    from sluicegate.flows.stages.tick import Tick

_shown: dict[str, str] = {}
_bars: dict[str, UUID] = {}


def show_verdicts(outcome: Tick, share: float | None, make_report: Callable[[], Report]) -> None:
    """Publish the table of verdicts, the charts of the evidence and the progress bar, each only if it has changed."""
    rollout, key = outcome.rollout, _key(outcome.rollout.id)
    rows = [_row(verdict) for verdict in outcome.verdicts]
    if _is_news(f"gate-{key}", [(row["metric"], row["verdict"], row["looks"]) for row in rows]) and rows:
        _show_table(rollout, rows, share)
    answers = [(v.metric, v.answer.value, v.step) for v in outcome.verdicts]
    if _is_news(f"evidence-{key}", answers) and any(verdict.k for verdict in outcome.verdicts):
        show_report(make_report(), key="evidence", about=f"evidence of {rollout.id} when an answer changed")
    _show_bar(rollout)


def show_ending(report: Report, changes: tuple[str, ...], links: Mapping[str, str]) -> None:
    """Publish the final report, with what was written to MLflow."""
    listed = "\n".join(f"- {change}" for change in changes)
    about = f"how {report.rollout.id} ended"
    show_report(report, key="report", about=about, links=links, more=f"\n## Written to MLflow\n\n{listed}\n")


def show_report(
    report: Report, *, key: str, about: str, links: Mapping[str, str] | None = None, more: str = ""
) -> None:
    """Publish the short report with its charts."""
    from prefect.artifacts import create_markdown_artifact

    charts = [("weight over time", weight_chart(report, "w"))]
    charts += [(gate.view.metric, sequence_chart(gate, f"s{i}")) for i, gate in enumerate(report.gates)]
    drawn = "\n\n".join(f"![{name}]({_data(chart)})" for name, chart in charts if chart)
    text = f"{markdown(report, tuple((links or {}).items()))}\n{drawn}\n{more}"
    create_markdown_artifact(key=f"{key}-{_key(report.rollout.id)}", markdown=text, description=about)


def _show_table(rollout: Rollout, rows: list[dict[str, object]], share: float | None) -> None:
    from prefect.artifacts import create_table_artifact

    desired = f"{format_weight(rollout.weight)} % desired"
    observed = "not observed yet" if share is None else f"{figures.share(share)} observed"
    about = f"**{rollout.id}**, {desired}, {observed}"
    create_table_artifact(key=f"gate-{_key(rollout.id)}", table=rows, description=about)


def _show_bar(rollout: Rollout) -> None:
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    key = _key(rollout.id)
    done = 100.0 * max(rollout.step, 0) / max(len(rollout.plan.steps), 1) if rollout.weight < FULL else 100.0
    if not _is_news(f"bar-{key}", done):
        return
    if key in _bars:
        update_progress_artifact(artifact_id=_bars[key], progress=done)
        return
    created = create_progress_artifact(progress=done, key=f"ramp-{key}", description=f"steps of {rollout.id}")
    _bars[key] = created if isinstance(created, UUID) else UUID(str(created))


def _is_news(key: str, value: object) -> bool:
    """Whether the value differs from the one last shown under the key. Remembers it as shown."""
    text = repr(value)
    if _shown.get(key) == text:
        return False
    _shown[key] = text
    return True


def _data(chart: str) -> str:
    """The chart as a data URL, since Prefect shows no other pictures in an artifact."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture(chart).encode()).decode()


def _row(verdict: Verdict) -> dict[str, object]:
    return {
        "metric": verdict.metric,
        "verdict": verdict.answer.label,
        "kind": "guardrail" if verdict.guardrail else "gate",
        "looks": verdict.k,
        "evidence": verdict.reason,
    }


def _key(rollout: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", rollout.lower()).strip("-")
