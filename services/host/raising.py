"""Raises the stack: starts parts in the order of their dependencies, waits until each is ready, and reports
progress."""

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
"""The number of starts without becoming ready after which a program has failed."""


class Mark(StrEnum):
    """The kind of a line of progress."""

    STARTING = "starting"
    READY = "ready"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of progress."""

    mark: Mark
    name: str
    seconds: float = 0.0
    text: str = ""


OnProgress = Callable[[Progress], None]


class Step(Protocol):
    """Work between the starts of programs, such as registering deployments."""

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> tuple[str, ...]: ...

    def begin(self) -> None:
        """Start it; returns at once."""
        ...

    def is_done(self) -> bool:
        """Whether it is done. Raises ServiceFailed if it has failed."""
        ...

    def cancel(self) -> None:
        """Stop it if it has begun and is not done."""
        ...


class Runs(Protocol):
    """The part of the supervisor that raising needs."""

    def add(self, program: Program) -> None: ...

    def running(self) -> tuple[ProgramState, ...]: ...


def raise_stack(
    runs: Runs, parts: Sequence[Part], steps: Sequence[Step], on_progress: OnProgress, *, seconds: float
) -> None:
    """Start all parts and steps in the order of their `after`, and return when all are ready.

    Raises ServiceFailed with the end of a log if a part keeps ending, and TimedOut if one is not ready in time.
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
    """Tracks which parts and steps have begun and which are ready."""

    def __init__(self, runs: Runs, parts: Sequence[Part], steps: Sequence[Step], on_progress: OnProgress) -> None:
        self._runs = runs
        self._all: tuple[Part | Step, ...] = (*parts, *steps)
        self._on_progress = on_progress
        self._begun: dict[str, float] = {}
        self._ready: set[str] = set()
        self._starts: dict[str, set[datetime | None]] = {}

    def missing(self) -> set[str]:
        """Names of the parts and steps that are not ready."""
        return {each.name for each in self._all} - self._ready

    def begin_what_may(self) -> None:
        """Begin all parts and steps whose dependencies are ready."""
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
        """Check which parts and steps have become ready."""
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
