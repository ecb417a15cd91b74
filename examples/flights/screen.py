"""Screen: shows the scene. On a terminal it redraws in place; elsewhere it prints a line at each change."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sluicegate.examples.flights.scene import Act, Candidate, Mark, Scene

SIGNS = {Mark.WAITING: "·", Mark.UNDER_WAY: "▸", Mark.DONE: "✓", Mark.FAILED: "✗"}
COLOURS = {"PASS": "green", "OK": "green", "FAIL": "red", "UNDECIDED": "yellow", "NO DATA": "dim"}
QUIET = 10.0
"""Seconds between lines about the replay where nothing is redrawn."""


class Screen:
    """Draws the scene; call `show` often."""

    def __init__(self, console: Console) -> None:
        self._began = time.monotonic()
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._said: set[str] = set()
        self._spoke = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        """Draw the scene as it is now."""
        if self._live is not None:
            self._live.update(_drawn(scene, self._began), refresh=True)
            return
        for line in _lines(scene):
            if line not in self._said:
                self._said.add(line)
                self._say(line)
        if scene.replay and time.monotonic() - self._spoke > QUIET:
            self._spoke = time.monotonic()
            self._say(f"  {_replay(scene.replay)}")

    def _say(self, line: str) -> None:
        self._console.print(
            f"[{time.monotonic() - self._began:5.1f} s] {line}", markup=False, highlight=False, soft_wrap=True
        )


def _lines(scene: Scene) -> list[str]:
    """The lines that are printed once each."""
    lines = []
    for act in scene.acts:
        lines.append(f"{SIGNS[Mark.UNDER_WAY]} {act.title}")
        lines += [f"  {note}" for note in act.notes]
        if act.mark in (Mark.DONE, Mark.FAILED):
            lines.append(f"{SIGNS[act.mark]} {act.title} ({_seconds(act):.0f} s)")
    for candidate in scene.candidates:
        view = candidate.rollout
        if view:
            gates = "  ".join(f"{gate['metric']} {gate['verdict']}" for gate in view["gates"])
            where = f"{view['ending'] or view['phase']}  weight {view['weight']:g} %"
            lines.append(f"  v{candidate.version} {candidate.name}: {where}  {gates}")
    return lines


def _drawn(scene: Scene, began: float) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble(("Sluicegate demo", "bold"), f"  {time.monotonic() - began:.0f} s  ", (_places(scene), "dim"))
    ]
    parts.append(Group(*(_act(act) for act in scene.acts)))
    for candidate in scene.candidates:
        if candidate.rollout:
            parts += [Text(), _rollout(candidate)]
    if scene.replay:
        parts += [Text(), Text(_replay(scene.replay))]
    return Group(*parts)


def _places(scene: Scene) -> str:
    return "  ".join(f"{name} {url}" for name, url in scene.urls.items())


def _act(act: Act) -> Text:
    colour = {Mark.DONE: "green", Mark.FAILED: "red"}.get(act.mark, "cyan")
    note = act.notes[-1] if act.notes and act.mark is Mark.UNDER_WAY else ""
    return Text.assemble((f"{SIGNS[act.mark]} ", colour), act.title, (f"  {_seconds(act):.0f} s  {note}", "dim"))


def _seconds(act: Act) -> float:
    return 0.0 if act.began is None else (act.ended or time.monotonic()) - act.began


def _rollout(candidate: Candidate) -> RenderableType:
    view = candidate.rollout
    state = (view["ending"] or view["phase"]).upper()
    colour = {"PROMOTED": "bold green", "ABORTED": "bold red"}.get(state, "bold")
    seen = f"{view['observed_weight']:.1f} %" if view["observed_weight"] is not None else "-"
    lines = [
        Text.assemble(
            (f"v{candidate.version} {candidate.name}  ", "bold"),
            (state, colour),
            f"  step {view['step']}/{view['steps']}  weight {view['weight']:g} % set, {seen} seen  ",
            _bar(view["weight"]),
        )
    ]
    lines += [_gate(gate) for gate in view["gates"]]
    lines.append(Text(f"   {view['reason']}", style="dim"))
    return Group(*lines)


def _bar(weight: float, width: int = 20) -> str:
    full = round(weight / 100 * width)
    return "█" * full + "░" * (width - full)


def _gate(gate: dict[str, Any]) -> Text:
    kind = "guard" if gate["guardrail"] else "gate"
    verdict = (f"{gate['verdict']:<10}", COLOURS.get(gate["verdict"], ""))
    return Text.assemble(f"   {kind:<5} {gate['metric']:<9} ", verdict, gate["reason"])


def _replay(said: dict[str, Any]) -> str:
    if not said.get("clock"):
        return "replay: nobody has left yet"
    when = datetime.fromtimestamp(said["clock"], UTC).strftime("%-d %B %Y, %H:%M")
    served = "  ".join(f"v{build} {told['requests']:,}" for build, told in said["builds"].items())
    pace = f"{said['per_second']}/s" if "per_second" in said else "ended"
    took = f"p50 {said['p50_ms']} ms, p99 {said['p99_ms']} ms" if "p50_ms" in said else ""
    return (
        f"replay: {when}  {pace}  {said['asked']:,} asked, {said['failed']} failed  "
        f"{said['outcomes']:,} landed  answered by {served}  {took}"
    )
