"""Finding: the result of one check of `sluice doctor`, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """The status of a check."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    PENDING = "pending"
    """It has not answered yet."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of `sluice doctor`."""

    check: str
    status: CheckStatus
    found: str
    fix: str | None = None


def passed(check: str, found: str) -> Finding:
    """A finding that all is well."""
    return Finding(check=check, status=CheckStatus.PASS, found=found)


def pending(check: str) -> Finding:
    """A finding that a check has not answered yet."""
    return Finding(check=check, status=CheckStatus.PENDING, found="no answer yet")


def warned(check: str, found: str, fix: str) -> Finding:
    """A finding that something works, but not as it should or not for long."""
    return Finding(check=check, status=CheckStatus.WARN, found=found, fix=fix)


def failed(check: str, found: str, fix: str) -> Finding:
    """A finding that something does not work."""
    return Finding(check=check, status=CheckStatus.FAIL, found=found, fix=fix)
