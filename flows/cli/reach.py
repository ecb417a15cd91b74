"""How a command reaches the record: the console's API where one answers, else the same acts on the ledger itself."""

from __future__ import annotations

import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from sluicegate.registry.words import errors
from sluicegate.registry.words.errors import SluiceError, Unreachable
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.addresses import console_api, has_ledger

SECONDS = 30.0
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
"""Whether acts are only tried: `sluice --dry-run`."""


class Tried(Exception):  # not an error: the end of a command that was only tried
    """What an act would have done."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("tried")
        self.answer = answer


def call(method: str, path: str, body: object = None, query: Mapping[str, str | None] | None = None) -> Any:
    """Ask for an act and return its answer. Raises the act's own error, whichever way it was reached."""
    settings = Settings.read()
    words = {name: value for name, value in (query or {}).items() if value is not None}
    is_tried = DRY_RUN.get() and method != "GET"
    if is_tried:
        words["dry_run"] = "1"
    answer = _answer(settings, method, path, body, words)
    if is_tried:
        raise Tried(answer)
    return answer


def _answer(settings: Settings, method: str, path: str, body: object, words: dict[str, str]) -> Any:
    api = console_api(settings)
    if api is None and not has_ledger(settings):
        raise Unreachable(f"nothing runs and nothing is recorded in {settings.state}.", fix="sluice up")
    if api is not None:
        try:
            return over_http(api.url, api.token, method, path, body, words)
        except Unreachable:
            if not has_ledger(settings):
                raise
    return _on_ledger(method, path, body, words)


def over_http(url: str, token: str, method: str, path: str, body: object, query: Mapping[str, str]) -> Any:
    """The act's answer from a console. Raises Unreachable when none answers."""
    target = url.rstrip("/") + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "x-sluice-door": "cli",
        "x-sluice-actor": actor(),
    }
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(target, data=data, headers=headers, method=method)
    try:
        with _opener().open(request, timeout=SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _problem(error) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unreachable(f"the console at {url} does not answer: {error}.", fix="sluice up") from error


def actor() -> str:
    """Who runs this command, as it is written into the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def _opener() -> urllib.request.OpenerDirector:
    """Loopback is asked directly, whatever proxies the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _problem(error: urllib.error.HTTPError) -> SluiceError:
    try:
        body = json.loads(error.read())
    except ValueError:
        body = {}
    kind = getattr(errors, str(body.get("title")), SluiceError)
    if not (isinstance(kind, type) and issubclass(kind, SluiceError)) or kind is errors.InvalidDocument:
        kind = errors.UsageError if error.code in (400, 422) else SluiceError
    return kind(str(body.get("detail") or f"the console answered {error.code}."), fix=body.get("fix"))


def _on_ledger(method: str, path: str, body: object, query: Mapping[str, str]) -> Any:
    from sluicegate.flows.wiring.desk import desk_without_doors
    from sluicegate.services.console.acts.table import find
    from sluicegate.services.console.operations import Request, Role

    behind = desk_without_doors()
    if "dry_run" in query:
        from sluicegate.services.console.dry_run import dry_run

        words = {name: value for name, value in query.items() if name != "dry_run"}
        request = Request(actor=actor(), role=Role.ADMIN, door="cli", query=words, body=body)
        return dry_run(behind, method, path, request)[1]
    operation, names = find(behind, method, path)
    request = Request(actor=actor(), role=Role.ADMIN, door="cli", path=names, query=query, body=body)
    return operation.run(request)[1]
