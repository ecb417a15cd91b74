"""Raising the stack: start what may be started, look until each part answers, say what happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


Say = Callable[[Progress], None]


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


@dataclass(kw_only=True)
class _Open:
    """What is still to become ready."""

    begun: dict[str, float] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    starts: dict[str, set[datetime | None]] = field(default_factory=dict)


def raise_stack(runs: Runs, parts: Sequence[Part], steps: Sequence[Step], say: Say, *, seconds: float) -> None:
    """Start every part and step in the order their `after` asks for, and return when all are ready.

    Raises ServiceFailed with the tail of a log when a part keeps ending, TimedOut when one does not answer in time.
    """
    deadline, now = time.monotonic() + seconds, _Open()
    names = {part.name for part in parts} | {step.name for step in steps}
    try:
        while now.ready != names:
            if time.monotonic() > deadline:
                raise TimedOut(_late(names - now.ready, parts, seconds), fix=_LATE_FIX)
            _begin_what_may(runs, parts, steps, now, names, say)
            _look(runs, parts, steps, now, say)
            if now.ready != names:
                time.sleep(_POLL_SECONDS)
    finally:
        for step in steps:
            if step.name not in now.ready:
                step.cancel()


_LATE_FIX = "Look into the log; `sluice up` goes on from here, `sluice down` stops what was started."


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def _begin_what_may(
    runs: Runs, parts: Sequence[Part], steps: Sequence[Step], now: _Open, names: set[str], say: Say
) -> None:
    every: tuple[Part | Step, ...] = (*parts, *steps)
    for each in every:
        waits_for = set(each.after) & names - now.ready
        if each.name in now.begun or waits_for:
            continue
        if isinstance(each, Part):
            runs.add(each.program)
        else:
            each.begin()
        now.begun[each.name] = time.monotonic()
        say(Progress(mark=Mark.STARTING, name=each.name))


def _look(runs: Runs, parts: Sequence[Part], steps: Sequence[Step], now: _Open, say: Say) -> None:
    states = {state.name: state for state in runs.running()}
    for part in parts:
        if part.name in now.begun and part.name not in now.ready and _answers(part, states.get(part.name), now):
            _mark_ready(part.name, now, say)
    for step in steps:
        if step.name in now.begun and step.name not in now.ready and step.is_done():
            _mark_ready(step.name, now, say)


def _mark_ready(name: str, now: _Open, say: Say) -> None:
    now.ready.add(name)
    say(Progress(mark=Mark.READY, name=name, seconds=time.monotonic() - now.begun[name]))


def _answers(part: Part, state: ProgramState | None, now: _Open) -> bool:
    if state is None:
        return False
    if state.condition is Condition.RETRYING:
        now.starts.setdefault(part.name, set()).add(state.since)
    if state.condition is Condition.FAILED or len(now.starts.get(part.name, ())) >= _STARTS_BEFORE_GIVING_UP:
        raise ServiceFailed(f"{part.name} keeps ending.\n{tail(state.log)}", fix=f"Look into {state.log}.")
    if part.probe is None:
        return state.condition is Condition.RUNNING
    return state.condition in (Condition.STARTING, Condition.RUNNING) and is_ready(part.probe, seconds=_PROBE_SECONDS)


def _late(missing: set[str], parts: Sequence[Part], seconds: float) -> str:
    logs = {part.name: part.program.log for part in parts}
    told = [f"  {name}: {logs[name]}\n{tail(logs[name])}" for name in sorted(missing) if name in logs]
    return f"not ready after {seconds:.0f} s: {', '.join(sorted(missing))}.\n" + "\n".join(told)
