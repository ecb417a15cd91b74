"""experiment start, show, end."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, columns, emit
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.rollouts import Reason
from sluicegate.registry.words.figures import Unit, difference, interval, measured, share

Name = Annotated[str, Parameter(help="An experiment's id, or a model's name for its latest experiment.")]


def start(
    model: Annotated[str, Parameter(help="The MLflow registered model.")],
    *,
    variation: Annotated[str, Parameter(help="The control, whose plan describes the experiment.")] = "default",
    output: Output = Format.TABLE,
) -> None:
    """Start the experiment that the model's applied plan describes under ab. If it runs already, nothing starts."""
    _show(call("POST", "/api/v1/experiments", {"model": model, "variation": variation}), output)


def show(experiment: Name, *, output: Output = Format.TABLE) -> None:
    """Show each variation compared with the control: difference, interval, verdict. All intervals hold together."""
    _show(call("GET", f"/api/v1/experiments/{segment(experiment)}"), output)


def end(experiment: Name, *, reason: Reason = "no reason given", output: Output = Format.TABLE) -> None:
    """End an experiment now. Its requests go where they went before it."""
    _show(call("POST", f"/api/v1/experiments/{segment(experiment)}/end", {"reason": reason}), output)


def _show(readout: dict[str, Any], output: Format) -> None:
    emit(readout, output, table=f"{_head(readout)}\n{_table(readout)}\n{_foot(readout)}")


def _head(readout: dict[str, Any]) -> str:
    goal = "better than" if readout["margin"] == 0 else f"no more than {share(readout['margin'])} worse than"
    return (
        f"{readout['model']}  {readout['metric']} {goal} {readout['control']}, alpha {readout['alpha']:g}, "
        f"audience {readout['audience']}  [{readout['experiment']}]"
    )


def _table(readout: dict[str, Any]) -> str:
    heads = ("VARIATION", "BUILD", "ROWS", "MEAN", "DIFFERENCE", "INTERVAL", "VERDICT", "STATE")
    unit = Unit(readout["compared"][0]["unit"])
    control = (
        readout["control"], _build(readout["control_build"]), readout["control_rows"],
        measured(readout["control_mean"], unit), "control", None, None, None,
    )  # fmt: skip
    rows = [
        (
            each["variation"], _build(each["build"]), each["rows"], measured(each["mean"], unit),
            difference(each["estimate"], unit), interval(each["low"], each["high"], unit), each["answer"],
            each["state"],
        )
        for each in readout["compared"]
    ]  # fmt: skip
    return columns(heads, [control, *rows])


def _foot(readout: dict[str, Any]) -> str:
    reasons = "\n".join(f"{each['variation']}: {each['reason']}" for each in readout["compared"])
    if readout["winner"] is None:
        return f"{reasons}\n{'no variation reached the goal' if readout['is_over'] else 'no winner yet'}"
    promote = f"sluice rollout promote {readout['model']} --variation {readout['winner']}"
    return f"{reasons}\nbest so far: {readout['winner']}; to replace the control's build by it: {promote}"


def _build(version: str | None) -> str | None:
    return f"v{version}" if version is not None else None
