"""The composition root: settings to concrete classes. The one place that names every one of them.

`current_runtime()` is what flows, commands and long-lived processes share; each thing is made when it is first used, so
that a command pays only for what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.settings import MlflowServer, Settings

if TYPE_CHECKING:
    import httpx

    from sluicegate.flows.stages.checks import Asking
    from sluicegate.flows.stages.memory import Memory
    from sluicegate.registry.catalog.mlflow_http import MlflowCatalog
    from sluicegate.registry.ledger.calls import Calls
    from sluicegate.registry.ledger.port import Ledger
    from sluicegate.registry.report.happening import Happening
    from sluicegate.registry.report.report import Evidence, Report
    from sluicegate.registry.report.shadow_view import ShadowView
    from sluicegate.registry.rollout.rollout import Rollout
    from sluicegate.services.bento.fleet import Fleet
    from sluicegate.services.bento.packer import Packer
    from sluicegate.services.host.folder import StateFolder
    from sluicegate.services.host.installation import Site
    from sluicegate.services.host.keys import Keys
    from sluicegate.services.host.programs.supervising import Supervisor
    from sluicegate.services.keeper.drivers import PrefectDrivers
    from sluicegate.services.outbox.address import Addresses
    from sluicegate.services.outbox.outbox import Outbox
    from sluicegate.services.telemetry.log.backlog import Backlog
    from sluicegate.services.telemetry.reading.queries import Queries
    from sluicegate.services.telemetry.store.store import Store
    from sluicegate.services.traffic.envoy.plane import Envoy


def now() -> datetime:
    """The wall clock: the only one there is."""
    return datetime.now(UTC)


class Runtime:
    """Everything concrete of this process, made on first use."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.clock = clock

    @cached_property
    def folder(self) -> StateFolder:
        from sluicegate.services.host.folder import StateFolder

        return StateFolder(root=self.settings.state)

    @cached_property
    def site(self) -> Site:
        from sluicegate.services.host.installation import read_site

        return read_site(self.folder)

    @cached_property
    def keys(self) -> Keys:
        from sluicegate.services.host.keys import load_keys

        return load_keys(self.folder.secrets)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; whatever is appended rings the keeper."""
        from sluicegate.flows.wiring.ringing import RingingLedger
        from sluicegate.registry.ledger.sql import SqlLedger

        return RingingLedger(SqlLedger(self._ledger_url), self.bell)

    @cached_property
    def calls(self) -> Calls:
        """Who asked the API for what, in the ledger's database."""
        from sluicegate.registry.ledger.sql_calls import SqlCalls

        return SqlCalls(self._ledger_url)

    @cached_property
    def _ledger_url(self) -> str:
        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.settings.ledger_url()

    @property
    def bell(self) -> Path:
        """Where the keeper waits to be woken."""
        return self.folder.run / "keeper.sock"

    @cached_property
    def store(self) -> Store:
        return self._store(durable=True)

    @cached_property
    def reading_store(self) -> Store:
        """The collector's: what it loses to a power cut it reads again."""
        return self._store(durable=False)

    def _store(self, *, durable: bool) -> Store:
        from sluicegate.services.telemetry.store.store import Store

        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Store(f"sqlite:///{self.folder.root / 'telemetry.db'}", durable=durable)

    @cached_property
    def telemetry(self) -> Queries:
        from sluicegate.services.telemetry.reading.queries import Queries

        return Queries(self.store, self.clock)

    @property
    def mlflow(self) -> MlflowServer:
        """The MLflow server that is read and written."""
        from sluicegate.services.host.addresses import mlflow_server

        return mlflow_server(self.settings)

    @cached_property
    def catalog(self) -> MlflowCatalog:
        from sluicegate.registry.catalog.mlflow_http import MlflowCatalog

        return MlflowCatalog(self.mlflow)

    @cached_property
    def packer(self) -> Packer:
        from sluicegate.services.bento.packer import Packer

        return Packer(self.folder.root / "bento", clock=self.clock)

    @property
    def builds_folder(self) -> Path:
        """Where builds' files are fetched to."""
        return self.folder.root / "builds"

    @cached_property
    def supervisor(self) -> Supervisor:
        from sluicegate.services.host.programs.supervising import Supervisor

        return Supervisor(self.folder, self.keys.state_token)

    @cached_property
    def fleet(self) -> Fleet:
        from sluicegate.services.bento.fleet import Fleet

        home = self.folder.root / "services"
        return Fleet(home, bentos=self.folder.root / "bento", programs=self.supervisor)

    @cached_property
    def envoy(self) -> Envoy:
        return make_envoy(self.folder.root, self.site.ports["gateway"], self.settings)

    @cached_property
    def drivers(self) -> PrefectDrivers:
        from sluicegate.services.keeper.drivers import PrefectDrivers

        return PrefectDrivers(self.ledger, self.prefect, on_cancel=self.settings.on_cancel)

    @cached_property
    def asking(self) -> Asking:
        """What the checks of plans are asked with."""
        from sluicegate.flows.stages.checks import Asking

        return Asking(
            prefect=lambda: self.prefect,
            key=lambda: self.keys.check_key,
            allowed=self.settings.check_hosts,
            clock=self.clock,
        )

    @cached_property
    def prefect(self) -> httpx.Client:
        """Prefect's HTTP API, with a password or a key where the server wants one."""
        import httpx

        auth, key = self.settings.prefect_auth, self.settings.prefect_key
        user, _, password = auth.partition(":") if auth else ("", "", "")
        return httpx.Client(
            base_url=self.settings.prefect_api_url or self.site.prefect_api_url,
            auth=(user, password) if auth else None,
            headers={"authorization": f"Bearer {key}"} if key and not auth else None,
            timeout=3.0,
            trust_env=False,
        )

    @cached_property
    def memory(self) -> Memory:
        """What writes a run for each rollout into MLflow."""
        from sluicegate.flows.stages.memory import Memory
        from sluicegate.registry.catalog.runs import MlflowRuns

        return Memory(
            ledger=self.ledger,
            runs=MlflowRuns(self.mlflow),
            versions=self.catalog,
            evidence=self.evidence,
            clock=self.clock,
        )

    @cached_property
    def addresses(self) -> Addresses:
        """Where notifications are sent to."""
        from sluicegate.services.outbox.address import Addresses

        return Addresses(folder=self.folder.secrets)

    @cached_property
    def outbox(self) -> Outbox:
        """What tells the outside of every fact."""
        from sluicegate.services.host.addresses import console_api
        from sluicegate.services.outbox.notifications import sinks
        from sluicegate.services.outbox.outbox import Outbox
        from sluicegate.services.outbox.prefect_events import PrefectEvents

        events, api = PrefectEvents(self.prefect), console_api(self.settings)
        console = api.url if api else None
        return Outbox(self.ledger, lambda: (events, *sinks(self.ledger, self.addresses, console)), self._waiting)

    def _waiting(self, now: datetime) -> Sequence[Happening]:
        """What waits for a person."""
        from sluicegate.registry.ledger.reading import read_for_policy
        from sluicegate.registry.report.happening import waits_for_person

        running = [rollout for rollout in self.ledger.rollouts() if rollout.phase is Phase.RUNNING]
        records = [read_for_policy(self.ledger, rollout) for rollout in running]
        happenings = [waits_for_person(record, now, requests_of(self, record.rollout)) for record in records]
        return [happening for happening in happenings if happening is not None]

    def report(self, rollout: str) -> Report:
        """The report of a rollout as it stands."""
        from sluicegate.registry.ledger.reading import read_for_report
        from sluicegate.registry.report.report import rollout_report

        record = read_for_report(self.ledger, self.ledger.rollout(rollout))
        return rollout_report(record, self.clock(), self.evidence(record.rollout))

    def evidence(self, rollout: Rollout) -> Evidence:
        """What telemetry knows of a rollout, for its report."""
        from sluicegate.flows.views.evidence import evidence
        from sluicegate.registry.report.course import asked_weights

        found = evidence(self.telemetry, rollout, asked_weights(self.ledger.entries(rollout.id)))
        return replace(found, shadow=self.shadow(rollout)) if rollout.is_shadow else found

    def shadow(self, rollout: Rollout) -> ShadowView:
        """What the pairs of a shadow say."""
        from sluicegate.flows.shadow.reading import read_shadow
        from sluicegate.flows.stages.shadow import declared_differences
        from sluicegate.services.telemetry.pairs.queries import ShadowQueries

        return read_shadow(ShadowQueries(self.store), rollout, declared_differences(self.ledger, rollout))

    def resolve(self, model: str, name: str) -> BuildRef:
        """The build that a version, an alias such as @candidate, or `latest` names."""
        return self.catalog.resolve(model, name)

    def build(self, ref: BuildRef) -> Build:
        """A build as the catalog tells it. Raises NotFound, CatalogUnavailable."""
        return self.catalog.build(ref)

    def plan(self, model: str, variation: str) -> Plan:
        """The applied plan of a variation, or else that of the model's default one. Raises NotFound."""
        applied = self.ledger.applied("plan", f"{model}/{variation}")
        general = self.ledger.applied("plan", f"{model}/{FALLBACK}") if applied is None else None
        if general is not None:
            own = {key: value for key, value in general.body.items() if key not in ("trigger", "ab")}
            return Plan.recorded({**own, "variation": variation})
        if applied is None:
            raise NotFound(
                f"no plan is applied for {model}/{variation}.",
                fix="write one and apply it: sluice apply -f plan.yaml",
            )
        return Plan.recorded(applied.body)


def make_envoy(root: Path, port: int, settings: Settings) -> Envoy:
    """The data plane of this machine."""
    from sluicegate.services.traffic.envoy.plane import Envoy

    binary = Path(settings.envoy_bin) if settings.envoy_bin else None
    return Envoy(root / "envoy", port=port, binary=binary)


@lru_cache(maxsize=1)
def current_runtime() -> Runtime:
    """Everything concrete of this process."""
    return Runtime(Settings.read(os.environ))


def requests_of(runtime: Runtime, rollout: Rollout) -> tuple[int, int] | None:
    """Requests assigned to stable and candidate at the present weight."""
    from sluicegate.flows.views.evidence import seen_of

    seen = seen_of(runtime.telemetry, rollout, rollout.epoch)
    return seen.stable.requests, seen.candidate.requests


def collector_backlog(runtime: Runtime) -> Backlog:
    """What of the access logs was not read."""
    from sluicegate.services.telemetry.log.backlog import backlog

    logs = make_envoy(runtime.folder.root, 0, runtime.settings).logs
    return backlog(runtime.store, [logs / name for name in ("live.jsonl", "shadow.jsonl")])
