"""Program: what the process supervisor keeps running. ProgramState: what the supervisor reports about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Program:
    """One long-lived process. Equal values mean the same program: adding one twice changes nothing."""

    name: str
    """Lower-case letters, digits, dots, dashes and underscores, such as `service_name(ref)`."""
    command: tuple[str, ...]
    """The executable and its arguments; no shell reads them. Secrets belong in `env`, never here."""
    cwd: Path
    log: Path
    """The file that takes standard output and error; the process writes to it itself, appending."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the supervisor's own small environment: PATH, HOME, the locale, and telemetry switched off."""
    stop_seconds: float = 10.0
    """How long it may take to end after SIGTERM before its whole process tree is killed."""
    settle_seconds: float = 2.0
    """A process that ends sooner than this after its start counts as a failed start; the next attempt waits longer."""
    retries: int = 1_000_000
    """How many starts in a row may fail after the first before the program is left FAILED."""


class Condition(StrEnum):
    """The state of a program. RUNNING means that the process is alive, not that it answers."""

    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"
    """It ended too soon and will be started again after a pause."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Its starts failed too often. It stays stopped until somebody starts it."""


@dataclass(frozen=True, kw_only=True)
class ProgramState:
    """What the supervisor reports about one program."""

    name: str
    condition: Condition
    pid: int | None
    """None if it has no process."""
    since: datetime | None
    """When the present condition began, in UTC."""
    log: Path
