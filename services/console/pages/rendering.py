"""Rendering: makes the HTML of all pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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

_REPORT = environment()
_ENVIRONMENT = Environment(
    loader=ChoiceLoader([FileSystemLoader(Path(__file__).parent.parent / "templates"), _REPORT.loader]),  # type: ignore[list-item]
    autoescape=True,
    trim_blocks=True,
)
_ENVIRONMENT.filters |= _REPORT.filters
_ENVIRONMENT.globals |= _REPORT.globals | {"glossary": "/glossary"}
_TEMPLATES = Jinja2Templates(env=_ENVIRONMENT)


_TITLES = {403: "Your role does not allow this", 404: "Not found", 503: "This page cannot be read now"}
"""Headings of error pages, by the response's status."""


def template(desk: Desk, name: str, context: Callable[[Request], Context]) -> Endpoint:
    """A page: `context` runs in a thread and returns the template's values; its errors become an error page."""

    async def endpoint(request: Request) -> Response:
        try:
            shown = await run_in_threadpool(context, request)
        except SluiceError as error:
            return refusal(request, error, desk.links)
        return render(request, name, {**shown, "links": desk.links, "now": desk.clock()})

    return endpoint


def refusal(request: Request, error: SluiceError, links: Mapping[str, str]) -> Response:
    """An error as a page that says what is wrong and what to do."""
    status = problem_document(error)[0]
    title = _TITLES.get(status, "That did not work")
    return render(request, "error.html", {"error": error, "links": links, "title": title}, status=status)


def render(request: Request, name: str, context: Context, *, status: int = 200) -> Response:
    """Renders a template with its context, the caller, and the token for the caller's forms."""
    who = getattr(request.state, "caller", None)
    common = {"caller": who, "form": request.session.get("form", ""), "path": request.url.path}
    return _TEMPLATES.TemplateResponse(request, name, common | context, status_code=status)
