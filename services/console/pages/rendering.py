"""Rendering: one way from what a page shows to its HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import problem_document
from sluicegate.services.report.page import environment

Endpoint = Callable[[Request], Awaitable[Response]]
Context = dict[str, object]
DAYS = 30
"""How many days back a time is told by its distance."""

_REPORT = environment()
_ENVIRONMENT = Environment(
    loader=ChoiceLoader([FileSystemLoader(Path(__file__).parent.parent / "templates"), _REPORT.loader]),  # type: ignore[list-item]
    autoescape=True,
    trim_blocks=True,
)
_ENVIRONMENT.filters |= _REPORT.filters
_TEMPLATES = Jinja2Templates(env=_ENVIRONMENT)


def template(desk: Desk, name: str, context: Callable[[Request], Context]) -> Endpoint:
    """A page: `context` runs in a thread and gives what the template shows; its errors become a page too."""

    async def endpoint(request: Request) -> Response:
        try:
            shown = await run_in_threadpool(context, request)
        except SluiceError as error:
            status = problem_document(error)[0]
            return render(request, "error.html", {"error": error, "links": desk.links}, status=status)
        return render(request, name, {**shown, "links": desk.links, "now": desk.clock()})

    return endpoint


def render(request: Request, name: str, context: Context, *, status: int = 200) -> Response:
    """The template with who asks and the token of their forms."""
    who = getattr(request.state, "caller", None)
    common = {"caller": who, "form": request.session.get("form", ""), "path": request.url.path}
    return _TEMPLATES.TemplateResponse(request, name, common | context, status_code=status)


def moment(at: datetime) -> str:
    """A time as people read it; the element's `datetime` holds it whole."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(at: datetime, now: datetime) -> str:
    """How long before, or after, `now` something is: the largest unit alone; the date after a month."""
    seconds = (now - at).total_seconds()
    for unit, size in (("day", 86_400), ("h", 3_600), ("min", 60)):
        count = int(abs(seconds) // size)
        if count > DAYS and unit == "day":
            return f"{at.astimezone(UTC):%-d %b %Y}"
        if count:
            span = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
            return f"{span} ago" if seconds > 0 else f"in {span}"
    return "just now"


def per_cent(value: float | None) -> str:
    """A share in per cent, as it was given in per cent."""
    return "–" if value is None else f"{value:.3g} %"


def short(value: float) -> str:
    """A number with three digits, thousands apart, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_ENVIRONMENT.filters |= {"short": short, "ago": ago, "moment": moment, "per_cent": per_cent}
