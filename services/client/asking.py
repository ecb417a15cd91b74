"""Requests as values, and how to read their responses. Does not send: `steps` decides when, `sync` and `aio` do it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from sluicegate.services.client import problems
from sluicegate.services.client.metadata import Header, MetadataValue, metadata_headers, unit_header
from sluicegate.services.client.payload import Rows, payload
from sluicegate.services.client.predictions import Predictions, predictions
from sluicegate.services.client.retrying import was_sent

JSON = (b"content-type", b"application/json")


class Server(StrEnum):
    """The server that a request goes to."""

    GATEWAY = "gateway"
    CONSOLE = "console"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request to a server."""

    server: Server
    method: str
    path: str
    headers: tuple[Header, ...] = ()
    content: bytes | None = None
    is_harmless: bool = True
    """Whether it is idempotent, so that sending it twice does no harm."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request for predictions."""

    ask: Ask
    model: str
    index: Any

    def read(self, response: httpx.Response) -> Predictions:
        """The predictions in a response. Raises Refused, Failed."""
        return predictions(self.model, body_of(response), response.headers, self.index)


def question(
    model: str,
    data: Rows,
    *,
    metadata: Mapping[str, MetadataValue] | None,
    unit: str | int | None,
    hashed: str | None,
    variation: str | None = None,
    params: Mapping[str, Any] | None,
) -> Question:
    """The request for predictions; `hashed` is the header for the model's unit. Raises CannotBeSent."""
    headers = metadata_headers(metadata or {})
    if unit is not None and hashed is not None:
        own = unit_header(hashed, unit)
        if any(name == own[0] and value != own[1] for name, value in headers):
            raise problems.CannotBeSent(
                f"metadata {hashed!r} differs from the unit, which is sent in the same header.",
                fix=f"Leave {hashed} out of the metadata.",
            )
        headers = [header for header in headers if header[0] != own[0]] + [own]
    body = payload(data, params)
    by_name = "" if variation is None else f"/variations/{'/'.join(map(segment, variation.split('/')))}"
    ask = Ask(
        server=Server.GATEWAY, method="POST", path=f"/{segment(model)}{by_name}/predict", headers=(JSON, *headers),
        content=body.content, is_harmless=False,
    )  # fmt: skip
    return Question(ask=ask, model=model, index=body.index)


def about(model: str) -> Ask:
    """The request for what the gateway knows about a model."""
    return Ask(server=Server.GATEWAY, method="GET", path=f"/{segment(model)}")


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def request(http: httpx.Client | httpx.AsyncClient, ask: Ask, patience: httpx.Timeout) -> httpx.Request:
    """The request in httpx's form."""
    headers = list(ask.headers)
    return http.build_request(ask.method, ask.path, headers=headers, content=ask.content, timeout=patience)


def answer(outcome: httpx.Response | httpx.RequestError) -> httpx.Response:
    """The response, if there is one. Raises Unreachable, TimedOut."""
    if isinstance(outcome, httpx.Response):
        return outcome
    kind = problems.TimedOut if isinstance(outcome, httpx.TimeoutException) else problems.Unreachable
    sent = was_sent(outcome)
    fix = (
        "The server may have carried out the request all the same: check before you send it again."
        if sent
        else "Nothing was sent. Check the URL, and that the server runs."
    )
    reason = f"{outcome.request.url}: {type(outcome).__name__} {outcome}".rstrip()
    raise kind(f"{reason}.", was_sent=sent, fix=fix) from outcome


def body_of(response: httpx.Response) -> Any:
    """The JSON of a successful response. Raises Refused or a subclass for 4xx, Failed for 5xx or a non-JSON body."""
    try:
        body = response.json()
    except ValueError:
        body = None
        if response.is_success:
            raise problems.Failed("the answer is not JSON.", **_facts(response, {})) from None
    if response.is_success:
        return body
    document = body if isinstance(body, dict) else {}
    message = str(document.get("error") or document.get("detail") or f"the server answered {response.status_code}.")
    raise _kind(response.status_code)(message, **_facts(response, document))


def is_near(url: str) -> bool:
    """Whether the server is on this machine; such servers are reached without the proxies in the environment."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _kind(status: int) -> type[problems.Answered]:
    match status:
        case 404:
            return problems.NoSuchModel
        case 401 | 403:
            return problems.NotAllowed
        case _:
            return problems.Failed if status >= 500 else problems.Refused


def _facts(response: httpx.Response, document: Mapping[str, Any]) -> dict[str, Any]:
    listed = [problem for problem in document.get("problems") or () if isinstance(problem, dict)]
    return {
        "status": response.status_code,
        "request_id": response.headers.get("x-request-id"),
        "problems": listed,
        "fix": document.get("fix") or (listed[0].get("fix") if listed else None),
    }
