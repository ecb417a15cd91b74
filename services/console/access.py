"""Authentication: a bearer token, or for browsers a signed session cookie together with a form token."""

from __future__ import annotations

import hmac
from dataclasses import replace

from starlette.requests import Request

from sluicegate.services.console.sessions import Sessions
from sluicegate.services.console.tokens import Caller, Token, Tokens

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/login", "/parts.css", "/webhooks/mlflow"})
"""Paths that need no token: the liveness probe, the sign-in form, a style sheet, and the webhook receiver, which
checks a signature instead."""


def caller(request: Request, tokens: Tokens, sessions: Sessions) -> Caller | None:
    """Who sent the request, or None without a valid token or session."""
    if request.headers.get("authorization"):
        bearer = _bearer(request)
        owner = tokens.caller(bearer) if bearer is not None else None
        return _speaking_for(owner, request.headers.get("x-sluice-actor", "api"))
    digest = request.session.get("token")
    if digest and sessions.is_open(request.session) and (request.method in SAFE or _has_form_token(request)):
        return _speaking_for(tokens.by_digest(str(digest)), str(request.session.get("name") or "console"))
    return None


def expired(request: Request, tokens: Tokens) -> Token | None:
    """The request's token, or the one that its browser signed in with, if that token has expired."""
    bearer, digest = _bearer(request), request.session.get("token")
    if bearer is not None:
        return tokens.expired(bearer)
    return tokens.expired_by_digest(str(digest)) if digest else None


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _speaking_for(caller: Caller | None, name: str) -> Caller | None:
    """The owner of this machine may act under any name, as the CLI does. All other tokens act under their own."""
    return replace(caller, name=name) if caller is not None and caller.is_admin_token else caller


def _has_form_token(request: Request) -> bool:
    sent = request.query_params.get("form", "") or request.headers.get("x-sluice-form", "")
    return hmac.compare_digest(sent.encode(), str(request.session.get("form", "-")).encode())
