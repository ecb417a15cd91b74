"""Expiries: which of the console's tokens expire soon, for the doctor and for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.services.console.tokens import Token
    from sluicegate.services.host.doctor.finding import Finding

SOON = timedelta(days=14)


def expiries(tokens: Sequence[Token], now: datetime) -> dict[str, float]:
    """Seconds until each token expires, by name; negative if it has expired. Tokens without an expiry are left out."""
    return {token.name: (token.expires_at - now).total_seconds() for token in tokens if token.expires_at is not None}


def token_finding(tokens: Sequence[Token], now: datetime) -> Finding:
    """Whether a token has expired or will soon."""
    from sluicegate.services.host.doctor.finding import passed, warned

    soon = [token for token in tokens if token.expires_at is not None and token.expires_at - now <= SOON]
    if not soon:
        summary = f"none of {len(tokens)} expires within {SOON.days} days" if tokens else "only the admin has one"
        return passed("tokens", summary)
    expiring = "; ".join(f"{_expiry_text(token, now)}" for token in soon)
    fix = (
        "Revoke tokens that nobody needs: sluice token revoke NAME. Replace the others: sluice token give NAME "
        "--role ROLE"
    )
    return warned("tokens", expiring, fix)


def _expiry_text(token: Token, now: datetime) -> str:
    verb = "expired" if token.is_expired(now) else "expires"
    return f"the token of {token.name} {verb} at {token.expires_at:%Y-%m-%d %H:%M} UTC"
