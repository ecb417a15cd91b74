"""The console's desk: gives its acts access to this process's ledger, telemetry and services."""

from __future__ import annotations

import contextlib
import math
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.in_time import InTime

if TYPE_CHECKING:
    from datetime import datetime

    from sluicegate.flows.views.logs import Line
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
    from sluicegate.services.bento.stage_times import StageTimes
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.doctor.rounds import Rounds
    from sluicegate.services.telemetry.outcomes.outcome import Receipt
    from sluicegate.services.telemetry.reading.captures import Page
    from sluicegate.services.telemetry.reading.prometheus import Scrape
    from sluicegate.services.traffic.joined import Mailbox


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
        from sluicegate.registry.words.errors import Unreachable
        from sluicegate.services.bento.stage_times import stage_family
        from sluicegate.services.host.programs.watching import BEATING
        from sluicegate.services.telemetry.reading.accounts import gaps
        from sluicegate.services.telemetry.reading.prometheus import Scrape, exposition

        disk = shutil.disk_usage(self.runtime.folder.root)
        beats = {name: self.runtime.heartbeats.silence(name) for name in BEATING}
        scrape = Scrape(
            gateway=self._gateway_figures(),
            stable_only=self._stable_only(),
            now=self.runtime.wall().timestamp(),
            free=disk.free / disk.total,
            silence={name: math.inf if silence is None else silence for name, silence in beats.items()},
            families=[stage_family(self._stage_times())],
        )
        try:
            scrape = replace(scrape, backlog=self.runtime.backlog(), gaps=gaps(self.runtime.store))
        except Unreachable:
            scrape = replace(scrape, telemetry_up=False)
        try:
            scrape = self._with_ledger(scrape)
        except Unreachable:
            scrape = replace(scrape, ledger_up=False)
        return exposition(self.runtime.telemetry, scrape)

    def _stable_only(self) -> dict[str, bool]:
        """For each gateway, whether it serves stable builds only."""
        unwatched = {each.gateway for each in self.runtime.unwatched()}
        return {name: name in unwatched for name in self.runtime.heard_gateways()}

    def _with_ledger(self, scrape: Scrape) -> Scrape:
        """The scrape, completed with figures from the ledger. Raises Unreachable."""
        from sluicegate.flows.wiring.token_expiries import expiries
        from sluicegate.registry.ledger.keeper_notes import all_undriven, sights
        from sluicegate.services.console.tokens import given_tokens
        from sluicegate.services.keeper.overdue import overdue

        rollouts, sight_notes, now = self.ledger.current(), sights(self.ledger), self.clock()
        under_way = [rollout for rollout in rollouts if not rollout.is_ended]
        return replace(
            scrape,
            models=list(self.ledger.models()),
            rollouts=under_way,
            untended=len(sight_notes.unjudged),
            overdue=len(overdue(self.ledger, now)),
            undriven=len({each.id for each in under_way} & set(all_undriven(self.ledger))),
            waiting=len(self.runtime.readings.waiting(now)) if scrape.telemetry_up else None,
            expiries=expiries(given_tokens(self.ledger), now),
            sights=sight_notes.at(now),
        )

    def counts(self) -> dict[str, object]:
        queries, behind = self.runtime.telemetry, self.runtime.backlog()
        return {
            "collector": {
                "unread_bytes": behind.unread_bytes,
                "waiting_seconds": round(behind.waits(self.runtime.wall().timestamp()), 1),
            },
            "counters": {str(name): count for name, count in queries.counters().items()},
            "waiting": queries.waiting(),
            "quarantined": queries.quarantined(),
        }

    def hear_gateway(self, name: str, said: Mapping[str, object]) -> None:
        from sluicegate.registry.words.errors import Refused

        box, shipped = self._mailbox(name), said.get("shipped_ago")
        holder = box.holder()
        if holder is not None and holder != said.get("instance"):
            fix = f"end one of the two, or give this one a token of its own: sluice token give {name}-2 --role gateway"
            raise Refused(f"another gateway goes by the token of {name}: {holder}.", fix=fix)
        level = None
        if isinstance(shipped, int | float) and 0 <= shipped < math.inf:  # never in the future
            level = self.runtime.wall().timestamp() - shipped
        box.hear(said, level)
        if said.get("retired"):
            box.retire()

    def remove_gateway(self, name: str) -> int:
        from sluicegate.flows.wiring.removing import remove_gateway
        from sluicegate.registry.words.errors import UsageError

        if self.ledger is not self.runtime.ledger:
            raise UsageError("removing a gateway has no dry run: it changes more than the ledger.")
        return remove_gateway(self.runtime, name)

    def sheet_of(self, gateway: str) -> str | None:
        return self._mailbox(gateway).sheet_name()

    def for_gateway(self, name: str, has: object) -> dict[str, Any]:
        from sluicegate.registry.words.gateway_report import sheet_name
        from sluicegate.services.host.issuing import joining_pair
        from sluicegate.services.traffic.envoy.relay import NAME

        box, site = self._mailbox(name), self.runtime.site
        answer: dict[str, Any] = {
            "name": None,
            "renewed_ago": box.renewed_ago(),
            "callers": self._callers_token(),
            "unwatched": self.runtime.settings.unwatched_seconds,
        }
        sheet = box.sheet()
        if sheet is None or NAME not in site.ports:
            return answer
        answer["name"] = sheet_name(sheet)
        pair = joining_pair(self.runtime.folder.tls, self.runtime.wall()).read_text(encoding="utf-8")  # may be renewed
        answer["relay"] = {"name": site.listen, "address": site.address, "port": site.ports[NAME], "pair": pair}
        if answer["name"] != has:
            answer["sheet"] = sheet
        return answer

    def _callers_token(self) -> str:
        """The present token of callers, which may change while this process runs; during a change, the former one."""
        from sluicegate.registry.words.errors import NotFound
        from sluicegate.services.host.keys import gateway_token

        try:
            return gateway_token(self.runtime.folder.secrets)
        except NotFound:
            return self.runtime.keys.gateway_token

    def take_log(self, gateway: str, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
        from sluicegate.services.telemetry.tailing.mirror import take

        return take(self._mailbox(gateway).logs, log, head, offset, data, is_whole=is_whole)

    def _mailbox(self, name: str) -> Mailbox:
        from sluicegate.services.traffic.joined import Mailbox

        return Mailbox(folder=self.runtime.folder.root / "gateways" / name)

    def checks(self, within: float) -> Sequence[Finding]:
        return self._rounds.findings(within)

    def _stage_times(self) -> Iterator[StageTimes]:
        """Stage times of this machine's services, from their files."""
        if self.runtime.settings.cluster is None:
            for build in self.runtime.fleet.endpoints():
                yield from self.runtime.fleet.stage_times(build)

    def _spent(self, build: BuildRef) -> Mapping[str, float]:
        """Mean milliseconds of a request in each stage of the build's service; empty if only the ledger is here."""
        if not self.runtime.folder.secrets.exists():
            return {}
        times = self.runtime.fleet.stage_times(build)
        return {each.stage: 1000 * each.seconds / each.requests for each in times if each.requests}

    def _gateway_figures(self) -> dict[str, float] | None:
        """The summed statistics of all gateways that answer; None if none does."""
        from sluicegate.registry.words.errors import Unreachable
        from sluicegate.services.traffic.envoy.gateway_stats import added

        statistics = []
        for envoy in self.runtime.envoys.values():
            with contextlib.suppress(Unreachable):
                statistics.append(envoy.gateway_stats())
        return added(statistics) if statistics else None


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
