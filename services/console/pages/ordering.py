"""Ordering: a page's form runs the same act as the API, then redirects to a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from starlette import requests
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.console.acts.rollouts import ORDERS
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.operations import Request
from sluicegate.services.console.pages.effects import possible
from sluicegate.services.console.pages.rendering import Endpoint
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.recording import Recorder, allow
from sluicegate.services.console.tokens import Caller

BACK = "back to "
"""The prefix of a step's number in the form, if that step lies before the current one."""


def admitted(rollout: Rollout, caller: Caller) -> list[str]:
    """The orders that the rollout admits now and that the caller may give."""
    return [name for name in possible(rollout) if caller.role >= ORDERS[name].role]


def ordering(desk: Desk, pages: str, judged: frozenset[str], done: Callable[[dict[str, Any]], str]) -> Endpoint:
    """Carry out an order from a form under `pages`/{id}/{act}. The caller has checked the session and its form token.

    Orders in `judged` rest on the evidence that the page showed, so they are refused if the rollout has changed since.
    On success redirects to the path that `done` makes from the API's answer; a refusal redirects back and is shown
    there.
    """
    recorder = Recorder(desk.calls, desk.clock)

    async def endpoint(http: requests.Request) -> Response:
        name, act = http.path_params["id"], http.path_params["act"]
        form = await http.form(max_fields=5)
        body: dict[str, object] = {"reason": str(form.get("reason") or "")}
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
    """Carry out the API's act at a path for the signed-in caller, then redirect; a refusal is shown on page `back`."""
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
    """A whole number from a hidden field; any other text is returned for the body's own check to refuse."""
    return int(text) if text.isascii() and text.isdigit() else text


def _refused(back: str, why: str) -> Response:
    return RedirectResponse(f"{back}?{urlencode({'refused': why})}", status_code=303)
