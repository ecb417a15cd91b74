"""How a command reaches the ledger: through the console's API if one answers, otherwise directly, by the same acts."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from sluicegate.registry.words import errors
from sluicegate.registry.words.errors import SluiceError, Unreachable, UsageError
from sluicegate.registry.words.settings import Settings
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.addresses import Api, console_api, has_ledger
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import CONSOLE

SECONDS = 30.0
HUNG = 5.0
"""Seconds without a heartbeat after which commands skip this machine's console."""
PAUSES = (0.5, 1.0, 2.0)
"""Seconds to wait before each retry after a lost answer."""
_FIX_UNREACHABLE = (
    "start it here with sluice up, or set SLUICE_API to the URL of a console that runs and SLUICE_TOKEN to its token"
)
_FIX_NO_CONSOLE = "name a console in SLUICE_API, by a name that it knows: its setting SLUICE_CONSOLE_HOSTS adds names"
_QUOTED = 200
"""Bytes of an answer to quote when it does not come from a console."""
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
"""Whether this is a dry run: `sluice --dry-run`."""


class Tried(Exception):  # not an error: it ends a dry run
    """Carries what the command would have done."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("tried")
        self.answer = answer


class NotSent(Unreachable):
    """Nothing listens at the address, so the request had no effect."""


class Unanswered(Unreachable):
    """The request was sent, but no complete answer came back; it may have had its effect."""


def call(method: str, path: str, body: object = None, query: Mapping[str, str | None] | None = None) -> Any:
    """Carry out an act of the API and return its answer. Raises the act's own error, whether by HTTP or directly.

    A request that may change something carries an idempotency key, so that a retry does not do it twice.
    """
    settings = Settings.read()
    parameters = {name: value for name, value in (query or {}).items() if value is not None}
    is_dry_run = DRY_RUN.get() and method != "GET"
    if is_dry_run:
        parameters["dry_run"] = "1"
    key = None if method == "GET" else uuid4().hex
    answer = _answer(settings, ApiRequest(method=method, path=path, body=body, query=parameters, key=key))
    if is_dry_run:
        raise Tried(answer)
    return answer


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """A request, independent of how it is carried out."""

    method: str
    path: str
    body: object
    query: Mapping[str, str]
    key: str | None


def _answer(settings: Settings, api_request: ApiRequest) -> Any:
    api = console_api(settings)
    if api is None and not has_ledger(settings):
        if settings.api_url is not None:
            raise UsageError(
                f"the console at {settings.api_url} requires a token, but none is set.", fix="set SLUICE_TOKEN"
            )
        raise Unreachable(f"nothing runs in {settings.state}, and it has no ledger.", fix=_FIX_UNREACHABLE)
    if api is not None and not _is_hung(settings):
        try:
            return ask(api, api_request)
        except NotSent as error:
            if settings.api_url is not None:
                raise NotSent(
                    f"{error.message} The command uses no other console, because SLUICE_API names this one.",
                    fix="check that it runs, or unset SLUICE_API to use the ledger of this machine",
                ) from error
            if not has_ledger(settings):
                raise
    return _on_ledger(api_request)


def _is_hung(settings: Settings) -> bool:
    """Whether this machine's console hangs. Then the command uses the ledger instead of waiting."""
    if settings.api_url is not None or not has_ledger(settings):
        return False
    silence = Heartbeats(folder=StateFolder(root=settings.state).beats).silence(CONSOLE)
    return silence is not None and silence > HUNG


def ask(api: Api, api_request: ApiRequest) -> Any:
    """Get the act's answer from a console; retries there with the same key if an answer was lost.

    Raises NotSent if nothing was sent at all, and Unanswered if the request may have had its effect.
    """
    try:
        return over_http(api, api_request)
    except Unanswered:
        pass
    for pause in PAUSES:
        time.sleep(pause)
        with suppress(Unreachable):
            return over_http(api, api_request)
    raise Unanswered(
        f"the console at {api.url} did not answer, so we do not know whether it did what you asked.",
        fix="check what happened before you repeat it: sluice rollout list, sluice status",
    )


def over_http(api: Api, api_request: ApiRequest) -> Any:
    """Get the act's answer from a console, without retries. Raises NotSent, Unanswered, or the act's own error."""
    target = (
        api.url.rstrip("/")
        + api_request.path
        + (f"?{urllib.parse.urlencode(api_request.query)}" if api_request.query else "")
    )
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "application/json",
        "x-sluice-door": "cli",
        "x-sluice-actor": actor(),
    }
    if api_request.key is not None:
        headers["idempotency-key"] = api_request.key
    data = json.dumps(api_request.body).encode() if api_request.body is not None else None
    request = urllib.request.Request(target, data=data, headers=headers, method=api_request.method)
    try:
        with opener(api.ca).open(request, timeout=SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _problem(error) from None
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        if isinstance(why, ssl.SSLCertVerificationError):
            raise Unreachable(
                f"the console at {api.url} shows a certificate that is not trusted here: {why.verify_message}.",
                fix="name the file of its certificate authority in SLUICE_CA; where sluice up made the certificate, it "
                "is tls/ca.pem in that host's state folder",
            ) from error
        kind = NotSent if isinstance(why, ConnectionRefusedError | socket.gaierror) else Unanswered
        raise kind(f"the console at {api.url} does not answer: {why}.", fix="sluice up") from error


def actor() -> str:
    """The user who runs this command, as the ledger records it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def segment(name: str) -> str:
    """The name, quoted as one segment of a URL path."""
    return urllib.parse.quote(name, safe="")


def opener(ca: Path | None) -> urllib.request.OpenerDirector:
    """An opener that ignores the environment's proxies. Raises UsageError if `ca` holds no certificate."""
    try:
        trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    except OSError as error:
        raise UsageError(f"SLUICE_CA is {ca}, which holds no certificate: {error}.", fix="name a file in PEM") from None
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), trusted)


def _problem(error: urllib.error.HTTPError) -> SluiceError:
    """The error that the answer describes; if it does not come from a console, an error that quotes it."""
    text = error.read()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "detail" not in body:
        quoted = text[:_QUOTED].decode(errors="replace").strip() or "nothing more"
        unknown = UsageError if error.code < HTTPStatus.INTERNAL_SERVER_ERROR else SluiceError
        return unknown(f"{error.url} answered {error.code}: {quoted}", fix=_FIX_NO_CONSOLE)
    kind = getattr(errors, str(body.get("title")), SluiceError)
    if not (isinstance(kind, type) and issubclass(kind, SluiceError)) or kind is errors.InvalidDocument:
        kind = errors.UsageError if error.code in (400, 422) else SluiceError
    return kind(str(body["detail"]), fix=body.get("fix"))


def _on_ledger(api_request: ApiRequest) -> Any:
    from sluicegate.flows.wiring.desk import desk_without_doors
    from sluicegate.registry.words.roles import Role
    from sluicegate.services.console.acts.table import find
    from sluicegate.services.console.operations import Request
    from sluicegate.services.console.tokens import OWNER

    try:
        desk = desk_without_doors()
    except Unreachable as error:
        if api_request.method == "GET":
            raise
        raise Unreachable(f"nothing was recorded: {error.message}", fix=error.fix) from error
    parameters = {name: value for name, value in api_request.query.items() if name != "dry_run"}
    request = Request(
        actor=actor(), role=Role.ADMIN, person=OWNER, door="cli", query=parameters,
        body=api_request.body, key=api_request.key,
    )  # fmt: skip
    if "dry_run" in api_request.query:
        from sluicegate.services.console.dry_run import dry_run

        return dry_run(desk, api_request.method, api_request.path, request)[1]
    operation, names = find(desk, api_request.method, api_request.path)
    return operation.run(replace(request, path=names))[1]
