"""A report as one self-contained HTML page with inline styles and charts and without scripts. Pure."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from ruamel.yaml import YAML

from sluicegate.registry.report.door import door
from sluicegate.registry.report.report import CAUSES, Report
from sluicegate.registry.report.shadow_view import ShadowView
from sluicegate.registry.words import figures, glossary
from sluicegate.services.report.external_chart import external_chart
from sluicegate.services.report.latency_chart import latency_chart
from sluicegate.services.report.sequence_chart import sequence_chart
from sluicegate.services.report.shadow_charts import agreement_chart, difference_chart
from sluicegate.services.report.states import shown
from sluicegate.services.report.svg import fitting
from sluicegate.services.report.weight_chart import weight_chart
from sluicegate.services.report.words import headline, state

_TEMPLATES = Path(__file__).parent / "templates"


def page(report: Report) -> str:
    """The page. The same report always gives the same bytes."""
    style = Markup(styles())  # noqa: S704
    return (
        environment().get_template("report.html").render(report_context(report), style=style, style_hash=style_hash())
    )


def report_context(report: Report) -> dict[str, object]:
    """The values of a report for the page's templates, and for its parts on other pages."""
    rollout = report.rollout
    requests = [(row.stable.requests, row.candidate.requests) for row in report.exposures if 0 < row.weight < 100]
    return {
        "report": report,
        "unread": report.unread,
        "r": rollout,
        "state": state(rollout),
        "headline": headline(report),
        "steps": report.steps,
        "gates": [(gate, drawn(partial(sequence_chart, gate), f"s{i}")) for i, gate in enumerate(report.gates)],
        "external": [(gate, drawn(partial(external_chart, gate), f"e{i}")) for i, gate in enumerate(rollout.external)],
        "weight_chart": drawn(partial(weight_chart, report), "w"),
        "exposures": report.exposures,
        "errors": report.errors,
        "compared": sum(stable + candidate for stable, candidate in requests),
        "candidate_requests": sum(candidate for _, candidate in requests),
        "ratio": report.sample_ratio,
        "coverage": report.coverage,
        "latency": report.latency,
        "latency_chart": drawn(partial(latency_chart, report.latency), "l"),
        "timeline": report.timeline,
        **shadow_context(report.shadow),
        "plan": yaml_text(report.plan),
        "causes": CAUSES,
    }


def drawn(draw: Callable[[str, int], str], name: str) -> Markup:
    """A chart as markup, drawn in each width."""
    return Markup(fitting(draw, name))  # noqa: S704


def shadow_page(shadow: ShadowView) -> str:
    """The page of a comparison that belongs to no rollout."""
    template = environment().get_template("shadow.html")
    return template.render(shadow_context(shadow), style=Markup(styles()), style_hash=style_hash())  # noqa: S704


def shadow_context(shadow: ShadowView | None) -> dict[str, object]:
    """The values that only a shadow's report shows."""
    if shadow is None:
        return {"shadow": None}
    charts = [(column, drawn(partial(difference_chart, column), f"d{i}")) for i, column in enumerate(shadow.columns)]
    timed = [(each.metric, each.over_time) for each in shadow.judged] or [("", shadow.over_time)]
    agreement = [
        (f"Share of pairs that differ over time{f' by {metric}' if metric else ''}.", chart)
        for i, (metric, rows) in enumerate(timed)
        if (chart := drawn(partial(agreement_chart, rows), f"a{i}"))
    ]
    return {"shadow": shadow, "shadow_columns": charts, "agreement_charts": agreement}


def picture(chart: str) -> str:
    """A chart as an SVG file of its own, with its styles inside."""
    its_styles = f"{_css('colours.css')}{_css('chart.css')}svg {{ background: var(--paper); }}"
    return chart.replace("\n", f"\n<style>{its_styles}</style>\n", 1)


@cache
def styles() -> str:
    """The page's styles."""
    return "\n".join(_css(name) for name in ("colours.css", "page.css", "parts.css", "chart.css", "layout.css"))


@cache
def part_styles() -> str:
    """The styles of the page's parts, for pages that show some of them."""
    return "\n".join(_css(name) for name in ("colours.css", "parts.css", "chart.css"))


def style_hash() -> str:
    """The source for a content security policy that allows exactly these styles."""
    return "sha256-" + base64.b64encode(hashlib.sha256(styles().encode()).digest()).decode()


@cache
def _css(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Templates and filters of the page and its parts."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True)
    environment.filters |= {
        form.__name__: form
        for form in (
            figures.ago, figures.clock, figures.count, figures.day, figures.difference, figures.interval,
            figures.lasting, figures.measured, figures.moment, figures.number, figures.per_cent, figures.share,
            figures.shares, figures.signed, glossary.anchor, door,
        )
    }  # fmt: skip
    environment.globals["shown"] = shown
    environment.globals["meaning"] = glossary.meanings().__getitem__
    return environment


def yaml_text(plan: dict[str, object]) -> str:
    """The plan as YAML."""
    text, writer = io.StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 100
    writer.dump(plan, text)
    return text.getvalue()
