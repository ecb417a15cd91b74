"""`sluice` alone: what needs you, what is in progress, what serves, and where the help is."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sluicegate.flows.cli.output import remark
from sluicegate.flows.cli.reach import call
from sluicegate.flows.cli.tree import bar
from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.words.errors import SluiceError, Unreachable
from sluicegate.registry.words.figures import per_cent
from sluicegate.registry.words.settings import Settings

View = Mapping[str, Any]
HELP = "sluice --help lists all commands, sluice COMMAND --help explains one."


def home() -> int:
    """Show what runs and what needs you."""
    try:
        rollouts = call("GET", "/api/v1/rollouts", query={"limit": "200"})["rollouts"]
        overview = call("GET", "/api/v1/overview")
        proposals = call("GET", "/api/v1/proposals")["proposals"]
    except Unreachable as error:
        print(f"Sluicegate does not run here: {error.message}\n  sluice up    starts everything on this machine\n"
              f"  sluice demo  shows a rollout from end to end\n\n{HELP}")  # fmt: skip
        return 0
    if overview["unread"]:
        remark(f"no observations at present: {overview['unread']}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = describe(rollouts, overview, proposals, is_stopped=_is_stopped())
    print("\n".join(folded(line, width) for line in lines))
    return 0


def _is_stopped() -> bool:
    """Whether this machine has an installation that does not run. False if that is unknown."""
    settings = Settings.read()
    if settings.api_url is not None or settings.ledger is not None:
        return False
    from sluicegate.flows.wiring.machine import machine

    try:
        return machine().status(datetime.now(UTC)).supervisor is None
    except SluiceError:
        return False


def folded(line: str, width: int | None) -> str:
    """Wrap a line to the terminal's width. A command stays on one line, so that it can be copied."""
    text = line.lstrip("\n")
    if width is None or len(text) <= width or text.strip().startswith("sluice "):
        return line
    indent = text[: len(text) - len(text.lstrip())]
    return line[: len(line) - len(text)] + "\n".join(textwrap.wrap(text, width, subsequent_indent=indent + "  "))


def describe(
    rollouts: Sequence[View], overview: View, proposals: Sequence[View] = (), *, is_stopped: bool = False
) -> Iterator[str]:
    """The lines of the overview: first what needs a person, then what is in progress, then what serves."""
    if is_stopped:
        yield "Nothing runs here now, so nobody is answered. To start everything: sluice up\nThe record says:\n"
    open_rollouts = [view for view in rollouts if view["ending"] is None]
    waiting = [view for view in open_rollouts if view["needs_person"] or view["held_up"]]
    others = [view for view in open_rollouts if view not in waiting]
    decisions, silences, served = overview["decisions"], overview["silences"], overview["served"]
    yield f"Needs you: {len(waiting) + len(proposals) + len(decisions) or 'nothing'}"
    for each in proposals:
        yield f"  {', '.join(each['targets'])} is protected; {each['asked_by']} asked for {each['says']}"
        yield f"    sluice proposal approve {each['id']}"
        yield f"    sluice proposal reject {each['id']}"
    for each in decisions:
        yield from _decision(each)
    for view in waiting:
        yield from _rollout(view, silences.get(view["id"]))
        yield from (f"    sluice rollout {order} {view['id']}" for order in _orders(view))
    yield f"\nIn progress: {len(others) or 'nothing'}"
    for view in others:
        yield from _rollout(view, silences.get(view["id"]))
    yield (
        ("\nServing as soon as it runs:" if is_stopped else "\nServing:")
        if served
        else "\nServing: nothing yet. To deploy a first build: sluice deploy MODEL --build 1"
    )
    targeted = {row["model"] for row in served if row["audience"] != FALLBACK}
    for row in served:
        rest = "all other requests" if row["model"] in targeted else "all requests"
        whose = rest if row["audience"] == FALLBACK else f"requests of {row['audience']}"
        yield f"  {row['model']}  v{row['build']} ({row['arm']}) answers {per_cent(row['desired'])} of {whose}"
    yield f"\n{HELP}"


def _decision(experiment: View) -> Iterator[str]:
    """An experiment whose goal is reached, and what can be done; without a command it goes on as it is."""
    variation, control = experiment["variation"], experiment["control"]
    build, name = experiment["build"], experiment["experiment"]
    yield f"  {experiment['model']}: {variation} (v{build}) reached the goal of {name}"
    yield f"    {experiment['reason']}"
    yield f"    to give {control} the build of {variation}:"
    yield f"    sluice rollout promote {experiment['rollout']}"
    if not experiment["is_over"]:
        yield "    to end it without a change:"
        yield f"    sluice experiment end {name}"


def _rollout(view: View, silence: str | None) -> Iterator[str]:
    origin = f"v{view['stable']} -> " if view["stable"] else ""
    step = f", step {view['step']} of {view['steps']}" if view["step"] else ""
    yield f"  {view['model']} {origin}v{view['candidate']}  {view['strategy']} {view['phase']}{step}  [{view['id']}]"
    if view["strategy"] != "shadow" and view["weight"]:
        yield f"    {bar(view['weight'])} {per_cent(view['weight'])} of requests to v{view['candidate']}"
    paused = f"paused by {view['actor']}: {view['reason']}" if view["phase"] == "paused" else None
    hindrance = view["held_up"] or view["blind"] or view["no_driver"]
    yield f"    {hindrance or paused or view['waits_for'] or view['reason']}"
    if silence is not None:
        yield f"    {silence}"


def _orders(view: View) -> tuple[str, ...]:
    """What a person may do about it; what is held up or finds harm after its promotion can only be aborted."""
    if view["phase"] == "paused":
        return "resume", "abort"
    return ("approve", "abort") if view["needs_person"] and view["phase"] != "confirming" else ("abort",)
