"""Ending: the tables that the demo prints at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sluicegate.examples.flights.scene import Candidate, Scene


def show(console: Console, scene: Scene, seconds: float, *, kept: Path | None) -> None:
    """Print the decisions with time and reason, how well each build answered, what failed, and where to look."""
    if scene.candidates:
        console.print(_decisions(scene))
    if scene.replay:
        console.print(_answers(scene))
        asked, failed = scene.replay["asked"], scene.replay["failed"]
        console.print(f"{asked:,} requests, {failed} failed; {scene.replay['outcomes']:,} outcomes;", end=" ")
        console.print(f"{scene.replay['never']:,} flights were cancelled or diverted and never had one.")
        for failure in scene.replay["failures"]:
            console.print(f"  failed: {failure}", style="red", markup=False)
    if scene.went_well:
        console.print(_moral(scene), highlight=False)
    for name, url in scene.urls.items():
        console.print(f"{name:<8} {url}", highlight=False)
    if scene.urls:
        stopped = "All of it has been stopped; `sluice demo --keep` leaves it running."
        console.print(f"All of it goes on running; `SLUICE_STATE={kept} sluice down` ends it." if kept else stopped)
    if scene.trouble:
        console.print(f"The demo did not end as it should: {scene.trouble}", style="bold red", markup=False)
    else:
        console.print(f"The demo ended as it should, after {seconds:.0f} s.", style="bold green", highlight=False)


def _decisions(scene: Scene) -> Table:
    table = Table(title="What was decided", title_justify="left")
    for head in ("build", "decision", "at (UTC)", "after"):
        table.add_column(head, no_wrap=True)
    table.add_column("on what evidence", overflow="fold")
    for candidate in scene.candidates:
        table.add_row(*_decision(candidate))
    return table


def _decision(candidate: Candidate) -> tuple[str, ...]:
    view = candidate.rollout
    build = f"v{candidate.version} {candidate.name}"
    if not view:
        return build, "never asked for", "", "", ""
    ended = (view["ended_at"] or "")[11:19]
    return build, view["ending"] or view["phase"], ended, f"{view['elapsed']:.0f} s", _evidence(view)


def _evidence(view: dict[str, Any]) -> str:
    said = [view["reason"]]
    for gate in view["gates"]:
        if gate["stable"] is not None and not gate["guardrail"]:
            arms = f"v{view['stable']} {gate['stable']:.3f} over {gate['stable_n']:,}"
            arms += f", v{view['candidate']} {gate['candidate']:.3f} over {gate['candidate_n']:,}"
            said.append(f"{gate['metric']}: {arms} labelled requests; {gate['k']} looks")
    return "\n".join(said)


def _moral(scene: Scene) -> str:
    """How the builds compare over the whole stream; the gate had to decide from a part of it."""
    stable, good, bad = (scene.figures[name] for name in scene.names.values())
    return (
        f"By accuracy the build that was taken back beats the one the story began with, {bad['accuracy']:.3f} to "
        f"{stable['accuracy']:.3f}; its chances are wrong all the same: log-loss {bad['log_loss']:.3f}, "
        f"where it was to replace {good['log_loss']:.3f}."
    )


def _answers(scene: Scene) -> Table:
    table = Table(title="Who answered, and how well", title_justify="left")
    table.add_column("build", no_wrap=True)
    for head in ("requests", "labelled", "log-loss", "accuracy", "log-loss*", "accuracy*", "AUC*"):
        table.add_column(head, justify="right")
    for version, name in scene.names.items():
        told = scene.replay["builds"].get(version, {"requests": 0, "labelled": 0})
        whole = scene.figures[name]
        live = [f"{told[key]:.3f}" if key in told else "-" for key in ("log_loss", "accuracy")]
        rest = [f"{whole[key]:.3f}" for key in ("log_loss", "accuracy", "auc")]
        table.add_row(f"v{version} {name}", f"{told['requests']:,}", f"{told['labelled']:,}", *live, *rest)
    table.caption = "* had this build answered every flight of July and August"
    return table
