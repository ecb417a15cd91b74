"""report, explain: what a rollout did, when, why and on what evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, columns, emit, remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.tree import tree
from sluicegate.registry.words.figures import per_cent

Id = Annotated[
    str, Parameter(help="A rollout's id, or a model's name for its latest rollout.", completer=completing.rollouts)
]
File = Annotated[Path | None, Parameter(help="The file to write; by default standard output.")]
Html = Annotated[bool, Parameter(negative=(), help="Write one HTML page that loads nothing.")]


def report(rollout: Id, file: File = None, *, html: Html = False, output: Output = Format.TABLE) -> None:
    """Show a rollout's report: steps planned and done, gates with their evidence, timeline. With --html as a page."""
    answer = call("GET", f"/api/v1/rollouts/{segment(rollout)}/report", query={"html": "1" if html else None})
    if not html:
        emit(answer["report"], output, table="\n".join(_lines(answer["report"])))
    elif file is None:
        print(answer["html"])
    else:
        file.write_text(answer["html"], encoding="utf-8")
        remark(f"written: {file}")


def explain(rollout: Id, *, output: Output = Format.TABLE) -> None:
    """Explain why a rollout is where it is: each gate's inputs, interval and threshold, and what would change it."""
    explanation = call("GET", f"/api/v1/rollouts/{segment(rollout)}/explanation")
    emit(explanation, output, table="\n".join(_explained(explanation)))


def _explained(explanation: dict[str, Any]) -> Iterator[str]:
    yield f"{explanation['rollout']} is {explanation['state']}: {explanation['why']}"
    yield f"next: {explanation['next']}"
    yield from (f"errors of {arm}: {what}" for arm, what in explanation["errors"].items())
    for gate in explanation["gates"]:
        yield f"\n{gate['metric']} ({gate['kind']}): {gate['verdict']}"
        for head, key in (("why", "why"), ("inputs", "inputs"), ("interval", "interval"), ("held against", "threshold"),
                          ("would change it", "change")):  # fmt: skip
            yield f"  {head:<16} {gate[key]}"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield tree(report["rollout"])
    steps = [
        (s["number"], per_cent(s["weight"]), ", ".join(s["asks"]) or "at once", s["state"], s["why"] or None)
        for s in report["steps"]
    ]
    if steps:
        yield "\n" + columns(("STEP", "WEIGHT", "PLANNED", "DONE", "WHY"), steps)
    moments = [(m["at"][:19], per_cent(m["after"]), m["text"], m["actor"], m["why"]) for m in report["timeline"]]
    yield "\n" + columns(("AT", "WEIGHT", "WHAT", "BY", "WHY"), moments)
