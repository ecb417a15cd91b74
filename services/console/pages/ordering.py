"""Ordering: an order given by a page's form is the API's act, and leads back to a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from starlette import requests
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.operations import Request
from sluicegate.services.console.pages.rendering import Endpoint
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.recording import Recorder, allow
from sluicegate.services.console.tokens import Caller

BACK = "back to "
"""Before the number of a step that lies behind the present one."""


def ordering(desk: Desk, pages: str, judged: frozenset[str], done: Callable[[dict[str, Any]], str]) -> Endpoint:
    """Carry out an order from a form under `pages`/{id}/{act}. The session and its form token were checked before.

    Orders in `judged` are given on the evidence that was shown: they hold only while it is as the page showed it.
    What the API answers leads on to the path that `done` names; a refusal leads back, and is told there.
    """
    recorder = Recorder(desk.calls, desk.clock)

    async def endpoint(http: requests.Request) -> Response:
        name, act = http.path_params["id"], http.path_params["act"]
        form = await http.form(max_fields=5)
        body: dict[str, object] = {"reason": str(form.get("reason") or "no reason given")}
        if "step" in form:
            step = str(form["step"])
            body["step"] = _number(step.removeprefix(BACK))
            body |= {"back": True} if step.startswith(BACK) else {}
        path, back = f"/api/v1{pages}/{quote(name)}/{quote(act)}", f"{pages}/{quote(name)}"
        if_match = (str(form.get("tag") or "") or None) if act in judged else None
        key = str(form.get("key") or "") or None
        return await carried_out(desk, recorder, http, path, body, if_match=if_match, key=key, back=back, done=done)

    return endpoint


async def carried_out(
    desk: Desk, recorder: Recorder, http: requests.Request, path: str, body: dict[str, object], *,
    if_match: str | None, key: str | None, back: str, done: Callable[[dict[str, Any]], str],
) -> Response:  # fmt: skip
    """Carry out the API's act at a path for who is signed in, and lead on; back to where a refusal is told."""
    caller: Caller = http.state.caller
    try:
        operation, names = find(desk, "POST", path)
        allow(caller, operation)
        request = Request(
            actor=caller.name, role=caller.role, person=caller.person, path=names, body=body, if_match=if_match, key=key
        )  # fmt: skip
        status, answer = await run_in_threadpool(recorder.run, operation, request, caller, path)
    except SluiceError as error:
        return _refused(back, str(error))
    if status >= 400:
        return _refused(back, f"{answer['detail']} {answer.get('fix', '')}".strip())
    return RedirectResponse(done(answer), status_code=303)


def _number(text: str) -> object:
    """A whole number of a hidden field; what is none is left for the body's own check."""
    return int(text) if text.isascii() and text.isdigit() else text


def _refused(back: str, why: str) -> Response:
    return RedirectResponse(f"{back}?{urlencode({'refused': why})}", status_code=303)
