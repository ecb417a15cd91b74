"""What an answer of the API means: the object, or one of the errors of the house."""

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
"""No server's wish for a pause counts for more."""
_NAMED = "correct what the message names."


class Expired(SluiceError):
    """The API has forgotten the version from which it was asked to go on: list again."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the API."""

    method: str
    url: str
    """Of the API, without a path."""
    path: str
    is_harmless_again: bool = True
    """Whether it may be asked twice where nobody knows what became of it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} of {self.url}"


def pause(answer: httpx.Response) -> float | None:
    """The seconds after which the server wants to be asked again; None where this is its answer."""
    if answer.status_code not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    said = answer.headers.get("retry-after", "")
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and not said:
        return None
    return min(float(said), _LONGEST_WAIT) if said.isdigit() else 1.0


def read_object(question: Question, answer: httpx.Response) -> Object:
    """The object of an answer. Raises what an error means."""
    if answer.is_success:
        return parsed(question, answer.content)
    raise meaning(question, answer.status_code, _status(answer.content))


def parsed(question: Question, content: bytes) -> Object:
    """JSON as an object. Raises Unreachable where it is cut off or something else."""
    try:
        found = json.loads(content)
    except ValueError as error:
        found = None
        why = f"{error}" if content.lstrip()[:1] in (b"{", b"[") else "it is no JSON"
    else:
        why = "it is no object"
    if not isinstance(found, dict):
        raise Unreachable(
            f"the answer to {question} has no form that the Kubernetes API uses: {why}.",
            fix="ask again; if it stays so, check which server that address belongs to.",
        )
    return found


def meaning(question: Question, code: int, status: Object) -> SluiceError:
    """What a Status of the API means in our words."""
    why = f"{question}: {status.get('message') or f'status {code}'}".rstrip(".") + "."
    match code:
        case 401:
            return Forbidden(
                f"the cluster does not know who asks: {why}",
                fix="check that the token is not expired and the service account exists: kubectl auth whoami",
            )
        case 403:
            is_role = (
                " cannot " in why
            )  # "User … cannot patch resource …", else a quota, a policy, or a namespace that ends
            fix = "apply the Role again: sluice cluster render | kubectl apply -f -" if is_role else _NAMED
            return Forbidden(f"the cluster does not allow it: {why}", fix=fix)
        case 404:
            return NotFound(f"it is not in the cluster: {why}")
        case 409:
            return ObjectConflict(f"somebody else was first: {why}", fix="read the object again.")
        case 410:
            return Expired(f"the cluster has forgotten that version: {why}", fix="list again.")
        case 500 if "not declared in schema" in why:
            return Refused(
                f"the cluster does not know such a field: {why}", fix="use a Kubernetes version that is supported."
            )
        case 500 if "failed to create typed patch object" in why:
            return Refused(f"the cluster refuses it: {why}", fix=_NAMED)
        case _ if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unreachable(f"the cluster's API cannot answer now: {why}", fix="wait; it is asked again by itself.")
        case _:
            return Refused(f"the cluster refuses it: {why}", fix=_NAMED)


def _status(content: bytes) -> Object:
    try:
        found: Any = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
