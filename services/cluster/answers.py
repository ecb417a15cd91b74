"""What an answer of the API means: the object, or one of Sluicegate's errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from sluicegate.registry.words.errors import (
    Forbidden,
    NotFound,
    ObjectConflict,
    Refused,
    SluiceError,
    Unreachable,
)
from sluicegate.services.cluster.kinds import Object

_LONGEST_WAIT = 30.0
"""The longest pause in seconds that a server may ask for."""
_NAMED = "correct the field or object that the message names."


class Expired(SluiceError):
    """The API no longer has the version from which to continue: list again."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request to the API."""

    method: str
    url: str
    """The API's URL, without a path."""
    path: str
    is_harmless_again: bool = True
    """Whether it may be sent again if its result is unknown."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} of {self.url}"


def pause(answer: httpx.Response) -> float | None:
    """The seconds after which the server wants a retry; None if this is its final answer."""
    if answer.status_code not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    retry_after = answer.headers.get("retry-after", "")
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and not retry_after:
        return None
    return min(float(retry_after), _LONGEST_WAIT) if retry_after.isdigit() else 1.0


def read_object(question: Question, answer: httpx.Response) -> Object:
    """The object of an answer. Raises the error that an unsuccessful answer means."""
    if answer.is_success:
        return parsed(question, answer.content)
    raise meaning(question, answer.status_code, _status(answer.content))


def parsed(question: Question, content: bytes) -> Object:
    """JSON as an object. Raises Unreachable if it is cut off or something else."""
    try:
        value = json.loads(content)
    except ValueError as error:
        value = None
        why = f"{error}" if content.lstrip()[:1] in (b"{", b"[") else "it is not JSON"
    else:
        why = "it is not an object"
    if not isinstance(value, dict):
        raise Unreachable(
            f"the answer to {question} is not an answer of the Kubernetes API: {why}.",
            fix="try again; if it stays so, check which server has that address.",
        )
    return value


def meaning(question: Question, code: int, status: Object) -> SluiceError:
    """The error of ours that a Status of the API means."""
    why = f"{question}: {status.get('message') or f'status {code}'}".rstrip(".") + "."
    match code:
        case 401:
            return Forbidden(
                f"the cluster does not accept the credentials: {why}",
                fix="check that the token is not expired and the service account exists: kubectl auth whoami",
            )
        case 403:
            is_role = (
                " cannot " in why
            )  # "User … cannot patch resource …", else a quota, a policy, or a namespace that ends
            fix = "apply the Role again: sluice cluster render | kubectl apply -f -" if is_role else _NAMED
            return Forbidden(f"the cluster does not allow it: {why}", fix=fix)
        case 404:
            return NotFound(f"the cluster has no such object: {why}")
        case 409:
            return ObjectConflict(f"another program changed the object first: {why}", fix="read the object again.")
        case 410:
            return Expired(f"the cluster no longer has that version: {why}", fix="list the objects again.")
        case 500 if "not declared in schema" in why:
            return Refused(
                f"the cluster does not know a field: {why}", fix="use a Kubernetes version that Sluicegate supports."
            )
        case 500 if "failed to create typed patch object" in why:
            return Refused(f"the cluster refused the request: {why}", fix=_NAMED)
        case _ if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unreachable(
                f"the cluster's API cannot answer now: {why}", fix="wait: Sluicegate tries again by itself."
            )
        case _:
            return Refused(f"the cluster refused the request: {why}", fix=_NAMED)


def _status(content: bytes) -> Object:
    try:
        value: Any = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
