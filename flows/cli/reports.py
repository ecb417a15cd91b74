"""report, explain: what a rollout did, when, why and on what evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, columns, emit, say
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.tree import tree

Id = Annotated[
    str, Parameter(help="A rollout's id, or a model's name for its latest rollout.", completer=completing.rollouts)
]
File = Annotated[Path | None, Parameter(help="Where the page is written; without it, to standard output.")]
Html = Annotated[bool, Parameter(negative=(), help="One HTML page that needs nothing from outside.")]


def report(rollout: Id, file: File = None, *, html: Html = False, output: Output = Format.TABLE) -> None:
    """Show a rollout's report: steps planned and done, gates with their evidence, timeline. With --html as a page."""
    found = call("GET", f"/api/v1/rollouts/{segment(rollout)}/report", query={"html": "1" if html else None})
    if not html:
        emit(found["report"], output, table="\n".join(_lines(found["report"])))
    elif file is None:
        print(found["html"])
    else:
        file.write_text(found["html"], encoding="utf-8")
        say(f"written: {file}")


def explain(rollout: Id, *, output: Output = Format.TABLE) -> None:
    """Say why a rollout is where it is: each gate's inputs, interval and threshold, and what would change it."""
    told = call("GET", f"/api/v1/rollouts/{segment(rollout)}/explanation")
    emit(told, output, table="\n".join(_explained(told)))


def _explained(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['rollout']} is {told['state']}: {told['why']}"
    yield f"next: {told['next']}"
    for gate in told["gates"]:
        yield f"\n{gate['metric']} ({gate['kind']}): {gate['verdict']}"
        for head, key in (("why", "why"), ("inputs", "inputs"), ("interval", "interval"), ("held against", "threshold"),
                          ("would change it", "change")):  # fmt: skip
            yield f"  {head:<16} {gate[key]}"


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield tree(told["rollout"])
    steps = [
        (s["number"], f"{s['weight']:g}%", ", ".join(s["asks"]) or "at once", s["state"], s["why"] or None)
        for s in told["steps"]
    ]
    if steps:
        yield "\n" + columns(("STEP", "WEIGHT", "PLANNED", "DONE", "WHY"), steps)
    moments = [(m["at"][:19], f"{m['after']:g}%", m["text"], m["actor"], m["why"]) for m in told["timeline"]]
    yield "\n" + columns(("AT", "WEIGHT", "WHAT", "BY", "WHY"), moments)
