"""Memory: an MLflow run for each rollout, which shows even months later why a version was promoted or refused.

Level-triggered: each look compares the ledger with what was written, so that MLflow catches up after an outage. Writing
twice has the effect of writing once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from pydantic_core import to_jsonable_python

from sluicegate.flows.stages.settle import TAG
from sluicegate.registry.catalog.runs import Measurement, Run
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.report.report import Evidence, Report, rollout_report
from sluicegate.registry.rollout.facts import Entry, Jumped, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.registry.words.verdict import Look
from sluicegate.services.report.markdown import markdown
from sluicegate.services.report.page import page, yaml_text

log = structlog.get_logger("memory")


class Runs(Protocol):
    """Writes runs to MLflow; see `sluicegate.registry.catalog.runs`."""

    def open(self, *, experiment: str, tag: tuple[str, str], name: str, began: datetime) -> Run: ...

    def log(
        self, run: Run, *, metrics: Sequence[Measurement] = (), tags: Mapping[str, str], params: Mapping[str, str]
    ) -> None: ...

    def keep(self, run: Run, name: str, content: str) -> None: ...

    def end(self, run: Run, status: str, at: datetime) -> None: ...


class Versions(Protocol):
    """Sets tags on versions in MLflow."""

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Written:
    """How much of a rollout MLflow has."""

    seq: int = -1
    looks: Mapping[str, int] = field(default_factory=dict)
    """The last look by metric."""


@dataclass
class Memory:
    """Writes what is new. Raises nothing: a later look writes what could not be written."""

    ledger: Ledger
    runs: Runs
    versions: Versions
    evidence: Callable[[Rollout], Evidence]
    clock: Callable[[], datetime]
    _done: dict[str, Written] = field(default_factory=dict, init=False)

    def look(self) -> tuple[str, ...]:
        """Write what is new in every rollout. Returns the ids of those that were written."""
        feed_end, written = self.ledger.feed_end(), list[str]()
        written_place = int(str((self.ledger.recall(_PLACE) or {"place": 0})["place"]))
        changed = self.ledger.rollouts(Selection(changed_after=written_place)) if feed_end > written_place else ()
        open_ones = tuple(rollout for rollout in self.ledger.current() if not rollout.is_ended)
        for rollout in {each.id: each for each in (*changed, *open_ones)}.values():
            try:
                if self._look_at(rollout):
                    written.append(rollout.id)
            except SluiceError as error:
                log.warning("not written to MLflow; tried again", rollout=rollout.id, why=str(error))
                return tuple(written)
        if feed_end > written_place:
            self.ledger.remember(_PLACE, {"place": feed_end})
            self._done = {each.id: self._done[each.id] for each in open_ones}
        return tuple(written)

    def _look_at(self, rollout: Rollout) -> bool:
        before = self._done.get(rollout.id) or self._written(rollout.id)
        self._done[rollout.id] = before
        if rollout.is_ended and before.seq == rollout.seq:
            return False
        looks = self.ledger.looks(rollout.id) if rollout.is_judged else ()
        now = Written(seq=rollout.seq, looks={look.metric: look.k for look in looks})
        if now == before:
            return False
        run = self.write(rollout, looks, before)
        self.ledger.remember(_key(rollout.id), {"run": run.id, "seq": now.seq, "looks": dict(now.looks)})
        self._done[rollout.id] = now
        return True

    def write(self, rollout: Rollout, looks: Sequence[Look], before: Written) -> Run:
        """Write what is new to a rollout's run: figures of new looks and, if there is a new fact, the documents."""
        model = rollout.requested.model
        run = self.runs.open(
            experiment=f"sluice/{model}", tag=(f"{TAG}.rollout", rollout.id), name=rollout.id,
            began=rollout.requested_at,
        )  # fmt: skip
        record = read_for_report(self.ledger, rollout)
        report = rollout_report(record, self.clock(), self.evidence(rollout))
        new = [look for look in looks if look.k > before.looks.get(look.metric, 0)]
        values = [*_weights(record.entries), *(value for look in new for value in _values(look))]
        self.runs.log(run, metrics=values, tags=_tags(rollout, report), params=_params(rollout))
        if rollout.seq == before.seq:
            return run
        for name, content in _documents(report, looks).items():
            self.runs.keep(run, name, content)
        if rollout.is_ended and rollout.ended_at is not None and rollout.ending is not None:
            self.runs.end(run, _STATUS[rollout.ending], rollout.ended_at)
        self._tag_version(rollout, {f"{TAG}.run": run.id, **_confirmation(report)})
        return run

    def _tag_version(self, rollout: Rollout, tags: Mapping[str, str]) -> None:
        """Tag the version with its run and its confirmation. Does nothing if the version was deleted meanwhile."""
        with suppress(NotFound):
            for key, value in tags.items():
                self.versions.set_tag(rollout.candidate, key, value)

    def _written(self, rollout: str) -> Written:
        note = self.ledger.recall(_key(rollout))
        if note is None:
            return Written()
        looks = note["looks"] if isinstance(note["looks"], dict) else {}
        return Written(seq=int(str(note["seq"])), looks=looks)


CONFIRMATION = f"{TAG}.confirmation"
"""The tag, of run and version, that says whether late labels confirm the promotion."""
_PLACE = "mlflow"
"""The key of the note that holds the place in the ledger's feed up to which MLflow has everything."""


def _key(rollout: str) -> str:
    return f"mlflow:{rollout}"


_STATUS = {
    Ending.PROMOTED: "FINISHED", Ending.ESTABLISHED: "FINISHED", Ending.CONCLUDED: "FINISHED",
    Ending.ABORTED: "FAILED", Ending.FAILED: "FAILED", Ending.SUPERSEDED: "KILLED",
}  # fmt: skip
"""MLflow's run status for each ending of a rollout."""


def _weights(entries: Sequence[Entry]) -> Iterator[Measurement]:
    """The weight of every step entered, in per cent."""
    for entry in entries:
        if isinstance(entry.fact, StepEntered | Jumped):
            yield Measurement(key="weight", value=entry.fact.weight / 100, at=entry.at, step=entry.fact.step + 1)


def _values(look: Look) -> Iterator[Measurement]:
    """The figures of one look. The look's number is MLflow's step."""
    verdict = look.verdict
    figures = {
        "difference": verdict.estimate, "low": verdict.low, "high": verdict.high, "margin": verdict.bound,
        "stable": verdict.stable_mean, "candidate": verdict.candidate_mean, "alpha_spent": verdict.alpha_spent,
        "information": verdict.information_fraction, "rows": float(verdict.stable_n + verdict.candidate_n),
    }  # fmt: skip
    for name, value in figures.items():
        if value is not None and math.isfinite(value):
            yield Measurement(key=f"{look.metric}.{name}", value=value, at=look.at, step=look.k)


def _tags(rollout: Rollout, report: Report) -> dict[str, str]:
    requested = rollout.requested
    state = rollout.ending.value if rollout.ending else rollout.phase.value
    return {
        f"{TAG}.model": requested.model,
        f"{TAG}.variation": requested.variation,
        f"{TAG}.version": requested.version,
        f"{TAG}.state": state,
        f"{TAG}.reason": rollout.reason[:5000],
        f"{TAG}.actor": rollout.actor,
        f"{TAG}.cause": requested.cause,
        **_confirmation(report),
        **({f"{TAG}.jumps": _jumps(report)} if _jumps(report) else {}),
        **{f"{TAG}.verdict.{metric}": judged.answer for metric, judged in rollout.judgements.items()},
        "mlflow.note.content": markdown(report)[:8000],
    }


def _confirmation(report: Report) -> dict[str, str]:
    """What late labels say about a promotion: confirming, confirmed or unconfirmed. Empty if the plan asks for none."""
    confirmation = report.rollout.confirmation
    return {CONFIRMATION: confirmation} if confirmation is not None else {}


def _jumps(report: Report) -> str:
    """The jumps to other steps, each with the person and the reason."""
    jumps = (moment for moment in report.timeline if moment.fact == Jumped.__name__)
    return "; ".join(f"{jump.text} (by {jump.actor}: {jump.why})" for jump in jumps)[:5000]


def _params(rollout: Rollout) -> dict[str, str]:
    steps = ", ".join(f"{step.weight / 100:g}" for step in rollout.plan.steps)
    params = {
        "strategy": rollout.requested.strategy,
        "candidate": rollout.requested.version,
        "plan_digest": rollout.requested.plan_digest,
        "steps": steps,
    }
    return params | ({"stable": rollout.stable} if rollout.stable else {})


def _documents(report: Report, looks: Sequence[Look]) -> dict[str, str]:
    """The artifacts of a run by name."""
    verdicts = [
        {"look": look.k, "at": look.at.isoformat(), **to_jsonable_python(look.verdict, inf_nan_mode="strings")}
        for look in looks
    ]
    return {
        "report.html": page(report),
        "report.json": json.dumps(to_jsonable_python(report), indent=1),
        "plan.yaml": yaml_text(report.plan),
        "verdicts.json": json.dumps(verdicts, indent=1),
    }
