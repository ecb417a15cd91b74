"""Programs without a supervisor: the test's own children. Each is ended by its handle."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

import psutil

from sluicegate.registry.words.program import Condition, Program, ProgramState


class DirectPrograms:
    """Starts programs as children, restarts none."""

    def __init__(self) -> None:
        self._started: dict[str, tuple[Program, subprocess.Popen[bytes], datetime]] = {}

    def add(self, program: Program) -> None:
        known = self._started.get(program.name)
        if known is not None and known[0] == program and known[1].poll() is None:
            return
        self.remove(program.name)
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            process = subprocess.Popen(
                program.command,
                cwd=program.cwd,
                env={"PATH": os.environ["PATH"], **program.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started[program.name] = (program, process, datetime.now(UTC))

    def remove(self, name: str) -> None:
        if name not in self._started:
            return
        program, process, _ = self._started.pop(name)
        tree = self.tree(process)
        process.terminate()
        try:
            process.wait(program.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in tree:
            if child.is_running():
                child.kill()
        psutil.wait_procs(tree, timeout=5)

    def running(self) -> tuple[ProgramState, ...]:
        return tuple(
            ProgramState(
                name=name,
                condition=Condition.RUNNING if process.poll() is None else Condition.FAILED,
                pid=process.pid if process.poll() is None else None,
                since=since,
                log=program.log,
            )
            for name, (program, process, since) in sorted(self._started.items())
        )

    def process(self, name: str) -> subprocess.Popen[bytes]:
        return self._started[name][1]

    @staticmethod
    def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        try:
            return psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        for name in list(self._started):
            self.remove(name)
