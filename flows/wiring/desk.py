"""The console's desk: gives its acts access to this process's ledger, telemetry and services."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.in_time import InTime

if TYPE_CHECKING:
    from datetime import datetime

    from sluicegate.flows.views.logs import Line
    from sluicegate.flows.wiring.joined_gateways import JoinedGateways
    from sluicegate.registry.audience.trial import Trial
    from sluicegate.registry.catalog.port import Catalog
    from sluicegate.registry.ledger.calls import Calls
    from sluicegate.registry.ledger.port import Ledger
    from sluicegate.registry.plan.plan import Plan
    from sluicegate.registry.report.overview import Served
    from sluicegate.registry.report.pulse import Pulse
    from sluicegate.registry.report.report import Evidence
    from sluicegate.registry.rollout.rollout import Rollout
    from sluicegate.registry.words.build import BuildRef
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.doctor.rounds import Rounds
    from sluicegate.services.telemetry.outcomes.outcome import Receipt
    from sluicegate.services.telemetry.reading.captures import Page


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _rounds() -> Rounds:
    from sluicegate.flows.wiring.machine_checks import checks
    from sluicegate.services.host.doctor.rounds import Rounds

    return Rounds(checks)


@dataclass(frozen=True, kw_only=True)
class LocalDesk:
    """A desk on top of this process's runtime."""

    runtime: Runtime
    ledger: Ledger
    admin_token: str = field(default_factory=_secret, repr=False)
    webhook_secret: str = field(default_factory=_secret, repr=False)
    session_secret: str = field(default_factory=_secret, repr=False)
    links: Mapping[str, str] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes, init=False, repr=False, compare=False)
    in_time: InTime = field(default_factory=InTime, init=False, repr=False, compare=False)
    _rounds: Rounds = field(default_factory=_rounds, init=False, repr=False, compare=False)

    @property
    def calls(self) -> Calls:
        return self.runtime.calls

    @property
    def catalog(self) -> Catalog:
        return self.runtime.catalog

    def check(self, plan: Plan) -> None:
        from sluicegate.registry.words.errors import Refused
        from sluicegate.services.cluster.impossible import impossible

        if self.runtime.settings.cluster is not None and (cannot := impossible(plan.serve)) is not None:
            raise Refused(f"plan {plan.model}: {cannot.what}", fix=cannot.fix)

    @property
    def champion_alias(self) -> str:
        return self.runtime.settings.champion_alias

    def clock(self) -> datetime:
        return self.runtime.clock()

    def over(self, ledger: Ledger) -> LocalDesk:
        return replace(self, ledger=ledger)

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        return self.runtime.readings.requests(rollouts)

    def generated(self, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
        return self.runtime.readings.generated(rollouts)

    def errors(self, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
        return self.runtime.readings.errors(rollouts)

    def evidence(self, rollout: Rollout) -> Evidence:
        return self.runtime.readings.evidence(rollout)

    def logs(self, rollout: Rollout, most: int) -> Sequence[Line]:
        from sluicegate.flows.views.logs import rollout_lines
        from sluicegate.registry.words.errors import SluiceError

        try:
            prefect = self.runtime.prefect
        except SluiceError:
            prefect = None
        return list(rollout_lines(rollout, self.runtime.settings.state, prefect, most))

    def try_out(self, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
        from sluicegate.flows.views.trying import try_out

        return try_out(self.ledger, model, metadata, unit)

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        from sluicegate.flows.views.overview import overview

        return overview(self.ledger, self.runtime.telemetry, models, self.clock(), self._spent)

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        return self.runtime.telemetry.pulses(models)

    def desired(self, models: Collection[str]) -> Sequence[Served]:
        from sluicegate.flows.views.overview import Unobserved, overview

        return overview(self.ledger, Unobserved(), models, self.clock())

    def look_at_catalog(self) -> Sequence[str]:
        from sluicegate.services.keeper.catalog_watch import look_at_catalog

        return look_at_catalog(self.ledger, self.runtime.catalog, self.clock())

    def record_outcomes(self, items: Sequence[dict[str, object]]) -> Receipt:
        from sluicegate.services.telemetry.outcomes.intake import record
        from sluicegate.services.telemetry.outcomes.parsing import parse_outcome

        batch = [parse_outcome(position, item) for position, item in enumerate(items)]
        return record(self.runtime.store, batch, self.runtime.wall())

    def captures(
        self, model: str, *, build: str | None, since: int, until: int, after: str | None, limit: int
    ) -> Page:  # fmt: skip
        from sluicegate.services.telemetry.reading.captures import Wanted, read_captures

        wanted = Wanted(model=model, build=build, since=since, until=until, after=after, limit=limit)
        return read_captures(self.runtime.store, wanted)

    def metrics(self) -> bytes:
        from sluicegate.flows.wiring.scraping import metrics

        return metrics(self.runtime)

    @property
    def gateways(self) -> JoinedGateways:
        from sluicegate.flows.wiring.joined_gateways import JoinedGateways

        return JoinedGateways(runtime=self.runtime)

    def counts(self) -> dict[str, object]:
        from sluicegate.services.telemetry.store.counts import Count

        queries, behind = self.runtime.telemetry, self.runtime.backlog()
        return {
            "collector": {
                "unread_bytes": behind.unread_bytes,
                "waiting_seconds": round(behind.waits(self.runtime.wall().timestamp()), 1),
            },
            "counters": {str(name): count for name, count in queries.counters().items()},
            "meanings": {each.value: each.meaning for each in Count},
            "waiting": queries.waiting(),
            "quarantined": queries.quarantined(),
        }

    def remove_gateway(self, name: str) -> int:
        from sluicegate.flows.wiring.removing import remove_gateway
        from sluicegate.registry.words.errors import UsageError

        if self.ledger is not self.runtime.ledger:
            raise UsageError("removing a gateway has no dry run: it changes more than the ledger.")
        return remove_gateway(self.runtime, name)

    def checks(self, within: float) -> Sequence[Finding]:
        return self._rounds.findings(within)

    def _spent(self, build: BuildRef) -> Mapping[str, float]:
        """Mean milliseconds of a request in each stage of the build's service; empty if only the ledger is here."""
        if not self.runtime.folder.secrets.exists():
            return {}
        times = self.runtime.fleet.stage_times(build)
        return {each.stage: 1000 * each.seconds / each.requests for each in times if each.requests}


def desk() -> LocalDesk:
    """The console's desk, with the secrets and links of this machine."""
    runtime = current_runtime()
    links = {name: url for name, url in runtime.site.urls().items() if name != "console"}
    keys = runtime.keys
    return LocalDesk(
        runtime=runtime,
        ledger=runtime.ledger,
        admin_token=keys.admin_token,
        webhook_secret=keys.webhook_secret,
        session_secret=keys.session_secret,
        links=links,
    )


def desk_without_doors() -> LocalDesk:
    """The desk of a command that runs acts itself. Nobody can sign in: its secrets are random."""
    runtime = current_runtime()
    return LocalDesk(runtime=runtime, ledger=runtime.ledger)
