"""rollout start, list, show, history, pause, resume, approve, jump, promote, abort, retry."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, columns, emit, emit_rows, remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.tree import head, tree
from sluicegate.registry.words.errors import NotFound, Unreachable
from sluicegate.registry.words.figures import per_cent
from sluicegate.registry.words.units import format_duration

LOOK_SECONDS = 1.0
IN_FORCE_SECONDS = 3.0
ABORTED = 3
WAITS = 4
TIMED_OUT = 5
FAILED = 1

Reason = Annotated[str, Parameter(name=["--reason", "-m"], help="The reason, which the ledger records.")]
NotReady = Annotated[
    bool,
    Parameter(negative=(), help="Do it although no service of the candidate is ready: callers get errors or stable."),
]
Watch = Annotated[
    bool, Parameter(name=["--watch", "-w"], negative=(), help="Follow it until it ends or waits for a person.")
]
OverrideFreeze = Annotated[
    str | None, Parameter(help="Start it during a freeze, with this reason. For admins; the ledger records it.")
]
OverrideAssessment = Annotated[
    str | None,
    Parameter(
        help="Skip the plan's checks before the first request, with this reason. For approvers; the ledger records it."
    ),
]
Timeout = Annotated[float | None, Parameter(help="Watch at most this many seconds; then exit with code 5.")]
Id = Annotated[
    str,
    Parameter(help="A rollout's id, or a model's name for its open rollout.", completer=completing.rollouts),
]


def start(
    model: Annotated[str, Parameter(help="The MLflow registered model.", completer=completing.models)],
    *,
    build: Annotated[str, Parameter(help="A version, an alias such as @candidate, or latest.")] = "latest",
    variation: Annotated[str, Parameter(help="The slot of the model.")] = "default",
    strategy: Annotated[
        Literal["canary", "shadow"] | None,
        Parameter(help="Use this strategy instead of the plan's. A shadow gets copies of requests."),
    ] = None,
    allow_older: Annotated[bool, Parameter(negative=(), help="Allow a version older than stable.")] = False,
    override_freeze: OverrideFreeze = None,
    override_assessment: OverrideAssessment = None,
    watch: Watch = False,
    timeout: Timeout = None,
    output: Output = Format.TABLE,
) -> int:
    """Roll a build out by its model's applied plan. If it is under way already, nothing new starts."""
    body = {"model": model, "build": build, "variation": variation, "allow_older": allow_older}
    extra = {"strategy": strategy, "override_freeze": override_freeze, "override_assessment": override_assessment}
    view = call("POST", "/api/v1/rollouts", body | {name: value for name, value in extra.items() if value})
    if watch:
        return _watch(view["id"], timeout, output)
    emit(view, output, table=tree(view))
    return 0


def list_(
    *,
    model: Annotated[str | None, Parameter(help="Only this model's.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List rollouts, oldest first."""
    views = call("GET", "/api/v1/rollouts", query={"model": model, "limit": "1000"})["rollouts"][::-1]
    emit_rows(
        views, output, ("ROLLOUT", "FROM", "TO", "STATE", "STEP", "WEIGHT", "OBSERVED", "WHY"),
        lambda v: (
            v["id"], v["stable"] and f"v{v['stable']}", f"v{v['candidate']}", v["ending"] or v["phase"],
            f"{v['step']}/{v['steps']}", per_cent(v["weight"]), per_cent(v["observed_weight"]),
            v["reason"].partition("\n")[0],
        ),
        none="no rollouts yet; to start one: sluice rollout start MODEL",
    )  # fmt: skip


def show(rollout: Id, *, watch: Watch = False, timeout: Timeout = None, output: Output = Format.TABLE) -> int:
    """Show one rollout: state, desired and observed weight, gates with their evidence, what it waits for."""
    if watch:
        return _watch(rollout, timeout, output)
    view = call("GET", f"/api/v1/rollouts/{segment(rollout)}")
    emit(view, output, table=tree(view))
    return 0


def history(rollout: Id, *, output: Output = Format.TABLE) -> None:
    """Tell what happened in a rollout, oldest first, with who did it and why; as JSON or YAML, every fact's fields."""
    events = call("GET", f"/api/v1/rollouts/{segment(rollout)}/facts", query={"timeline": "1"})
    rows = [
        (each["at"][:19].replace("T", " "), each["actor"], f"{each['text']}: {each['why']}".removesuffix(": "))
        for each in events["timeline"]
    ]
    emit(events["facts"], output, table=columns(("AT (UTC)", "BY", "WHAT HAPPENED"), rows))


def pause(rollout: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Pause a rollout: the weight stays, and guardrails go on."""
    _order(rollout, "pause", reason, output)


def resume(rollout: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Let a paused rollout continue."""
    _order(rollout, "resume", reason, output)


def approve(
    rollout: Id,
    *,
    step: Annotated[
        int | None, Parameter(help="The step to approve, counted from 1; by default the present one.")
    ] = None,
    reason: Reason = "no reason given",
    output: Output = Format.TABLE,
) -> None:
    """Approve a step: it may end once its gates have passed. Refused if the rollout has left it already."""
    view = call("GET", f"/api/v1/rollouts/{segment(rollout)}")
    _order(view["id"], "approve", reason, output, step=view["step"] if step is None else step)


def jump(
    rollout: Id,
    *,
    to_step: Annotated[int, Parameter(help="The step to go to, counted from 1.")],
    back: Annotated[bool, Parameter(help="Go back: the step is an earlier one, with a smaller weight.")] = False,
    although_not_ready: NotReady = False,
    reason: Reason = "no reason given",
    output: Output = Format.TABLE,
) -> None:
    """Go to another step now, without the gates, checks and approvals of the steps before it. For approvers.

    --back goes to an earlier step, from which the rollout continues. The ledger and the report say what was skipped.
    """
    _order(rollout, "jump", reason, output, step=to_step, back=back, although_not_ready=although_not_ready)


def promote(
    rollout: Id,
    *,
    variation: Annotated[str | None, Parameter(help="The model's open rollout in this variation.")] = None,
    although_not_ready: NotReady = False,
    reason: Reason = "no reason given",
    output: Output = Format.TABLE,
) -> None:
    """Give the candidate all traffic now. The ledger records that you overrode the gates.

    In an experiment: the variation's build replaces the control's, and the experiment ends.
    """
    _order(_in_variation(rollout, variation), "promote", reason, output, although_not_ready=although_not_ready)


def abort(rollout: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Send all traffic to stable again and end the rollout. Works in any phase.

    Says so if the order is recorded but not in force after a few seconds, as on a full disk.
    """
    view = call("POST", f"/api/v1/rollouts/{segment(rollout)}/abort", {"reason": reason})
    until = time.monotonic() + IN_FORCE_SECONDS
    while not view["observed"] and time.monotonic() < until:
        time.sleep(0.1)
        try:
            view = call("GET", f"/api/v1/rollouts/{segment(view['id'])}")
        except Unreachable as error:
            remark(f"the abort is recorded; it is not known whether it is in force: {error.message}")
            break
    emit(view, output, table=tree(view))
    if not view["observed"]:
        remark(
            "the abort is recorded, but not in force yet; the keeper tries every second; to find out why: sluice doctor"
        )


def retry(rollout: Id, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """Start an aborted, failed or superseded rollout once more, by the plan that is applied now.

    All tries of a build by one plan share its gates' beta, so a later try needs more evidence to pass.
    """
    _order(rollout, "retry", reason, output)


def override_freeze(
    rollout: Id,
    *,
    reason: Annotated[str, Parameter(name=["--reason", "-m"], help="The reason, which the ledger records.")],
    output: Output = Format.TABLE,
) -> None:
    """Let a rollout go on during the present freeze. For admins; the ledger records it."""
    _order(rollout, "override-freeze", reason, output)


def _in_variation(model: str, variation: str | None) -> str:
    """The model's open rollout in the variation, or its latest in_slot; without a variation, the name unchanged."""
    if variation is None:
        return model
    views = call("GET", "/api/v1/rollouts", query={"model": model, "limit": "1000"})["rollouts"]
    in_slot = [view for view in views if view["variation"] == variation]
    if not in_slot:
        raise NotFound(f"{model} has no rollout in variation {variation}.", fix=f"sluice rollout list --model {model}")
    under_way = [view for view in in_slot if view["ending"] is None and view["phase"] != "queued"]
    return str((under_way or in_slot)[0]["id"])


def _order(rollout: str, verb: str, reason: str, output: Format, **more: int) -> None:
    view = call("POST", f"/api/v1/rollouts/{segment(rollout)}/{verb}", {"reason": reason, **more})
    emit(view, output, table=tree(view))


def _watch(rollout: str, timeout: float | None, output: Format) -> int:
    """Show the tree until the rollout has ended and its last weight is in force, or it waits for a person."""
    started, ended = time.monotonic(), None
    with closing(_Screen()) as screen:
        while True:
            view = call("GET", f"/api/v1/rollouts/{segment(rollout)}")
            screen.show(view)
            code, now = _exit_code(view), time.monotonic()
            ended = ended or (now if view["ending"] else None)
            if code is not None and (ended is None or view["observed"] or now - ended > IN_FORCE_SECONDS):
                if output is not Format.TABLE:
                    emit(view, output)
                return code
            if timeout is not None and now - started > timeout:
                remark(f"still {view['phase']} after {format_duration(timeout)}")
                return TIMED_OUT
            time.sleep(LOOK_SECONDS)


def _exit_code(view: dict[str, Any]) -> int | None:
    """The exit code once nothing more happens without a person; None before that."""
    if view["ending"] is None and view["needs_person"]:
        return WAITS
    match view["ending"], view["phase"]:
        case (None, _):
            return None
        case ("aborted", _):
            return ABORTED
        case (("failed" | "superseded"), _):
            return FAILED
        case _:
            return 0


class _Screen:
    """Redraws the tree in place on a terminal; elsewhere prints a line whenever something changes."""

    def __init__(self) -> None:
        self._live: Any = None
        self._last_line = ""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()

    def close(self) -> None:
        """Restore the cursor, however watching ends."""
        if self._live is not None:
            self._live.stop()

    def show(self, view: dict[str, Any]) -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(tree(view, self._live.console.width)), refresh=True)
            return
        line = (
            f"{view['phase']} {view['launch']} {view['weight']:g} {view['reason']} {view['needs_person']} "
            f"{view['no_driver']} {bool(view['blind'])} "
            + " ".join(f"{gate['metric']}={gate['verdict']}" for gate in view["gates"])
        )
        if line != self._last_line:
            self._last_line = line
            gates = "  ".join(f"{gate['metric']} {gate['verdict']}" for gate in view["gates"])
            remark(
                f"{head(view)}  {gates}  {view['blind'] or view['no_driver'] or view['waits_for'] or view['reason']}"
            )
