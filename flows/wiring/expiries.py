"""Expiries: which of the console's tokens end soon, for the doctor and for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.services.console.tokens import Token
    from sluicegate.services.host.doctor.finding import Finding

SOON = timedelta(days=14)


def expiries(tokens: Sequence[Token], now: datetime) -> dict[str, float]:
    """Seconds until each token expires that ever does, by name; negative where it has."""
    return {token.name: (token.expires_at - now).total_seconds() for token in tokens if token.expires_at is not None}


def token_finding(tokens: Sequence[Token], now: datetime) -> Finding:
    """Whether a token has expired, or soon does."""
    from sluicegate.services.host.doctor.finding import passed, warned

    soon = [token for token in tokens if token.expires_at is not None and token.expires_at - now <= SOON]
    if not soon:
        found = f"none of {len(tokens)} expires within {SOON.days} days" if tokens else "none besides the admin's"
        return passed("tokens", found)
    expiring = "; ".join(f"{_told(token, now)}" for token in soon)
    fix = (
        "Revoke tokens that nobody needs: sluice token revoke NAME. Replace the others: sluice token give NAME "
        "--role ROLE"
    )
    return warned("tokens", expiring, fix)


def _told(token: Token, now: datetime) -> str:
    verb = "expired" if token.is_expired(now) else "expires"
    return f"the token of {token.name} {verb} at {token.expires_at:%Y-%m-%d %H:%M} UTC"
