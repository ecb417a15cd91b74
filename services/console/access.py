"""Who may: a bearer token, or a signed session cookie with a form token for the browser."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import replace

from starlette.requests import Request

from sluicegate.services.console.tokens import Caller, Tokens

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/login", "/parts.css", "/webhooks/mlflow"})
"""Paths that ask for no token: one says only that the process lives, one takes the token, one is a
style sheet, one checks a signature."""


def caller(request: Request, tokens: Tokens) -> Caller | None:
    """Who asks, or None for nobody we know."""
    header = request.headers.get("authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        known = tokens.caller(token) if scheme.lower() == "bearer" else None
        return _speaking_for(known, request.headers.get("x-sluice-actor", "api"))
    digest = request.session.get("token")
    if digest and (request.method in SAFE or _has_form_token(request)):
        return _speaking_for(tokens.by_digest(str(digest)), str(request.session.get("name") or "console"))
    return None


def open_session(request: Request, token: str, name: str) -> None:
    """Remember the browser by its token's digest, and give its forms a token of their own."""
    request.session.clear()
    request.session["token"] = hashlib.sha256(token.strip().encode()).hexdigest()
    request.session["name"] = name
    request.session["form"] = secrets.token_urlsafe(24)


def _speaking_for(known: Caller | None, name: str) -> Caller | None:
    """The owner of this machine speaks for others by name, as the CLI does; other tokens speak for themselves."""
    return replace(known, name=name) if known is not None and known.is_admin_token else known


def _has_form_token(request: Request) -> bool:
    sent = request.query_params.get("form", "") or request.headers.get("x-sluice-form", "")
    return hmac.compare_digest(sent.encode(), str(request.session.get("form", "-")).encode())
