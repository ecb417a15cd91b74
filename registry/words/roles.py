"""Roles: what the giver of an order may do, the same through every door. Pure."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """What somebody may do. From VIEWER on, each role includes the ones before it, except reading captures."""

    GATEWAY = -1
    """Fetch routes for the one gateway that the token names, and send its log. Nothing else."""
    REPORTER = 0
    """Send outcomes. Cannot read."""
    VIEWER = 1
    """Read."""
    ANALYST = 2
    """Also read captured requests and answers, which are personal data. Of the other roles, only admin may."""
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
        """Whether this role includes what `needed` allows. Operators may report outcomes; readers may not."""
        match needed:
            case Role.GATEWAY:
                return self is needed
            case Role.REPORTER:
                return self >= Role.OPERATOR or self is needed
            case Role.ANALYST:
                return self in (Role.ANALYST, Role.ADMIN)
            case _:
                return self >= needed
