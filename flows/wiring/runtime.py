"""The composition root: turns settings into concrete classes. The only place that names all of them.

Flows, commands and long-lived processes share `current_runtime()`. It makes each object on first use, so that a command
pays only for what it needs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.settings import MlflowServer, Settings

if TYPE_CHECKING:
    import httpx

    from sluicegate.flows.stages.checks import CheckRunner
    from sluicegate.flows.stages.hooks import HookPass
    from sluicegate.flows.stages.memory import Memory
    from sluicegate.flows.wiring.readings import Readings
    from sluicegate.flows.wiring.record_clock import RecordClock
    from sluicegate.registry.catalog.mlflow_http import MlflowCatalog
    from sluicegate.registry.ledger.calls import Calls
    from sluicegate.registry.ledger.port import Ledger
    from sluicegate.registry.words.build import BuildRef, Endpoint
    from sluicegate.registry.words.gateways import Unwatched
    from sluicegate.services.bento.fleet import Fleet
    from sluicegate.services.bento.packer import Packer
    from sluicegate.services.bento.stores.objects import Limits
    from sluicegate.services.bento.stores.shared import SharedStore
    from sluicegate.services.cluster.api import Api
    from sluicegate.services.cluster.deployments import ClusterServices
    from sluicegate.services.cluster.gateways import ClusterGateways
    from sluicegate.services.heartbeat import Heartbeats
    from sluicegate.services.host.folder import StateFolder
    from sluicegate.services.host.installation import Site
    from sluicegate.services.host.keys import Keys
    from sluicegate.services.host.programs.supervising import Supervisor
    from sluicegate.services.host.served_name import ServedName
    from sluicegate.services.keeper.drivers import PrefectDrivers
    from sluicegate.services.keeper.ports import RunPods
    from sluicegate.services.outbox.address import Addresses
    from sluicegate.services.outbox.outbox import Outbox
    from sluicegate.services.telemetry.reading.queries import Queries
    from sluicegate.services.telemetry.store.store import Store
    from sluicegate.services.telemetry.tailing.backlog import Backlog
    from sluicegate.services.traffic.envoy.bootstrap import Outside
    from sluicegate.services.traffic.envoy.plane import Envoy
    from sluicegate.services.traffic.envoy.relay import Relay
    from sluicegate.services.traffic.joined import Joined, Mailbox
    from sluicegate.services.traffic.mark import Mark


_PAGE_SECONDS = 1.0
"""Seconds that a page waits for one answer of the cluster's API."""
_EXAMPLE_SECONDS = 5.0
"""Seconds that the store may take to return a model's input example, for which a probe waits."""
PREFECT_SECONDS = 6.0
"""Time limit of one call to Prefect, in seconds."""


def now() -> datetime:
    """The wall clock, which somebody may set. Requests and outcomes carry its time."""
    return datetime.now(UTC)


class Runtime:
    """The concrete objects of this process, each made on first use."""

    def __init__(self, settings: Settings, wall: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.wall = wall

    @cached_property
    def clock(self) -> RecordClock:
        """The clock for facts, soaks, bakes and deadlines."""
        from sluicegate.flows.wiring.record_clock import RecordClock

        return RecordClock(self.folder.run / "clock", self.wall)

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
        """The ledger, which wakes the keeper after every append."""
        from sluicegate.flows.wiring.ringing import RingingLedger

        return RingingLedger(self._ledger_url, self.bell)

    @cached_property
    def calls(self) -> Calls:
        """The log of API calls, in the ledger's database."""
        from sluicegate.registry.ledger.sql_calls import SqlCalls

        return SqlCalls(self._ledger_url)

    @cached_property
    def _ledger_url(self) -> str:
        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.settings.ledger_url()

    @property
    def bell(self) -> Path:
        """The socket by which the keeper is woken."""
        return self.folder.run / "keeper.sock"

    @cached_property
    def heartbeats(self) -> Heartbeats:
        """The heartbeats by which our programs show that they are alive."""
        from sluicegate.services.heartbeat import Heartbeats

        return Heartbeats(folder=self.folder.beats)

    @cached_property
    def store(self) -> Store:
        return self._store(durable=True)

    @cached_property
    def reading_store(self) -> Store:
        """The collector's store: not durable, because it reads the logs again after a power cut."""
        return self._store(durable=False)

    def _store(self, *, durable: bool) -> Store:
        from sluicegate.services.telemetry.store.store import Store

        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = "" if self.settings.telemetry is None else self.host
        return Store(self.settings.telemetry_url(), durable=durable, host=host)

    @cached_property
    def host(self) -> str:
        """This installation's name among those that share a telemetry database. Drawn once."""
        import secrets

        from sluicegate.services import durable

        path = self.folder.root / "host-name"
        if not path.exists():
            self.folder.run.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.folder.locked("host-name", seconds=10):
                if not path.exists():
                    durable.replace(path, f"{socket.gethostname()}-{secrets.token_hex(4)}")
        return path.read_text()

    def telemetry_place(self) -> str:
        """The telemetry's URL without the password."""
        from sqlalchemy import make_url

        return make_url(self.settings.telemetry_url()).render_as_string(hide_password=True)

    @cached_property
    def telemetry(self) -> Queries:
        from sluicegate.services.telemetry.reading.queries import Queries

        return Queries(self.store, self.wall)

    @property
    def mlflow(self) -> MlflowServer:
        """The MLflow server to use."""
        from sluicegate.services.host.addresses import mlflow_server

        return mlflow_server(self.settings)

    @cached_property
    def catalog(self) -> MlflowCatalog:
        from sluicegate.registry.catalog.mlflow_http import MlflowCatalog

        return MlflowCatalog(self.mlflow)

    @cached_property
    def packer(self) -> Packer:
        from sluicegate.services.bento.packer import Packer

        return Packer(self._bentos, clock=self.wall, shared=self.shared_store)

    @property
    def _bentos(self) -> Path:
        return self.folder.root / "bento"

    @cached_property
    def shared_store(self) -> SharedStore | None:
        """The store that shares bentos with other machines; None if they are not shared."""
        from sluicegate.services.bento.stores.objects import Limits

        return self.shared_store_within(Limits())

    def shared_store_within(self, limits: Limits) -> SharedStore | None:
        """The shared store with other time limits, for callers that cannot wait."""
        from sluicegate.flows.wiring.bentos import objects_at, owner_of
        from sluicegate.services.bento.stores.shared import SharedStore

        if self.settings.store is None:
            return None
        objects = objects_at(self.settings.store, lambda: self.mlflow, limits)
        return SharedStore(objects, home=self._bentos, owner=lambda: owner_of(self.ledger))

    @property
    def builds_folder(self) -> Path:
        """The folder to which builds' files are downloaded."""
        return self.folder.root / "builds"

    @cached_property
    def supervisor(self) -> Supervisor:
        from sluicegate.services.host.programs.supervising import Supervisor

        return Supervisor(self.folder, self.keys.state_token)

    @cached_property
    def fleet(self) -> Fleet | ClusterServices:
        """Runs the services of builds, on this machine or in the cluster that the settings name."""
        from sluicegate.flows.wiring.cluster_builds import services_of
        from sluicegate.services.bento.fleet import Fleet
        from sluicegate.services.bento.stores.objects import Limits

        if self.settings.cluster is not None:
            store = self.shared_store_within(Limits(whole=_EXAMPLE_SECONDS))
            return services_of(self.settings, store)
        home = self.folder.root / "services"
        return Fleet(home, bentos=self._bentos, programs=self.supervisor, shared=self.shared_store)

    def answers_at(self, build: BuildRef) -> Endpoint | None:
        """The address of a build's service for this process; None if it does not run."""
        from sluicegate.flows.wiring.cluster_builds import service_address

        if self.settings.cluster is not None:
            return service_address(build, self.settings.cluster)
        return next(iter(self.fleet.endpoints().get(build, ())), None)

    @cached_property
    def envoys(self) -> Mapping[str, Envoy]:
        """The gateways of this machine by name, as the last `up` recorded them."""
        return self.envoys_of(self.site)

    def envoys_of(self, site: Site) -> Mapping[str, Envoy]:
        """The gateways of a site, each with its own connections."""
        outside = self._outside(site)
        return {name: self.envoy_at(port, name, outside) for name, port in site.gateways().items()}

    def served_name(self, site: Site) -> ServedName | None:
        """The certificate and name with which this host answers others; None if it does not."""
        from sluicegate.services.host.served_name import ServedName

        if site.listen is None:
            return None
        return ServedName(folder=self.folder.tls, host=site.listen, files=self.settings.tls_files, clock=self.wall)

    def _outside(self, site: Site) -> Outside | None:
        from sluicegate.services.traffic.envoy.bootstrap import Outside

        served_name = self.served_name(site)
        if served_name is None or site.address is None:
            return None
        return Outside(host=site.address, certificate=served_name.in_use, token=self.keys.gateway_token)

    def envoy_at(self, port: int, name: str = "gateway", outside: Outside | None = None) -> Envoy:
        """A gateway of this machine. Its port need not be recorded yet."""
        from sluicegate.services.host.installation import envoy_of
        from sluicegate.services.traffic.envoy.plane import Envoy

        binary = Path(self.settings.envoy_bin) if self.settings.envoy_bin else None
        folder, spans = self.folder.root / envoy_of(name), self.settings.spans
        return Envoy(folder, port=port, outside=outside, binary=binary, spans=spans)

    def marks(self) -> Mapping[str, Mark]:
        """The mark of each gateway of this machine, which shows that nobody watches it."""
        from sluicegate.services.traffic.mark import Mark

        return {name: Mark(envoy.places.folder, name, self.wall) for name, envoy in self.envoys.items()}

    def unwatched(self) -> tuple[Unwatched, ...]:
        """The gateways that serve stable builds only: of this machine, and of others that reported it lately.

        Does not use the ledger.
        """
        own, joined = self.marks().values(), self.joined()
        states = (*(mark.read() for mark in own), *(each.unwatched() for each in joined), *self._in_cluster().values())
        return tuple(each for each in states if each is not None)

    def heard_gateways(self) -> tuple[str, ...]:
        """The gateways of this machine, and those of others that reported lately."""
        return (*self.envoys, *(each.name for each in self.joined() if each.is_heard()), *self._in_cluster())

    def _in_cluster(self) -> Mapping[str, Unwatched | None]:
        """For each gateway of the cluster, whether nobody watches it."""
        from sluicegate.flows.wiring.in_namespace import heard_in

        return {} if self.settings.cluster is None else heard_in(self._impatient_cluster_api)

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        """The mailboxes of gateways on other hosts."""
        from sluicegate.services.traffic.joined import mailboxes

        return mailboxes(self.folder.root / "gateways")

    def joined(self) -> tuple[Mailbox, ...]:
        """The mailboxes of gateways that have not ended."""
        return tuple(each for each in self.mailboxes if not each.is_retired)

    def planes(self, known: Mapping[str, Joined]) -> dict[str, Joined]:
        """The gateways that are not on the keeper's machine, by name. Reuses the objects in `known`."""
        from sluicegate.flows.wiring.in_namespace import PATIENCE, QUIET
        from sluicegate.services.traffic.joined import Joined

        limit, elsewhere = self.settings.unwatched_seconds, self.cluster_gateways
        gateways = {box.name: known.get(box.name) or Joined(box, unwatched=limit) for box in self.joined()}
        for each in () if elsewhere is None else elsewhere.boxes():
            gateways[each.name] = known.get(each.name) or Joined(each, unwatched=limit, patience=PATIENCE, quiet=QUIET)
        return gateways

    @cached_property
    def cluster_api(self) -> Api:
        """The API of the namespace that SLUICE_CLUSTER names. Raises UsageError, InvalidSetting."""
        from sluicegate.flows.wiring.in_namespace import api_of

        return api_of(self.settings)

    @cached_property
    def _impatient_cluster_api(self) -> Api:
        """The cluster's API with short time limits, for pages and scrapes that wait for it."""
        from sluicegate.flows.wiring.in_namespace import api_of
        from sluicegate.services.cluster.api import Limits

        return api_of(self.settings, Limits(connect=_PAGE_SECONDS, whole=_PAGE_SECONDS))

    @cached_property
    def cluster_gateways(self) -> ClusterGateways | None:
        """The gateways of the cluster; None outside of a cluster. The keeper runs its loops."""
        from sluicegate.flows.wiring.in_namespace import gateways_of

        return None if self.settings.cluster is None else gateways_of(self.settings, self.wall)

    def relay(self, site: Site) -> Relay | None:
        """What stands before the services, for gateways of other hosts; None where these are not answered."""
        from sluicegate.services.host.issuing import authority_file
        from sluicegate.services.traffic.envoy.plane import find_binary
        from sluicegate.services.traffic.envoy.relay import NAME, Relay

        served_name = self.served_name(site)
        if served_name is None or site.address is None or NAME not in site.ports:
            return None
        return Relay(
            folder=self.folder.root / NAME, host=site.address, port=site.ports[NAME], pair=served_name.in_use,
            authority=authority_file(self.folder.tls),
            binary=Path(self.settings.envoy_bin) if self.settings.envoy_bin else find_binary(),
        )  # fmt: skip

    def access_log_folders(self) -> Mapping[str, Path]:
        """The folder of each gateway's access logs, by the gateway's name.

        For gateways of this machine, past ones included, their own; for those of others, the copies here.
        """
        from sluicegate.services.host.installation import is_gateway

        log_folders = sorted(self.folder.root.glob("envoy*/logs"))
        own_folders = {f"gateway{logs.parent.name.removeprefix('envoy')}": logs for logs in log_folders}
        return (
            {"gateway": self.envoy_at(port=0).logs}
            | {name: logs for name, logs in own_folders.items() if is_gateway(name)}
            | {each.name: each.logs for each in self.mailboxes}
        )

    def backlog(self) -> Backlog:
        """How much of the access logs was not collected yet. Does not use the ledger. Raises Unreachable."""
        from sluicegate.services.telemetry.tailing.backlog import access_logs, backlog

        return backlog(
            self.store, [log for folder in self.access_log_folders().values() for log in access_logs(folder)]
        )

    def drivers(self, pods: RunPods | None = None) -> PrefectDrivers:
        """Where drivers run. `pods`: their pods, if the caller may look at them."""
        from sluicegate.services.keeper.drivers import PrefectDrivers

        are_jobs = self.settings.cluster is not None
        return PrefectDrivers(
            self.ledger, self.prefect, on_cancel=self.settings.on_cancel, are_jobs=are_jobs, pods=pods
        )

    @cached_property
    def check_runner(self) -> CheckRunner:
        """Runs the checks of plans."""
        from sluicegate.flows.stages.checks import CheckRunner

        return CheckRunner(
            prefect=lambda: self.prefect,
            key=lambda: self.keys.check_key,
            allowed=self.settings.check_hosts,
            clock=self.clock,
        )

    @cached_property
    def hooks(self) -> HookPass:
        """Calls the hooks of plans."""
        from concurrent.futures import ThreadPoolExecutor

        from sluicegate.flows.stages.hooks import MOST, HookCaller, HookPass

        caller = HookCaller(
            prefect=lambda: self.prefect,
            key=lambda: self.keys.check_key,
            allowed=self.settings.check_hosts,
            clock=self.clock,
        )
        calls = ThreadPoolExecutor(MOST, thread_name_prefix="hook")
        return HookPass(ledger=self.ledger, notify=caller.notify, clock=self.clock, hand=calls.submit)

    @cached_property
    def prefect(self) -> httpx.Client:
        """Prefect's HTTP API, with a password or a key if one is set."""
        import httpx

        from sluicegate.registry.deadline import bounded

        auth, key = self.settings.prefect_auth, self.settings.prefect_key
        user, _, password = auth.partition(":") if auth else ("", "", "")
        http = httpx.Client(
            base_url=self.settings.prefect_api_url or self.site.prefect_api_url,
            auth=(user, password) if auth else None,
            headers={"authorization": f"Bearer {key}"} if key and not auth else None,
            timeout=3.0,
            trust_env=False,
        )
        return bounded(http, PREFECT_SECONDS)

    @cached_property
    def memory(self) -> Memory:
        """Writes a run for each rollout to MLflow."""
        from sluicegate.flows.stages.memory import Memory
        from sluicegate.registry.catalog.runs import MlflowRuns

        return Memory(
            ledger=self.ledger,
            runs=MlflowRuns(self.mlflow),
            versions=self.catalog,
            evidence=self.readings.evidence,
            clock=self.clock,
        )

    @cached_property
    def addresses(self) -> Addresses:
        """The addresses of notifications."""
        from sluicegate.services.outbox.address import Addresses

        return Addresses(folder=self.folder.secrets)

    @cached_property
    def outbox(self) -> Outbox:
        """Sends notifications of facts."""
        from sluicegate.services.beside import Beside
        from sluicegate.services.host.addresses import console_api
        from sluicegate.services.outbox.notifications import sinks
        from sluicegate.services.outbox.outbox import Outbox
        from sluicegate.services.outbox.prefect_events import PrefectEvents

        events, api = PrefectEvents(self.prefect), console_api(self.settings)
        console = api.url if api else None
        return Outbox(
            self.ledger,
            lambda: (events, *sinks(self.ledger, self.addresses, console)),
            self.readings.waiting,
            beside=Beside(),
        )

    @cached_property
    def readings(self) -> Readings:
        from sluicegate.flows.wiring.readings import Readings

        return Readings(
            ledger=self.ledger,
            telemetry=self.telemetry,
            store=self.store,
            clock=self.clock,
        )

    def plan(self, model: str, variation: str) -> Plan:
        """The applied plan of a variation, or else of the model's default variation. Raises NotFound."""
        from sluicegate.registry.orders.applied_plan import applied_plan

        return applied_plan(self.ledger, model, variation)


@lru_cache(maxsize=1)
def current_runtime() -> Runtime:
    """The runtime of this process."""
    return Runtime(Settings.read(os.environ))
