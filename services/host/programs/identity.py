"""Identifies our processes by a token in their environment, or by pid and start time; never by name.

Every program and all its descendants inherit `SLUICE_STATE_TOKEN`, one for each state folder, and `SLUICE_PROGRAM`. A
process that overwrites its environment is still identified by the record that it wrote when it started
(services/host/programs/launch.py), and so are its children, whatever their session.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluicegate.services.host.programs.launch import boot_id, start_ticks

TOKEN = "SLUICE_STATE_TOKEN"  # noqa: S105
PROGRAM = "SLUICE_PROGRAM"
_AFTER_KILL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """The identity that a program recorded before it executed its command."""

    pid: int
    ticks: int | None
    boot: str
    began: float
    """When it started, on the clock of intervals."""
    digest: str
    """The digest of the definition with which it was started."""

    def process(self) -> psutil.Process | None:
        """The live process of this record; None if it has ended, even if its pid has been reused."""
        if self.boot != boot_id() or self.ticks is None or start_ticks(self.pid) != self.ticks:
            return None
        try:
            return _if_alive(psutil.Process(self.pid))
        except psutil.NoSuchProcess:
            return None


def read_record(path: Path) -> Record | None:
    """The record in this file; None if there is none, or if it cannot be read."""
    try:
        fields = json.loads(path.read_text())
        return Record(**{name: fields[name] for name in ("pid", "ticks", "boot", "began", "digest")})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ours(token: str, records: Path) -> dict[str, list[psutil.Process]]:
    """Every live process of this state folder, by its program, without the calling process."""
    by_program: dict[str, dict[int, psutil.Process]] = {}
    for process in psutil.process_iter():
        if program := _program_by_token(process, token):
            by_program.setdefault(program, {})[process.pid] = process
    for path in records.glob("[!.]*"):
        record = read_record(path)
        recorded = record.process() if record else None
        if recorded is not None and recorded.pid != os.getpid():
            by_program.setdefault(path.name, {})[recorded.pid] = recorded
    claimed = {pid for by_pid in by_program.values() for pid in by_pid}
    return {program: _with_children(by_pid.values(), but=claimed) for program, by_pid in by_program.items()}


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants, whatever their session; empty if it has ended."""
    try:
        return _with_children([psutil.Process(pid)])
    except psutil.NoSuchProcess:
        return []


def end(processes: Sequence[psutil.Process], *, grace: float) -> None:
    """Terminate each process, then kill those left after `grace` seconds. A reused pid is never signalled."""
    for process in processes:
        _signal(process, kill=False)
    left = wait_gone(processes, seconds=grace)
    for process in left:
        _signal(process, kill=True)
    wait_gone(left, seconds=_AFTER_KILL_SECONDS)


def wait_gone(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended; returns those that are left after `seconds`."""
    deadline = time.monotonic() + seconds
    left = alive(processes)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = alive(left)
    return left


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes that are still running. A zombie counts as ended."""
    return [process for process in processes if _if_alive(process) is not None]


def _if_alive(process: psutil.Process) -> psutil.Process | None:
    try:
        return process if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _program_by_token(process: psutil.Process, token: str) -> str | None:
    if process.pid == os.getpid():
        return None
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    return environment.get(PROGRAM, "unnamed") if environment.get(TOKEN) == token else None


def _with_children(parents: Iterable[psutil.Process], *, but: Collection[int] = ()) -> list[psutil.Process]:
    """The processes and their descendants, without descendants in `but`, which belong to other programs."""
    by_pid: dict[int, psutil.Process] = {}
    for parent in parents:
        by_pid[parent.pid] = parent
        try:
            children = parent.children(recursive=True)
        except psutil.NoSuchProcess:
            continue
        by_pid.update({child.pid: child for child in children if child.pid != os.getpid() and child.pid not in but})
    return alive(by_pid.values())


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
