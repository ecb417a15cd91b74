"""What the fleet needs from the process supervisor. `services/host` has it; `flows.wiring` hands it in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sluicegate.registry.words.program import Program, ProgramState


class Programs(Protocol):
    """Long-lived processes by name."""

    def add(self, program: Program) -> None:
        """Run this program from now on. One that already runs just so is left alone."""
        ...

    def remove(self, name: str) -> None:
        """End the program's whole process tree and forget it. Nothing happens when it is not there."""
        ...

    def running(self) -> Sequence[ProgramState]:
        """Every program there is. Raises Unreachable."""
        ...
