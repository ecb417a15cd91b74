"""The one process supervisor: supervisor 4.3, its programs added and removed while it runs.

What it promises, each with a test in tests/integration/test_host_supervisor.py:

- `add` is idempotent: a program that runs as defined is left alone, one that was changed is restarted.
- `remove` returns when no process of the program is left, descendants in sessions of their own included.
- A program never runs twice: what is left of it from a dead supervisor is adopted where it runs as defined, else ended
  before the start.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psutil

from sluicegate.registry.words.errors import ServiceFailed, TimedOut, Unreachable
from sluicegate.registry.words.program import Condition, Program, ProgramState
from sluicegate.services import durable
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.parts import Handover
from sluicegate.services.host.programs import identity
from sluicegate.services.host.programs.definitions import RESERVED, Definitions
from sluicegate.services.host.programs.identity import PROGRAM, TOKEN
from sluicegate.services.host.programs.rpc import Faulted, Rpc

_START_SECONDS = 30.0
_LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.02
_CONDITIONS: Mapping[int, Condition] = {
    0: Condition.STOPPED,
    10: Condition.STARTING,
    20: Condition.RUNNING,
    30: Condition.RETRYING,
    40: Condition.STOPPING,
    100: Condition.RETRYING,  # EXITED: it is started again at once
    200: Condition.FAILED,
    1000: Condition.FAILED,
}
_ACTIVE = (Condition.STARTING, Condition.RUNNING, Condition.RETRYING)


def _at_work_on(state: ProgramState) -> ProgramState:
    if state.condition is not Condition.STOPPED:
        return state
    return replace(state, condition=Condition.STARTING if state.since is None else Condition.STOPPING)


class Supervisor:
    """The supervisor of one state folder. Any number of processes may hold one and use it."""

    def __init__(self, folder: StateFolder, token: str) -> None:
        self._folder = folder
        self._token = token
        self.definitions = Definitions(folder)
        self._rpc = Rpc(folder.socket)

    def pid(self) -> int | None:
        """The supervisor's process; None when it does not answer."""
        try:
            return int(self._rpc.call("getPID"))
        except Unreachable:
            return None

    def start(self, environment: Mapping[str, str]) -> bool:
        """Start the supervisor with just this environment; False when it already answers.

        It starts empty: programs come by `add` or `revive`. Raises ServiceFailed.
        """
        if self.pid() is not None:
            return False
        identity.end(self.processes().get(RESERVED, []), grace=2.0)
        durable.replace(self._folder.run / "supervisord.conf", self.definitions.main_section(), mode=durable.PRIVATE)
        command = (sys.executable, "-I", "-m", "supervisor.supervisord", "-c", "supervisord.conf")
        subprocess.run(
            command,
            cwd=self._folder.run,
            env={**environment, TOKEN: self._token, PROGRAM: RESERVED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._folder.log(RESERVED).open("ab"),
            start_new_session=True,
            check=False,
        )
        self._wait_until_it_answers()
        return True

    def add(self, program: Program) -> None:
        """Run this program from now on. One that already runs just so is left alone."""
        with self._mutating():
            state, digest = self._states().get(program.name), self.definitions.digest(program)
            is_active = state is not None and state.condition in _ACTIVE
            if is_active and self._digest(program.name) == digest:
                return
            if state is not None and (is_active or self._recorded_digest(program.name) != digest):
                self._end(program.name)
            self.definitions.write(program)
            self._begin(program.name)

    def revive(self, name: str) -> None:
        """Run a program as its files define it; one that outlived a supervisor and runs just so is adopted."""
        with self._mutating():
            state = self._states().get(name)
            if state is None or state.condition not in _ACTIVE:
                self._begin(name)

    def hand_over(self, program: Program, handover: Handover, environment: Mapping[str, str]) -> bool:
        """Have a changed program take over from the one that runs, which stays until its successor serves.

        False when none runs, or it runs just so. Raises TimedOut when the successor does not serve; all is as before.
        """
        with self._mutating():
            former = self.processes().get(program.name, [])
            if not former or self._recorded_digest(program.name) in (None, self.definitions.digest(program)):
                return False
            record = self.definitions.record(program.name)
            known = record.read_text()
            self.definitions.write(program)
            handover.step_aside()
            successor = self._spawn(program.name, environment)
            if not self._wait(lambda: successor.poll() is None and handover.is_ready(), seconds=_START_SECONDS):
                identity.end(identity.tree(successor.pid), grace=2.0)
                handover.step_back()
                durable.replace(record, known, mode=durable.PRIVATE)
                raise TimedOut(
                    f"the new {program.name} does not answer; the former one keeps running.", fix="read its log."
                )
            handover.drain([process.pid for process in former], successor.pid)
            with contextlib.suppress(Faulted):
                self._rpc.call("stopProcess", program.name, True)
            identity.end(former, grace=self.definitions.stop_seconds(program.name))
            self._start(program.name)
            handover.done()
            return True

    def remove(self, name: str) -> None:
        """End the program's whole process tree and forget it. Nothing happens when it is not there."""
        with self._mutating():
            self._end(name)
            self.definitions.remove(name)

    def running(self) -> tuple[ProgramState, ...]:
        """Every program the supervisor has, by name. Raises Unreachable."""
        return tuple(sorted(self._states().values(), key=lambda state: state.name))

    def standing(self) -> tuple[ProgramState, ...]:
        """The same, for people: what is STOPPED only because somebody is at work on it right now is told as such.

        A program is STOPPED for a moment before it starts and before it is removed, while whoever does it holds the
        lock of programs. One that is STOPPED while nobody holds it will stay so. Raises Unreachable.
        """
        states = self.running()
        if all(state.condition is not Condition.STOPPED for state in states):
            return states
        try:
            with self._folder.locked("programs", seconds=0.0):
                return self.running()
        except TimedOut:
            return tuple(_at_work_on(state) for state in states)

    def stop(self) -> None:
        """End every program, the supervisor, and whatever else is left of this state folder."""
        with self._mutating():
            states = self._states(missing_ok=True).values()
            known = [process for state in states if state.pid for process in identity.tree(state.pid)]
            with contextlib.suppress(Unreachable):
                self._rpc.call("stopAllProcesses", False)
                self._wait(lambda: all(state.pid is None for state in self.running()), seconds=self._longest_stop())
            self._end_supervisor()
            self._end_all([*known, *(process for group in self.processes().values() for process in group)])
            for name in self.definitions.names():
                self.definitions.remove(name)

    def sweep(self) -> tuple[str, ...]:
        """End what an earlier supervisor left of programs that this one does not have; returns their names."""
        with self._mutating():
            mine = {*self._states(), RESERVED}
            strays = {name: group for name, group in self.processes().items() if name not in mine}
            self._end_all([process for group in strays.values() for process in group])
            return tuple(sorted(strays))

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every live process of this state folder, by program; the supervisor's own under `supervisord`."""
        return identity.ours(self._token, self._folder.records)

    def adopts(self, name: str) -> bool:
        """Whether a process that lives runs the program just as its files define it."""
        return self._recorded_digest(name) == self.definitions.stored_digest(name) is not None

    def _digest(self, name: str) -> str | None:
        """Of the definition that its process was started with, or will read in a moment."""
        return self._recorded_digest(name) or self.definitions.stored_digest(name)

    def _recorded_digest(self, name: str) -> str | None:
        """Of the definition that the live process was started with; None where none lives."""
        record = identity.read_record(self.definitions.record(name))
        return record.digest if record is not None and record.process() is not None else None

    def _begin(self, name: str) -> None:
        if not self.adopts(name):
            identity.end(self.processes().get(name, []), grace=self.definitions.stop_seconds(name))
        self._start(name)

    def _start(self, name: str) -> None:
        self._rpc.call("reloadConfig")
        with contextlib.suppress(Faulted):
            self._rpc.call("addProcessGroup", name)
        self._rpc.call("startProcess", name, False)

    def _end(self, name: str) -> None:
        state = self._states(missing_ok=True).get(name)
        known = identity.tree(state.pid) if state and state.pid else []
        if state is not None:
            self._wait(lambda: self._is_ending(name), seconds=self.definitions.stop_seconds(name) + 5.0)
            self._rpc.call("removeProcessGroup", name)
        self._end_all([*known, *self.processes().get(name, [])])

    def _spawn(self, name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a program beside the supervisor, which adopts it later."""
        return subprocess.Popen(
            self.definitions.command(name),
            env={**environment, TOKEN: self._token, PROGRAM: name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
        )

    def _is_ending(self, name: str) -> bool:
        """Ask again while it is active: one that has just ended by itself would be started again."""
        state = self._states().get(name)
        if state is not None and state.condition in _ACTIVE:
            with contextlib.suppress(Faulted):
                self._rpc.call("stopProcess", name, False)
        return state is None or state.condition in (Condition.STOPPED, Condition.FAILED)

    def _end_all(self, processes: list[psutil.Process]) -> None:
        identity.end(list({process.pid: process for process in processes}.values()), grace=2.0)

    def _end_supervisor(self) -> None:
        pid = self.pid()
        own = [process for process in self.processes().get(RESERVED, []) if process.pid == pid]
        with contextlib.suppress(Unreachable, Faulted):
            self._rpc.call("shutdown")
        identity.wait_gone(own, seconds=10.0)

    def _states(self, *, missing_ok: bool = False) -> dict[str, ProgramState]:
        try:
            infos = self._rpc.call("getAllProcessInfo")
        except Unreachable:
            if missing_ok:
                return {}
            raise
        return {info["name"]: self._state(info) for info in infos}

    def _state(self, info: Mapping[str, Any]) -> ProgramState:
        condition = _CONDITIONS[info["state"]]
        began = info["start"] if condition in (Condition.STARTING, Condition.RUNNING) else info["stop"]
        return ProgramState(
            name=info["name"],
            condition=condition,
            pid=info["pid"] or None,
            since=datetime.fromtimestamp(began, UTC) if began else None,
            log=self.definitions.log(info["name"]),
        )

    def _longest_stop(self) -> float:
        return 5.0 + max((self.definitions.stop_seconds(name) for name in self.definitions.names()), default=0.0)

    def _wait(self, is_true: Callable[[], bool], *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _wait_until_it_answers(self) -> None:
        if not self._wait(lambda: self.pid() is not None, seconds=_START_SECONDS):
            log = self._folder.log(RESERVED)
            raise ServiceFailed(
                f"the process supervisor did not start within {_START_SECONDS:.0f} s.", fix=f"Look into {log}."
            )

    @contextlib.contextmanager
    def _mutating(self) -> Iterator[None]:
        with self._folder.locked("programs", seconds=_LOCK_SECONDS):
            yield
