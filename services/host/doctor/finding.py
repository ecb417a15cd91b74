"""Finding: what one check of the doctor says, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """What a check found."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    PENDING = "pending"
    """It has not answered yet."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor."""

    check: str
    status: CheckStatus
    found: str
    fix: str | None = None


def passed(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, status=CheckStatus.PASS, found=found)


def pending(check: str) -> Finding:
    """Not known yet."""
    return Finding(check=check, status=CheckStatus.PENDING, found="no answer yet")


def warned(check: str, found: str, fix: str) -> Finding:
    """It works, but not as it should or not for long."""
    return Finding(check=check, status=CheckStatus.WARN, found=found, fix=fix)


def failed(check: str, found: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check=check, status=CheckStatus.FAIL, found=found, fix=fix)
