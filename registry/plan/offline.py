"""Offline gates: judge a candidate by a metric of an MLflow run before its first request. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.registry.plan.fields import OfflineGate
from sluicegate.registry.words.figures import share
from sluicegate.registry.words.metric import Worse
from sluicegate.registry.words.suggestions import nearest
from sluicegate.registry.words.verdict import Answer


@dataclass(frozen=True, kw_only=True)
class RunMetrics:
    """The metrics of the run that a gate reads, or why there are none."""

    build: str
    """The build that they belong to, such as v7."""
    values: Mapping[str, float] | None = None
    lacking: str = ""
    """Why there is no run, if there is none."""


@dataclass(frozen=True, kw_only=True)
class OfflineVerdict:
    """The answer of an offline gate: pass, fail, or no data if it cannot be judged."""

    answer: Answer
    reason: str
    candidate: float | None = None
    stable: float | None = None
    fix: str | None = None
    """How to make it judgeable, if it is not."""


@dataclass(frozen=True, kw_only=True)
class _Lacking:
    reason: str
    fix: str


def judge_offline(gate: OfflineGate, candidate: RunMetrics, stable: RunMetrics | None) -> OfflineVerdict:
    """Judge one gate. `stable` is None if nothing serves yet; a margin then has nothing to compare with.

    A value that is missing or not a number never passes.
    """
    mine = _value(gate, candidate)
    if isinstance(mine, _Lacking):
        return OfflineVerdict(answer=Answer.NO_DATA, reason=mine.reason, fix=mine.fix)
    theirs = _value(gate, stable) if gate.margin is not None and stable is not None else None
    if isinstance(theirs, _Lacking):
        fix = f"{theirs.fix}, or write limit: in place of margin:"
        return OfflineVerdict(answer=Answer.NO_DATA, reason=theirs.reason, candidate=mine, fix=fix)
    parts = [_limited(gate, mine)] if gate.limit is not None else []
    if gate.margin is not None and theirs is not None and stable is not None:
        parts.append(_compared(gate, gate.margin, mine, theirs, stable.build))
    is_passed = all(passed for passed, _ in parts)
    texts = "; ".join(words for passed, words in parts if passed == is_passed)
    return OfflineVerdict(
        answer=Answer.PASS if is_passed else Answer.FAIL,
        reason=f"{gate.metric} of {candidate.build} is {mine:.6g}: {texts or 'stable has no value to compare it with'}",
        candidate=mine,
        stable=theirs,
    )


def _value(gate: OfflineGate, run: RunMetrics) -> float | _Lacking:
    log = f"log {gate.metric} to the run of {run.build}, then start it again"
    if run.values is None:
        fix = f"set the tag {gate.run_tag} to a run's id" if gate.run_tag else "register it from a run"
        return _Lacking(reason=f"{run.build} has no run to read {gate.metric} from: {run.lacking}", fix=fix)
    value = run.values.get(gate.metric)
    if value is None:
        near = nearest(gate.metric, set(run.values))
        meant = f"did you mean {near}? Otherwise " if near else ""
        return _Lacking(reason=f"the run of {run.build} has no metric {gate.metric}", fix=f"{meant}{log}")
    if not math.isfinite(value):
        return _Lacking(reason=f"{gate.metric} of {run.build} is {value}, which is not a number", fix=log)
    return value


def _limited(gate: OfflineGate, mine: float) -> tuple[bool, str]:
    assert gate.limit is not None
    side = "most" if gate.worse is Worse.HIGHER else "least"
    is_within = mine <= gate.limit if gate.worse is Worse.HIGHER else mine >= gate.limit
    return is_within, f"{'within' if is_within else 'beyond'} the limit (at {side} {gate.limit:.6g})"


def _compared(gate: OfflineGate, margin: float, mine: float, theirs: float, stable: str) -> tuple[bool, str]:
    harm = mine - theirs if gate.worse is Worse.HIGHER else theirs - mine
    is_within = harm <= margin * abs(theirs) or math.isclose(harm, margin * abs(theirs), rel_tol=1e-9)
    allowed = f"the margin is {share(margin)}"
    reference = f"{theirs:.6g} of {stable}"
    if harm <= 0:
        return True, f"no worse than {reference}"
    if theirs == 0:
        return is_within, f"worse than {reference}, and a margin relative to 0 allows nothing"
    return is_within, f"{share(harm / abs(theirs))} worse than {reference}, and {allowed}"
