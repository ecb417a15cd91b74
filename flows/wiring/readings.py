"""Readings: what ledger and telemetry say about rollouts, for reports, notifications and MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sluicegate.registry.rollout.rollout import Phase

if TYPE_CHECKING:
    from sluicegate.registry.ledger.port import Ledger
    from sluicegate.registry.report.happening import Happening
    from sluicegate.registry.report.report import Evidence, Report
    from sluicegate.registry.report.shadow_view import ShadowView
    from sluicegate.registry.rollout.rollout import Rollout
    from sluicegate.services.telemetry.reading.queries import Queries
    from sluicegate.services.telemetry.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Reads ledger and telemetry; changes nothing."""

    ledger: Ledger
    telemetry: Queries
    store: Store
    clock: Callable[[], datetime]

    def report(self, rollout: str) -> Report:
        """The report of a rollout as it stands."""
        from sluicegate.registry.ledger.reading import read_for_report
        from sluicegate.registry.report.report import rollout_report

        record = read_for_report(self.ledger, self.ledger.rollout(rollout))
        return rollout_report(record, self.clock(), self.evidence(record.rollout))

    def evidence(self, rollout: Rollout) -> Evidence:
        """The telemetry's part of a rollout's report."""
        from sluicegate.flows.views.evidence import evidence
        from sluicegate.registry.report.course import desired_weights

        evidence_ = evidence(self.telemetry, rollout, desired_weights(self.ledger.entries(rollout.id)))
        evidence_ = replace(evidence_, generated=self.generated([rollout])[rollout.id])
        return replace(evidence_, shadow=self._shadow(rollout)) if rollout.is_shadow else evidence_

    def generated(self, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
        """Number of generated requests, of both arms, by rollout."""
        counts = self.telemetry.generated([each.id for each in rollouts])
        return {name: sum(by_arm.values()) for name, by_arm in counts.items()}

    def _shadow(self, rollout: Rollout) -> ShadowView:
        from sluicegate.flows.shadow.reading import read_shadow
        from sluicegate.flows.stages.shadow import declared_differences
        from sluicegate.services.telemetry.pairs.queries import ShadowQueries

        return read_shadow(ShadowQueries(self.store), rollout, declared_differences(self.ledger, rollout))

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        """Requests assigned to stable and candidate at the present weight, by rollout."""
        from sluicegate.flows.views.evidence import all_requests_by_arm

        found = all_requests_by_arm(self.telemetry, [(each, each.epoch) for each in rollouts])
        counted = ((seen.stable.requests, seen.candidate.requests) for seen in found)
        return {each.id: both for each, both in zip(rollouts, counted, strict=True)}

    def errors(self, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
        """The causes of each arm's errors, in words, by rollout. Only for rollouts that are judged."""
        from sluicegate.flows.views.evidence import all_requests_by_arm
        from sluicegate.registry.report.report import arm_errors, errors_in_words

        judged = [each for each in rollouts if each.is_judged]
        whole = all_requests_by_arm(self.telemetry, [(each, None) for each in judged])
        return {each.id: errors_in_words(arm_errors([it])) for each, it in zip(judged, whole, strict=True)}

    def waiting(self, now: datetime) -> Sequence[Happening]:
        """The open rollouts that wait for a person."""
        from sluicegate.registry.ledger.reading import Common, read_for_policy
        from sluicegate.registry.report.happening import waits_for_person

        judged = (Phase.RUNNING, Phase.CONFIRMING)
        running = [rollout for rollout in self.ledger.current() if rollout.phase in judged]
        common, requests = Common(self.ledger), self.requests(running)
        records = [read_for_policy(self.ledger, rollout, common) for rollout in running]
        happenings = [waits_for_person(record, now, requests[record.rollout.id]) for record in records]
        return [happening for happening in happenings if happening is not None]
