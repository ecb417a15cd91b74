"""Tokens with roles. A token is shown once; the ledger keeps its SHA-256, which is enough for 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.authority import PREFECT
from sluicegate.registry.words.errors import NotFound, Refused, UsageError
from sluicegate.registry.words.roles import Role

KIND = "token"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,34}[a-z0-9])?")
ADMIN = "admin"
"""The name of the token that `sluice up` made; it lives in a file that only its owner can read."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody whose token is known."""

    name: str
    role: Role
    only_model: str | None = None
    """The one model that it may report outcomes of; None: every model."""
    is_admin_token: bool = False
    """Whether it is the token of this machine's owner, who may speak for others by name."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token that was given, without the token itself."""

    name: str
    role: Role
    model: str | None
    """Of a reporter: the one model whose outcomes it sends; None: every model's."""
    given_by: str
    given_at: datetime


class Tokens:
    """Gives tokens, knows them again, takes them back."""

    def __init__(self, ledger: Ledger, admin_token: str) -> None:
        self._ledger = ledger
        self._admin = _digest(admin_token)
        self._known: tuple[int, dict[str, Caller]] = (-1, {})

    def give(self, name: str, role: Role, *, actor: str, now: datetime, model: str | None = None) -> str:
        """A new token, to be shown once. Raises UsageError for a bad name, Refused for one that is in use."""
        if model is not None and role is not Role.REPORTER:
            raise UsageError(f"a token for one model is a reporter's; {role.title}s act on every model.")
        if not _NAME.fullmatch(name):
            raise UsageError(f"token name {name!r}: lower-case letters, digits, dots and dashes, at most 36.")
        if name == PREFECT:
            raise Refused("prefect is who runs act as that are started there.", fix="sluice token prefect ROLE")
        if name == ADMIN or self._ledger.applied(KIND, name) is not None:
            raise Refused(f"there is a token {name!r} already.", fix=f"take it back first: sluice token revoke {name}")
        token = f"sluice_{secrets.token_urlsafe(32)}"
        body: dict[str, object] = {"role": role.title, "model": model, "sha256": _digest(token)}
        given = Applied(kind=KIND, name=name, body=body, digest=_digest(token), actor=actor, at=now)
        self._ledger.apply(given)
        return token

    def revoke(self, name: str, *, actor: str, now: datetime) -> None:
        """Take a token back at once. Raises NotFound."""
        if not self._ledger.withdraw(KIND, name, actor=actor, at=now):
            raise NotFound(f"there is no token {name!r}.", fix="sluice token list")

    def given(self) -> tuple[Token, ...]:
        """Every token that is good, by name."""
        documents = self._ledger.all_applied(KIND)
        return tuple(
            Token(name=d.name, role=_role(d), model=_model(d), given_by=d.actor, given_at=d.at) for d in documents
        )

    def caller(self, token: str) -> Caller | None:
        """Whose token this is; None for nobody's."""
        return self.by_digest(_digest(token.strip()))

    def by_digest(self, digest: str) -> Caller | None:
        """The same, from the digest that a browser's session keeps."""
        if hmac.compare_digest(digest, self._admin):
            return Caller(name=ADMIN, role=Role.ADMIN, is_admin_token=True)
        return self._by_digest().get(digest)

    def _by_digest(self) -> dict[str, Caller]:
        position = self._ledger.position()
        if position != self._known[0]:
            documents = self._ledger.all_applied(KIND)
            callers = (Caller(name=d.name, role=_role(d), only_model=_model(d)) for d in documents)
            self._known = (position, dict(zip((str(d.body["sha256"]) for d in documents), callers, strict=True)))
        return self._known[1]


def _role(document: Applied) -> Role:
    return Role[str(document.body["role"]).upper()]


def _model(document: Applied) -> str | None:
    model = document.body.get("model")
    return None if model is None else str(model)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
