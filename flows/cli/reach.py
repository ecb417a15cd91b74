"""How a command reaches the record: the console's API where one answers, else the same acts on the ledger itself."""

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
"""Seconds without a heartbeat after which this machine's console is not asked."""
PAUSES = (0.5, 1.0, 2.0)
"""Seconds before asking again for an answer that was lost."""
_WAYS = (
    "start it here with sluice up, or set SLUICE_API to the URL of a console that runs and SLUICE_TOKEN to its token"
)
_WHOSE = "name a console in SLUICE_API, by a name that it knows: its setting SLUICE_CONSOLE_HOSTS adds names"
_TOLD = 200
"""Bytes that are repeated of an answer that is no console's."""
DRY_RUN: ContextVar[bool] = ContextVar("dry_run", default=False)
"""Whether acts are only tried: `sluice --dry-run`."""


class Tried(Exception):  # not an error: the end of a command that was only tried
    """What an act would have done."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("tried")
        self.answer = answer


class NotSent(Unreachable):
    """Nothing listens there: the request cannot have had an effect."""


class Unanswered(Unreachable):
    """The request was sent, and no whole answer came back: it may have had its effect."""


def call(method: str, path: str, body: object = None, query: Mapping[str, str | None] | None = None) -> Any:
    """Ask for an act and return its answer. Raises the act's own error, whichever way it was reached.

    What may change something has a key, so that asking again after a lost answer does it once.
    """
    settings = Settings.read()
    words = {name: value for name, value in (query or {}).items() if value is not None}
    is_tried = DRY_RUN.get() and method != "GET"
    if is_tried:
        words["dry_run"] = "1"
    key = None if method == "GET" else uuid4().hex
    answer = _answer(settings, Asking(method=method, path=path, body=body, query=words, key=key))
    if is_tried:
        raise Tried(answer)
    return answer


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked for, wherever that will be."""

    method: str
    path: str
    body: object
    query: Mapping[str, str]
    key: str | None


def _answer(settings: Settings, asking: Asking) -> Any:
    api = console_api(settings)
    if api is None and not has_ledger(settings):
        if settings.api_url is not None:
            raise UsageError(
                f"the console at {settings.api_url} requires a token, but none is set.", fix="set SLUICE_TOKEN"
            )
        raise Unreachable(f"nothing runs in {settings.state}, and it has no ledger.", fix=_WAYS)
    if api is not None and not _is_hung(settings):
        try:
            return ask(api, asking)
        except NotSent as error:
            if settings.api_url is not None:
                raise NotSent(
                    f"{error.message} The command uses no other console, because SLUICE_API names this one.",
                    fix="check that it runs, or unset SLUICE_API to use the ledger of this machine",
                ) from error
            if not has_ledger(settings):
                raise
    return _on_ledger(asking)


def _is_hung(settings: Settings) -> bool:
    """Whether the console of this machine hangs: then nobody waits for it, and the ledger is here."""
    if settings.api_url is not None or not has_ledger(settings):
        return False
    silence = Heartbeats(folder=StateFolder(root=settings.state).beats).silence(CONSOLE)
    return silence is not None and silence > HUNG


def ask(api: Api, asking: Asking) -> Any:
    """The act's answer from a console; asked again there, with the same key, where an answer was lost.

    Raises NotSent where nothing was sent at all, and Unanswered where it may have had its effect.
    """
    try:
        return over_http(api, asking)
    except Unanswered:
        pass
    for pause in PAUSES:
        time.sleep(pause)
        with suppress(Unreachable):
            return over_http(api, asking)
    raise Unanswered(
        f"the console at {api.url} did not answer, so we do not know whether it did what you asked.",
        fix="check what happened before you repeat it: sluice rollout list, sluice status",
    )


def over_http(api: Api, asking: Asking) -> Any:
    """The act's answer from a console, asked once. Raises NotSent, Unanswered, and the act's own error."""
    target = api.url.rstrip("/") + asking.path + (f"?{urllib.parse.urlencode(asking.query)}" if asking.query else "")
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "application/json",
        "x-sluice-door": "cli",
        "x-sluice-actor": actor(),
    }
    if asking.key is not None:
        headers["idempotency-key"] = asking.key
    data = json.dumps(asking.body).encode() if asking.body is not None else None
    request = urllib.request.Request(target, data=data, headers=headers, method=asking.method)
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
    """Who runs this command, as it is written into the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def opener(ca: Path | None) -> urllib.request.OpenerDirector:
    """Asks directly, whatever proxies the environment names. Raises UsageError."""
    try:
        trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    except OSError as error:
        raise UsageError(f"SLUICE_CA is {ca}, which holds no certificate: {error}.", fix="name a file in PEM") from None
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), trusted)


def _problem(error: urllib.error.HTTPError) -> SluiceError:
    """What was answered; in words of its own where it is no answer of a console."""
    text = error.read()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "detail" not in body:
        said = text[:_TOLD].decode(errors="replace").strip() or "nothing more"
        unknown = UsageError if error.code < HTTPStatus.INTERNAL_SERVER_ERROR else SluiceError
        return unknown(f"{error.url} answered {error.code}: {said}", fix=_WHOSE)
    kind = getattr(errors, str(body.get("title")), SluiceError)
    if not (isinstance(kind, type) and issubclass(kind, SluiceError)) or kind is errors.InvalidDocument:
        kind = errors.UsageError if error.code in (400, 422) else SluiceError
    return kind(str(body["detail"]), fix=body.get("fix"))


def _on_ledger(asking: Asking) -> Any:
    from sluicegate.flows.wiring.desk import desk_without_doors
    from sluicegate.registry.words.roles import Role
    from sluicegate.services.console.acts.table import find
    from sluicegate.services.console.operations import Request
    from sluicegate.services.console.tokens import OWNER

    try:
        behind = desk_without_doors()
    except Unreachable as error:
        if asking.method == "GET":
            raise
        raise Unreachable(f"nothing was recorded: {error.message}", fix=error.fix) from error
    words = {name: value for name, value in asking.query.items() if name != "dry_run"}
    request = Request(
        actor=actor(), role=Role.ADMIN, person=OWNER, door="cli", query=words, body=asking.body, key=asking.key
    )  # fmt: skip
    if "dry_run" in asking.query:
        from sluicegate.services.console.dry_run import dry_run

        return dry_run(behind, asking.method, asking.path, request)[1]
    operation, names = find(behind, asking.method, asking.path)
    return operation.run(replace(request, path=names))[1]
