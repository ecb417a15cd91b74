"""Who may: a bearer token, or a signed session cookie with a form token for the browser."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/login", "/webhooks/mlflow"})
"""Paths that ask for no token: one says only that the process lives, one takes the token, one checks a signature."""


def actor(request: Request, admin_token: str) -> str | None:
    """Who asks, or None for nobody we know."""
    header = request.headers.get("authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        is_right = scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), admin_token.encode())
        return request.headers.get("x-sluice-actor", "api") if is_right else None
    if request.session.get("actor") and (request.method in SAFE or _has_form_token(request)):
        return str(request.session["actor"])
    return None


def is_login(token: str, admin_token: str) -> bool:
    """Whether this is the admin token."""
    return hmac.compare_digest(token.strip().encode(), admin_token.encode())


def open_session(request: Request, name: str) -> None:
    """Remember the browser, and give its forms a token of their own."""
    request.session["actor"] = name
    request.session["form"] = secrets.token_urlsafe(24)


def _has_form_token(request: Request) -> bool:
    sent = request.query_params.get("form", "")
    return hmac.compare_digest(sent.encode(), str(request.session.get("form", "")).encode())
