"""Who may: a bearer token, or a signed session cookie with a form token for the browser."""

from __future__ import annotations

import hmac
from dataclasses import replace

from starlette.requests import Request

from sluicegate.services.console.sessions import Sessions
from sluicegate.services.console.tokens import Caller, Token, Tokens

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/login", "/parts.css", "/webhooks/mlflow"})
"""Paths that ask for no token: one says only that the process lives, one takes the token, one is a
style sheet, one checks a signature."""


def caller(request: Request, tokens: Tokens, sessions: Sessions) -> Caller | None:
    """Who asks, or None for nobody we know."""
    if request.headers.get("authorization"):
        bearer = _bearer(request)
        known = tokens.caller(bearer) if bearer is not None else None
        return _speaking_for(known, request.headers.get("x-sluice-actor", "api"))
    digest = request.session.get("token")
    if digest and sessions.is_open(request.session) and (request.method in SAFE or _has_form_token(request)):
        return _speaking_for(tokens.by_digest(str(digest)), str(request.session.get("name") or "console"))
    return None


def expired(request: Request, tokens: Tokens) -> Token | None:
    """The token that was shown, or that a browser signed in with, where it has expired."""
    bearer, digest = _bearer(request), request.session.get("token")
    if bearer is not None:
        return tokens.expired(bearer)
    return tokens.expired_by_digest(str(digest)) if digest else None


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _speaking_for(known: Caller | None, name: str) -> Caller | None:
    """The owner of this machine speaks for others by name, as the CLI does; other tokens speak for themselves."""
    return replace(known, name=name) if known is not None and known.is_admin_token else known


def _has_form_token(request: Request) -> bool:
    sent = request.query_params.get("form", "") or request.headers.get("x-sluice-form", "")
    return hmac.compare_digest(sent.encode(), str(request.session.get("form", "-")).encode())
