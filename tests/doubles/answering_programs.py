"""Programs that answer as a build's service does, in threads: for tests of the fleet that need no model."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.program import Condition, Program, ProgramState
from sluicegate.services.bento.service_record import _start_ticks
from tests.doubles.answering import Answering, Mode, at_socket


class AnsweringPrograms:
    """What the fleet asks of the process supervisor. `mode` is how programs behave that are added from now on."""

    def __init__(self) -> None:
        self.mode = Mode.READY
        self.is_away = False
        self._programs: dict[str, tuple[Program, Answering, Mode]] = {}

    def add(self, program: Program) -> None:
        self._reach()
        if program.name in self._programs:
            return
        socket = Path(program.command[3])
        replica = at_socket(str(socket))
        replica.is_refusing = self.mode is Mode.REFUSING
        if self.mode in (Mode.READY, Mode.REFUSING):
            replica.open()
            sign = {"pid": os.getpid(), "ticks": _start_ticks(os.getpid()), "file": socket.stat().st_ino}
            (program.cwd / "socket.json").write_text(json.dumps(sign))
        if self.mode is Mode.GIVEN_UP:
            Path(program.env["BENTO_LOAD_FAILURES"]).write_text("ValueError: no such file\n" * 2)
        self._programs[program.name] = (program, replica, self.mode)

    def remove(self, name: str) -> None:
        self._reach()
        if name in self._programs:
            self._programs.pop(name)[1].close()

    def running(self) -> tuple[ProgramState, ...]:
        self._reach()
        return tuple(
            ProgramState(
                name=name,
                condition=Condition.FAILED if mode is Mode.GIVEN_UP else Condition.RUNNING,
                pid=None if mode is Mode.GIVEN_UP else os.getpid(),
                since=datetime.now(UTC),
                log=program.log,
            )
            for name, (program, _, mode) in sorted(self._programs.items())
        )

    def replica(self, address: str) -> Answering:
        """The one that answers there."""
        return next(replica for program, replica, _ in self._programs.values() if program.command[3] == address)

    def close(self) -> None:
        for _, replica, _ in self._programs.values():
            replica.close()

    def _reach(self) -> None:
        if self.is_away:
            raise Unreachable("the supervisor does not answer.")
