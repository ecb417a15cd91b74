"""The pages: what is happening, why, and what can be done. Rendered here, no build step, nothing from outside."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from registry import orders
from registry.errors import SluiceError
from registry.facts import to_payload
from registry.rollout import Phase, Rollout
from registry.standing import standings
from registry.view import rollout_view
from services.console.access import is_login, open_session
from services.console.api import LARGEST_BODY
from services.console.ports import Desk

_TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
_ACTS = {
    "pause": "Hold the weight where it is; guardrails go on.",
    "resume": "Let the plan go on.",
    "approve": "Let the rollout leave this step once its gates have passed.",
    "promote": "Give the candidate all traffic now. Recorded as your override.",
    "abort": "Take all traffic back to stable and end the rollout.",
    "retry": "Try this version once more, by the plan that is applied now.",
}


def page_routes(desk: Desk) -> list[Route]:
    """The pages' routes."""
    pages = Pages(desk)
    return [
        Route("/", pages.home, methods=["GET"]),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/rollouts/{id}", pages.rollout, methods=["GET"]),
        Route("/rollouts/{id}/{act}", pages.act, methods=["POST"]),
    ]


class Pages:
    """Handlers of the pages."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def home(self, request: Request) -> Response:
        rollouts = await run_in_threadpool(self._desk.ledger.rollouts)
        views = await run_in_threadpool(lambda: [self._view(rollout) for rollout in reversed(rollouts)])
        found = {"standings": standings(rollouts), "rollouts": views, "links": self._desk.links}
        return _TEMPLATES.TemplateResponse(request, "home.html", found)

    async def rollout(self, request: Request) -> Response:
        return await self._page(request, request.path_params["id"], refused=request.query_params.get("refused"))

    async def _page(self, request: Request, name: str, refused: str | None) -> Response:
        try:
            rollout = await run_in_threadpool(orders.find, self._desk.ledger, name)
        except SluiceError as error:
            found: dict[str, object] = {"title": "Not found", "error": error}
            return _TEMPLATES.TemplateResponse(request, "error.html", found, status_code=404)
        view = await run_in_threadpool(self._view, rollout)
        entries = await run_in_threadpool(self._desk.ledger.entries, rollout.id)
        found = {
            "view": view,
            "plan": rollout.plan,
            "entries": [(e, type(e.fact).__name__, to_payload(e.fact)) for e in reversed(entries)],
            "acts": {act: _ACTS[act] for act in possible(rollout)},
            "form": request.session.get("form", ""),
            "refused": refused,
        }
        return _TEMPLATES.TemplateResponse(request, "rollout.html", found)

    async def act(self, request: Request) -> Response:
        """Carry out an order from a form. The session and its form token were checked before."""
        name, act = request.path_params["id"], request.path_params["act"]
        order = {
            "pause": orders.pause, "resume": orders.resume, "approve": orders.approve,
            "promote": orders.promote, "abort": orders.abort, "retry": orders.retry,
        }.get(act)  # fmt: skip
        if order is None:
            return Response("no such order", status_code=404)
        reason = str((await request.form(max_fields=4)).get("reason") or "no reason given")
        desk = self._desk
        try:
            after = await run_in_threadpool(
                lambda: order(desk.ledger, name, actor=str(request.state.actor), reason=reason, now=desk.clock())
            )
        except SluiceError as error:
            return RedirectResponse(f"/rollouts/{name}?{urlencode({'refused': str(error)})}", status_code=303)
        return RedirectResponse(f"/rollouts/{after.id}", status_code=303)

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return _TEMPLATES.TemplateResponse(request, "login.html", {"wrong": False})
        if int(request.headers.get("content-length") or LARGEST_BODY) >= LARGEST_BODY:
            return Response("too large", status_code=413)
        form = await request.form(max_fields=4)
        if not is_login(str(form.get("token") or ""), self._desk.admin_token):
            return _TEMPLATES.TemplateResponse(request, "login.html", {"wrong": True}, status_code=401)
        open_session(request, str(form.get("name") or "console"))
        return RedirectResponse("/", status_code=303)

    def _view(self, rollout: Rollout) -> object:
        desk = self._desk
        return rollout_view(desk.ledger, rollout, desk.clock(), requests=desk.requests(rollout))


def possible(rollout: Rollout) -> tuple[str, ...]:
    """The orders that this rollout's phase admits."""
    match rollout.phase:
        case Phase.QUEUED:
            return ("abort",)
        case Phase.LAUNCHING:
            return ("pause", "promote", "abort") if rollout.ready else ("pause", "abort")
        case Phase.RUNNING:
            return ("pause", "approve", "promote", "abort")
        case Phase.PAUSED:
            return ("resume", "approve", "promote", "abort") if rollout.step >= 0 else ("resume", "abort")
        case Phase.BAKING:
            return ("abort",)
        case Phase.ENDED:
            return () if rollout.took_over else ("retry",)
