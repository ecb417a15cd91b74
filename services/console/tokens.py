"""Tokens with roles. A token is shown once; the ledger keeps its SHA-256, a sufficient hash for 256 random bits.

A token may expire. It stays on record until it is revoked or its name gets another token, so that a caller who still
uses it learns why it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.authority import PREFECT
from sluicegate.registry.words.errors import NotFound, Refused, Unreachable, UsageError
from sluicegate.registry.words.roles import Role

KIND = "token"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,34}[a-z0-9])?")
_OWN_GATEWAY = re.compile(r"gateway(-[0-9]+)?")
ADMIN = "admin"
"""The name of the token that `sluice up` makes; it is in a file that only its owner can read."""
OWNER = "@owner"
"""The person of that token, whatever name its user acts under."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authenticated caller."""

    name: str
    role: Role
    only_model: str | None = None
    """The one model whose outcomes it may report; None: every model's."""
    person: str = ""
    """The person behind the token; two tokens of one person count as one person."""
    is_admin_token: bool = False
    """Whether it is the token of this machine's owner, who may act under any name."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is recorded about a token, without its secret."""

    name: str
    role: Role
    person: str
    """Its owner; the token's own name, unless one person has several."""
    model: str | None
    """For a reporter: the one model whose outcomes it may send; None: every model's."""
    given_by: str
    given_at: datetime
    expires_at: datetime | None
    """From then on it is refused; None: it is valid until it is revoked."""

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Tokens:
    """Creates, checks and revokes tokens."""

    def __init__(self, ledger: Ledger, admin_token: str, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._admin = _digest(admin_token)
        self._clock = clock
        self._cached: tuple[int, dict[str, Token]] = (-1, {})

    def give(
        self, name: str, role: Role, *, actor: str, model: str | None = None, lifetime: timedelta | None = None,
        person: str | None = None,
    ) -> str:  # fmt: skip
        """A new token, to be shown once; without a lifetime it is valid until it is revoked. One person's tokens count
        as one where two named people are needed.

        Raises UsageError for a bad name, Refused for one that is in use. The name of an expired token is free.
        """
        now = self._clock()
        if model is not None and role is not Role.REPORTER:
            raise UsageError(f"only a reporter's token can be limited to one model; {role.title}s act on every model.")
        for each in (name, person or name):
            if not _NAME.fullmatch(each):
                raise UsageError(f"token name {each!r}: lower-case letters, digits, dots and dashes, at most 36.")
        if role is Role.GATEWAY and _OWN_GATEWAY.fullmatch(name):
            raise Refused(f"{name!r} is the name of a gateway of this host.", fix="choose another one, such as edge-1")
        if name == PREFECT:
            raise Refused(
                "the name prefect is reserved for runs that are started in Prefect.", fix="sluice token prefect ROLE"
            )
        present = self._ledger.applied(KIND, name)
        if name == ADMIN or (present is not None and not _token(present).is_expired(now)):
            raise Refused(
                f"there is a token {name!r} already.",
                fix=f"choose another name, or revoke that token first: sluice token revoke {name}",
            )
        token = f"sluice_{secrets.token_urlsafe(32)}"
        body: dict[str, object] = {"role": role.title, "model": model, "sha256": _digest(token)}
        if person is not None:
            body["person"] = person
        if lifetime is not None:
            body["expires_at"] = (now + lifetime).isoformat()
        given = Applied(kind=KIND, name=name, body=body, digest=_digest(token), actor=actor, at=now)
        self._ledger.apply(given)
        return token

    def revoke(self, name: str, *, actor: str) -> None:
        """Revoke a token at once. Raises NotFound."""
        if not self._ledger.withdraw(KIND, name, actor=actor, at=self._clock()):
            raise NotFound(f"there is no token {name!r}.", fix="sluice token list")

    def caller(self, token: str) -> Caller | None:
        """Who this token belongs to; None if it is unknown or has expired."""
        return self.by_digest(_digest(token.strip()))

    def by_digest(self, digest: str) -> Caller | None:
        """The same as `caller`, from the digest in a browser's session."""
        if hmac.compare_digest(digest, self._admin):
            return Caller(name=ADMIN, role=Role.ADMIN, person=OWNER, is_admin_token=True)
        token = self._by_digest().get(digest)
        if token is None or token.is_expired(self._clock()):
            return None
        return Caller(name=token.name, role=token.role, person=token.person, only_model=token.model)

    def expired(self, token: str) -> Token | None:
        """The record of this token if it has expired; otherwise None."""
        return self.expired_by_digest(_digest(token.strip()))

    def expired_by_digest(self, digest: str) -> Token | None:
        """The same as `expired`, from the digest in a browser's session."""
        token = self._by_digest().get(digest)
        return token if token is not None and token.is_expired(self._clock()) else None

    def _by_digest(self) -> dict[str, Token]:
        """Tokens by digest. While the ledger cannot be read, the last ones stay valid: none can be revoked then."""
        try:
            position = self._ledger.position()
        except Unreachable:
            if self._cached[0] < 0:
                raise
            return self._cached[1]
        if position != self._cached[0]:
            documents = self._ledger.all_applied(KIND)
            self._cached = (position, {str(document.body["sha256"]): _token(document) for document in documents})
        return self._cached[1]


def given_tokens(ledger: Ledger) -> tuple[Token, ...]:
    """Every token that was not revoked, by name, including expired ones."""
    return tuple(_token(document) for document in ledger.all_applied(KIND))


def expiry_sentence(token: Token) -> str:
    """Why an expired token is refused."""
    assert token.expires_at is not None
    return f"the token of {token.name} expired at {token.expires_at:%Y-%m-%d %H:%M} UTC."


def _token(document: Applied) -> Token:
    body = document.body
    model, expires_at = body.get("model"), body.get("expires_at")
    return Token(
        name=document.name,
        person=str(body.get("person") or document.name),
        role=Role[str(body["role"]).upper()],
        model=None if model is None else str(model),
        given_by=document.actor,
        given_at=document.at,
        expires_at=None if expires_at is None else datetime.fromisoformat(str(expires_at)),
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
