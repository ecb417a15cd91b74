"""The words of a report's page. Pure."""

from __future__ import annotations

from sluicegate.registry.report.report import Report
from sluicegate.registry.report.view import RolloutView
from sluicegate.registry.words.figures import per_cent

_GOOD = ("promoted", "established")
_BAD = ("aborted", "failed")


def state(rollout: RolloutView) -> str:
    """Where it is, or how it ended."""
    return rollout.ending or rollout.phase


def tone(rollout: RolloutView) -> str:
    """How a reader should take the state."""
    if rollout.ending in _GOOD:
        return "good"
    if rollout.ending in _BAD:
        return "bad"
    return "plain" if rollout.ending else "wait"


def headline(report: Report) -> str:
    """What became of it, in a sentence."""
    rollout = report.rollout
    candidate, by = f"v{rollout.candidate}", f" (by {rollout.actor})" if rollout.actor else ""
    match rollout.ending:
        case "promoted":
            sentence = f"{candidate} takes all traffic"
        case "established":
            sentence = f"{candidate} is the first stable build"
        case "aborted" if rollout.strategy == "shadow":
            sentence = f"{candidate} was aborted and gets no more copies"
        case "aborted":
            sentence = f"{candidate} was aborted; {_stable(rollout)} gets every request again"
        case "failed":
            undisturbed = f"{_stable(rollout)} was not affected" if rollout.stable else "nothing else was changed"
            sentence = f"{candidate} could not be launched; {undisturbed}"
        case "superseded":
            sentence = f"{candidate} gave way to a newer candidate"
        case "concluded":
            sentence = f"{candidate} was compared and nothing was changed"
        case _ if rollout.launch is not None:
            sentence = f"{candidate} is being launched and gets no requests yet"
        case _ if rollout.phase == "running" and rollout.strategy == "shadow":
            sentence = f"{candidate} gets copies of {per_cent(rollout.weight)} of the requests and answers nobody"
        case _ if rollout.phase == "running":
            sentence = f"{candidate} gets {per_cent(rollout.weight)} of the requests"
        case _:
            sentence = f"{candidate} is {rollout.phase} at {per_cent(rollout.weight)}"
    return f"{sentence}: {rollout.reason}{by}."


def _stable(rollout: RolloutView) -> str:
    return f"stable v{rollout.stable}" if rollout.stable else "stable"
