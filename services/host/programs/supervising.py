"""The process supervisor: supervisor 4.3, whose programs are added and removed while it runs.

Its guarantees, each with a test in tests/integration/test_host_supervisor.py:

- `add` is idempotent: a program that runs as defined is left alone, and a changed one is restarted.
- `remove` returns when no process of the program is left, including descendants in sessions of their own.
- A program never runs twice: a process left by a dead supervisor is adopted if it runs as defined, and otherwise ended
  before the program is started.
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
    100: Condition.RETRYING,  # EXITED: supervisor restarts it at once
    200: Condition.FAILED,
    1000: Condition.FAILED,
}
_ACTIVE = (Condition.STARTING, Condition.RUNNING, Condition.RETRYING)


def _at_work_on(state: ProgramState) -> ProgramState:
    if state.condition is not Condition.STOPPED:
        return state
    return replace(state, condition=Condition.STARTING if state.since is None else Condition.STOPPING)


class Supervisor:
    """The supervisor of one state folder. Any number of processes may use it."""

    def __init__(self, folder: StateFolder, token: str) -> None:
        self._folder = folder
        self._token = token
        self.definitions = Definitions(folder)
        self._rpc = Rpc(folder.socket)

    def pid(self) -> int | None:
        """The supervisor's pid; None if it does not answer."""
        try:
            return int(self._rpc.call("getPID"))
        except Unreachable:
            return None

    def start(self, environment: Mapping[str, str]) -> bool:
        """Start the supervisor with exactly this environment; False if it already answers.

        It starts without programs, which are added by `add` or `revive`. Raises ServiceFailed.
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
        """Run this program from now on. If it already runs as defined, does nothing."""
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
        """Run a program as its files define it. If it has outlived a supervisor and runs as defined, it is adopted."""
        with self._mutating():
            state = self._states().get(name)
            if state is None or state.condition not in _ACTIVE:
                self._begin(name)

    def hand_over(self, program: Program, handover: Handover, environment: Mapping[str, str]) -> bool:
        """Let a changed program take over from the running one, which stays until its successor serves requests.

        False if none runs, or if it already runs as defined. Raises TimedOut if the successor does not become ready;
        then everything is as before.
        """
        with self._mutating():
            former = self.processes().get(program.name, [])
            if not former or self._recorded_digest(program.name) in (None, self.definitions.digest(program)):
                return False
            record = self.definitions.record(program.name)
            former_record = record.read_text()
            self.definitions.write(program)
            handover.step_aside()
            successor = self._spawn(program.name, environment)
            if not self._wait(lambda: successor.poll() is None and handover.is_ready(), seconds=_START_SECONDS):
                identity.end(identity.tree(successor.pid), grace=2.0)
                handover.step_back()
                durable.replace(record, former_record, mode=durable.PRIVATE)
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
        """End the program's whole process tree and delete its files, if there are any."""
        with self._mutating():
            self._end(name)
            self.definitions.remove(name)

    def running(self) -> tuple[ProgramState, ...]:
        """The states of all the supervisor's programs, sorted by name. Raises Unreachable."""
        return tuple(sorted(self._states().values(), key=lambda state: state.name))

    def standing(self) -> tuple[ProgramState, ...]:
        """The same for people: programs that are STOPPED only for a moment are shown as STARTING or STOPPING.

        A program is briefly STOPPED before it starts and before it is removed, while another process holds the lock of
        programs. A program that is STOPPED while the lock is free stays so. Raises Unreachable.
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
        """End every program, the supervisor, and all other processes of this state folder."""
        with self._mutating():
            states = self._states(missing_ok=True).values()
            trees = [process for state in states if state.pid for process in identity.tree(state.pid)]
            with contextlib.suppress(Unreachable):
                self._rpc.call("stopAllProcesses", False)
                self._wait(lambda: all(state.pid is None for state in self.running()), seconds=self._longest_stop())
            self._end_supervisor()
            self._end_all([*trees, *(process for group in self.processes().values() for process in group)])
            for name in self.definitions.names():
                self.definitions.remove(name)

    def sweep(self) -> tuple[str, ...]:
        """End processes of programs that an earlier supervisor had and this one has not; returns the programs'
        names."""
        with self._mutating():
            mine = {*self._states(), RESERVED}
            strays = {name: group for name, group in self.processes().items() if name not in mine}
            self._end_all([process for group in strays.values() for process in group])
            return tuple(sorted(strays))

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every live process of this state folder, by program; the supervisor's own is under `supervisord`."""
        return identity.ours(self._token, self._folder.records)

    def adopts(self, name: str) -> bool:
        """Whether a live process runs the program exactly as its files define it."""
        return self._recorded_digest(name) == self.definitions.stored_digest(name) is not None

    def _digest(self, name: str) -> str | None:
        """The digest of the definition that its process was started with or is about to read."""
        return self._recorded_digest(name) or self.definitions.stored_digest(name)

    def _recorded_digest(self, name: str) -> str | None:
        """The digest of the definition that the live process was started with; None if there is no such process."""
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
        tree = identity.tree(state.pid) if state and state.pid else []
        if state is not None:
            self._wait(lambda: self._is_ending(name), seconds=self.definitions.stop_seconds(name) + 5.0)
            self._rpc.call("removeProcessGroup", name)
        self._end_all([*tree, *self.processes().get(name, [])])

    def _spawn(self, name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a program without the supervisor, which adopts it later."""
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
        """Whether the program has stopped; while it is active, stops it again, since supervisor may have restarted
        it."""
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
