"""The sentences and words of a report's page. Pure."""

from __future__ import annotations

from sluicegate.registry.report.report import Report
from sluicegate.registry.report.view import RolloutView
from sluicegate.registry.words.figures import per_cent


def state(rollout: RolloutView) -> str:
    """The rollout's phase, or its ending."""
    return rollout.ending or rollout.phase


def headline(report: Report) -> str:
    """The rollout's state in a sentence, with its reason and actor."""
    rollout = report.rollout
    by = f" (by {rollout.actor})" if rollout.actor else ""
    return f"{_under_way(rollout) if rollout.ending is None else _ended(rollout)}: {rollout.reason}{by}."


def _under_way(rollout: RolloutView) -> str:
    candidate, weight = f"v{rollout.candidate}", per_cent(rollout.weight)
    if rollout.launch is not None:
        return f"{candidate} is being launched and gets no requests yet"
    if rollout.phase != "running":
        return f"{candidate} is {rollout.phase} at {weight}"
    if rollout.strategy == "shadow":
        return f"{candidate} gets copies of {weight} of the requests; callers do not get its answers"
    return f"{candidate} gets {weight} of the requests"


def _ended(rollout: RolloutView) -> str:
    candidate, stable = f"v{rollout.candidate}", f"stable v{rollout.stable}" if rollout.stable else "stable"
    match rollout.ending:
        case "promoted":
            return f"{candidate} takes all traffic"
        case "established":
            return f"{candidate} is the first stable build"
        case "aborted" if rollout.strategy == "shadow":
            return f"{candidate} was aborted and gets no more copies"
        case "aborted":
            return f"{candidate} was aborted; {stable} gets every request again"
        case "failed":
            spared = f"{stable} was not affected" if rollout.stable else "nothing else was changed"
            return f"{candidate} could not be launched; {spared}"
        case "superseded":
            return f"{candidate} was replaced by a newer candidate"
        case "concluded":
            return f"{candidate} was compared and nothing was changed"
        case _:
            return f"{candidate} is {rollout.ending}"
