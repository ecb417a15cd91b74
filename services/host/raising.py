"""Raising the stack: start what may be started, look until each part answers, say what happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sluicegate.registry.words.errors import ServiceFailed, TimedOut
from sluicegate.registry.words.program import Condition, Program, ProgramState
from sluicegate.services.host.parts import Part
from sluicegate.services.host.wire import is_ready

TAIL_LINES = 20
_POLL_SECONDS = 0.1
_PROBE_SECONDS = 2.0
_STARTS_BEFORE_GIVING_UP = 4
"""A program that ended this often before it answered will not get better by waiting."""


class Mark(StrEnum):
    """What is said about a part."""

    STARTING = "starting"
    READY = "ready"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of what happens."""

    mark: Mark
    name: str
    seconds: float = 0.0
    text: str = ""


OnProgress = Callable[[Progress], None]


class Step(Protocol):
    """Something that is not a program but takes its turn among them, such as registering deployments."""

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> tuple[str, ...]: ...

    def begin(self) -> None:
        """Start it; returns at once."""
        ...

    def is_done(self) -> bool:
        """Whether it has been done. Raises ServiceFailed when it cannot be."""
        ...

    def cancel(self) -> None:
        """End it when it has begun and is not done."""
        ...


class Runs(Protocol):
    """What raising needs of the supervisor."""

    def add(self, program: Program) -> None: ...

    def running(self) -> tuple[ProgramState, ...]: ...


def raise_stack(
    runs: Runs, parts: Sequence[Part], steps: Sequence[Step], on_progress: OnProgress, *, seconds: float
) -> None:
    """Start every part and step in the order their `after` asks for, and return when all are ready.

    Raises ServiceFailed with the tail of a log when a part keeps ending, TimedOut when one does not answer in time.
    """
    deadline, raising = time.monotonic() + seconds, _Raising(runs, parts, steps, on_progress)
    try:
        while missing := raising.missing():
            if time.monotonic() > deadline:
                raise TimedOut(_late(missing, parts, seconds), fix=_LATE_FIX)
            raising.begin_what_may()
            raising.look()
            if raising.missing():
                time.sleep(_POLL_SECONDS)
    finally:
        for step in steps:
            if step.name in raising.missing():
                step.cancel()


_LATE_FIX = "Read the log. `sluice up` continues from here, `sluice down` stops what was started."


class _Raising:
    """What has begun, and what is ready."""

    def __init__(self, runs: Runs, parts: Sequence[Part], steps: Sequence[Step], on_progress: OnProgress) -> None:
        self._runs = runs
        self._all: tuple[Part | Step, ...] = (*parts, *steps)
        self._on_progress = on_progress
        self._begun: dict[str, float] = {}
        self._ready: set[str] = set()
        self._starts: dict[str, set[datetime | None]] = {}

    def missing(self) -> set[str]:
        """Names of what is not ready."""
        return {each.name for each in self._all} - self._ready

    def begin_what_may(self) -> None:
        """Begin whatever waits for nothing."""
        for each in self._all:
            if each.name in self._begun or set(each.after) & self.missing():
                continue
            if isinstance(each, Part):
                self._runs.add(each.program)
            else:
                each.begin()
            self._begun[each.name] = time.monotonic()
            self._on_progress(Progress(mark=Mark.STARTING, name=each.name))

    def look(self) -> None:
        """See what has become ready."""
        states = {state.name: state for state in self._runs.running()}
        for each in self._all:
            if each.name not in self._begun or each.name in self._ready:
                continue
            if self._answers(each, states.get(each.name)) if isinstance(each, Part) else each.is_done():
                self._ready.add(each.name)
                took = time.monotonic() - self._begun[each.name]
                self._on_progress(Progress(mark=Mark.READY, name=each.name, seconds=took))

    def _answers(self, part: Part, state: ProgramState | None) -> bool:
        if state is None:
            return False
        starts = self._starts.setdefault(part.name, set())
        if state.condition is Condition.RETRYING:
            starts.add(state.since)
        if state.condition is Condition.FAILED or len(starts) >= _STARTS_BEFORE_GIVING_UP:
            raise ServiceFailed(f"{part.name} ends again and again.\n{tail(state.log)}", fix=f"Look into {state.log}.")
        if part.probe is None:
            return state.condition is Condition.RUNNING
        lives = state.condition in (Condition.STARTING, Condition.RUNNING)
        return lives and is_ready(part.probe, seconds=_PROBE_SECONDS)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def _late(missing: set[str], parts: Sequence[Part], seconds: float) -> str:
    logs = {part.name: part.program.log for part in parts}
    tails = [f"  {name}: {logs[name]}\n{tail(logs[name])}" for name in sorted(missing) if name in logs]
    return f"not ready after {seconds:.0f} s: {', '.join(sorted(missing))}.\n" + "\n".join(tails)
