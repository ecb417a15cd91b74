"""Forms that approve or reject a proposal."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from sluicegate.services.console.pages.ordering import carried_out
from sluicegate.services.console.pages.rendering import Endpoint
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.recording import Recorder


def decide(desk: Desk) -> Endpoint:
    """Approve or reject a proposal, from a form."""
    recorder = Recorder(desk.calls, desk.clock)

    async def endpoint(http: Request) -> Response:
        form = await http.form(max_fields=5)
        name, act = (quote(http.path_params[each], safe="") for each in ("id", "act"))
        body: dict[str, object] = {"reason": str(form.get("reason") or "")}
        return await carried_out(
            desk, recorder, http, f"/api/v1/proposals/{name}/{act}", body, if_match=None,
            key=str(form.get("key") or "") or None, back="/", done=lambda _: "/",
        )  # fmt: skip

    return endpoint
