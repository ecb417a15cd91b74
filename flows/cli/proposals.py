"""proposal list, approve, reject: changes that wait for a second named person."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, emit_rows
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.rollouts import Reason

Id = Annotated[str, Parameter(help="The proposal, as sluice proposal list shows it.")]


def list_(
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=(), help="Also list those that are closed.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List what waits for a second named person, because it changes what a protected variation serves."""
    emit_rows(
        call("GET", "/api/v1/proposals", query={"all": "1" if all_ else None})["proposals"], output,
        ("ID", "CHANGES", "ASKED BY", "ASKS FOR", "STATE"),
        lambda each: (
            each["id"], ", ".join(each["targets"]), each["asked_by"], each["says"],
            f"{each['state']} by {each['closed_by']}" if each["closed_by"] else each["state"],
        ),
        none="nothing waits for a second person",
    )  # fmt: skip


def approve(proposal: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Carry out a change that somebody else asked for. Refused if the change would do something else by now."""
    _decide(proposal, "approve", reason, output)


def reject(proposal: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Reject a proposal, so that it is not carried out: your own, or, as an approver, anybody's."""
    _decide(proposal, "reject", reason, output)


def _decide(proposal: str, act: str, reason: str, output: Format) -> None:
    done = call("POST", f"/api/v1/proposals/{segment(proposal)}/{act}", {"reason": reason})
    text = f"proposal {done['id']} of {done['asked_by']}: {done['state']} by {done['closed_by']}"
    emit(done, output, table=text)
