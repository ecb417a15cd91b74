"""Replay before the first request: the services of stable and candidate answer earlier requests, and the pairs of
answers are compared, scored and judged as those of a shadow are.

Every rollout whose plan asks for a replay passes through here: only the driver replays, and the ledger accepts no first
step without a pass of every gate of the replay, or a named person's override.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.flows.gate.judge import verdict_at_once
from sluicegate.flows.rehearsal.captured import Captured
from sluicegate.flows.rehearsal.captures_file import requests_of
from sluicegate.flows.rehearsal.shadow_replay import Answering, answered
from sluicegate.flows.shadow.specs import column_kinds
from sluicegate.flows.stages.assessment import ending
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.progress import append
from sluicegate.registry.plan.fields import CAPTURED, Replay
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import REPLAY, staged
from sluicegate.registry.rollout.facts import Assessed
from sluicegate.registry.rollout.rollout import Rollout, replay_name
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import IllegalMove, SluiceError, Unreachable
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.outputs import OutputKind
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Verdict
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.pairs.pairing import compare_with_stable
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.pairs.tally import stratum_of, take_label, tally_pair
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

_OFTEN = 20
"""Requests between two checks of the clock and of whether the rollout has ended."""
Newest = Callable[[str, str, int], Iterable[Mapping[str, Any]]]
"""Reads the newest captures of a model's variation, at most this many, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Replaying:
    """What a replay needs from outside."""

    ledger: Ledger
    newest: Newest
    services: Callable[[Rollout], tuple[Answering, Answering]]
    """The running services of stable and candidate. Raises SluiceError if one is not on this machine."""
    kinds: Callable[[Rollout], Mapping[str, OutputKind]]
    clock: Callable[[], datetime]
    elapsed: Callable[[], float]
    """Elapsed seconds, whatever the clock says."""

    def replay(self, rollout: Rollout) -> Rollout:
        """Judge the candidate by each gate of the replay, record the verdicts, and end the rollout if one is not a
        pass: aborted if the candidate is worse, failed if that cannot be told. A rollout that has ended meanwhile stays
        as it is."""
        replay, fixes = rollout.replay, dict[str, str]()
        if replay is None:
            return rollout
        verdicts = self._verdicts(rollout, replay)
        try:
            for gate, verdict in zip(replay.gates, verdicts, strict=True):
                name = replay_name(gate)
                if name in rollout.assessments:
                    continue
                fixes[name] = _fix(rollout, replay)
                fact = Assessed(
                    gate=name, answer=verdict.answer.value, reason=f"on {_what(replay)}, {verdict.reason}",
                    candidate=verdict.candidate_mean, stable=verdict.stable_mean,
                )  # fmt: skip
                rollout = append(self.ledger, rollout.id, lambda _, fact=fact: fact, self.clock())  # type: ignore[misc]
            if rollout.is_replayed:
                return rollout
            end = ending(rollout, fixes)
            return append(self.ledger, rollout.id, lambda _: end, self.clock())
        except IllegalMove:
            return self.ledger.rollout(rollout.id)

    def _verdicts(self, rollout: Rollout, replay: Replay) -> tuple[Verdict, ...]:
        plan, stable = staged(Plan.recorded(rollout.requested.plan), REPLAY), rollout.stable or ""
        try:
            rows = self._rows(rollout, replay, plan, stable)
        except (SluiceError, OSError) as error:
            why = error.message if isinstance(error, SluiceError) else str(error)
            return tuple(_no_data(gate.metric, why.rstrip(".")) for gate in plan.gates)
        if not rows:
            none = f"none was sent to {rollout.requested.model}/{rollout.requested.variation}"
            return tuple(_no_data(gate.metric, none) for gate in plan.gates)
        return tuple(verdict_at_once(plan, gate, rows, f"v{stable}") for gate in plan.gates)

    def _rows(self, rollout: Rollout, replay: Replay, plan: Plan, stable: str) -> tuple[TallyRow, ...]:
        """What the pairs of answers add up to."""
        serving, launched = self.services(rollout)
        spec = ShadowSpec(
            metrics=RolloutSpec(rollout=rollout.id, metrics=dict(plan.metrics)), stable=stable,
            kinds=self.kinds(rollout),
        )  # fmt: skip
        tallies, now = TallyAccumulator(), self.clock().timestamp()
        for request in self._in_time(rollout, replay, self._requests(rollout, replay)):
            served = answered(request, serving, stable, self.elapsed)
            pair = Pair(served=served, copied=answered(request, launched, rollout.requested.version, self.elapsed))
            tally_pair(tallies, pair, compare_with_stable(pair, spec), spec)
            _take_labels(tallies, pair, request, spec, now)
        return tuple(_row(row) for row in tallies.rows())

    def _requests(self, rollout: Rollout, replay: Replay) -> Iterator[Captured]:
        requested = rollout.requested
        return requests_of(replay.requests, partial(self.newest, requested.model, requested.variation), replay.at_most)

    def _in_time(self, rollout: Rollout, replay: Replay, requests: Iterator[Captured]) -> Iterator[Captured]:
        """The requests, until the time is up or the rollout has ended."""
        deadline = self.elapsed() + replay.max_time
        for number, request in enumerate(requests):
            if number % _OFTEN == 0 and (self.elapsed() >= deadline or self.ledger.rollout(rollout.id).is_ended):
                return
            yield request


def _take_labels(tallies: TallyAccumulator, pair: Pair, request: Captured, spec: ShadowSpec, now: float) -> None:
    """Score both answers by the outcomes measured after the request, if these are mature by now."""
    for label in request.outcomes:
        for name, metric in spec.metrics.scored_by(label.name):
            if request.at / 1e6 <= now - metric.matures_after:
                answers = (pair.served.prediction, pair.copied.prediction)
                take_label(tallies, stratum_of(pair), (name, metric), label.row, label.value, *answers)


def _row(row: tuple[Any, ...]) -> TallyRow:
    _, metric, epoch, bucket, arm, weight, *sums = row
    return TallyRow(
        metric=metric, stratum=Stratum(epoch=epoch, bucket=bucket), weight=weight, arm=Arm(arm), tally=Tally(*sums)
    )


def _no_data(metric: str, why: str) -> Verdict:
    return Verdict(metric=metric, answer=Answer.NO_DATA, reason=why, step=0, k=0)


def _what(replay: Replay) -> str:
    return "captured requests" if replay.requests == CAPTURED else Path(replay.requests).name


def _fix(rollout: Rollout, replay: Replay) -> str:
    """How to give the replay more to judge by."""
    again = f"sluice rollout start {rollout.requested.model} --build {rollout.requested.version}"
    if replay.requests != CAPTURED:
        return f"write more requests into {replay.requests}, or a larger at_most, then: {again}"
    return f"wait until services have captured more requests, or raise at_most and capture: {{share: …}}; then: {again}"


def replaying(runtime: Runtime) -> Replaying:
    """The replay of this process: by the services of this machine, on the telemetry's captures."""
    from sluicegate.services.bento.asking import predict
    from sluicegate.services.telemetry.reading.captures import newest

    def answering(version: str, rollout: Rollout) -> Answering:
        replica = runtime.answers_at(BuildRef(model=rollout.requested.model, version=version))
        if replica is None:
            raise Unreachable(f"the service of v{version} is not on this machine")
        return lambda body: predict(replica, body, rollout.plan.serve.timeout)

    def services(rollout: Rollout) -> tuple[Answering, Answering]:
        return answering(rollout.stable or "", rollout), answering(rollout.requested.version, rollout)

    return Replaying(
        ledger=runtime.ledger, newest=partial(newest, runtime.store), services=services,
        kinds=lambda rollout: column_kinds(rollout.candidate, runtime.catalog.build), clock=runtime.clock,
        elapsed=time.monotonic,
    )  # fmt: skip
