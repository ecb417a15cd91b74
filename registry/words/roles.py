"""Roles: what whoever gives an order may do, the same through every door. Pure."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """What somebody may do. From the viewer on, each may do what the ones before it may, but read captures."""

    GATEWAY = -1
    """Fetch routes for one gateway, that of the token's name, and send its log. Nothing else."""
    REPORTER = 0
    """Send outcomes; no reading."""
    VIEWER = 1
    """Read."""
    ANALYST = 2
    """Also read captured requests and answers, which are personal data. Besides this role only an admin can."""
    OPERATOR = 3
    """Start, pause, resume, abort, roll back, apply documents, report outcomes."""
    APPROVER = 4
    """Approve steps, promote, override failures, and change who gets which variation."""
    ADMIN = 5
    """Create and revoke tokens, override freezes."""

    @property
    def title(self) -> str:
        return self.name.lower()

    def may(self, needed: Role) -> bool:
        """Whether this role does what the needed one does. Who operates may report; who reads may not."""
        match needed:
            case Role.GATEWAY:
                return self is needed
            case Role.REPORTER:
                return self >= Role.OPERATOR or self is needed
            case Role.ANALYST:
                return self in (Role.ANALYST, Role.ADMIN)
            case _:
                return self >= needed
