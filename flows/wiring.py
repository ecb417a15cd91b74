"""The composition root: settings to concrete parts. The one place that names every concrete class.

`parts()` is what flows, commands and long-lived processes share; each part is made when it is first used, so that a
command pays only for what it needs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.build import Build, BuildRef
from registry.connections import FALLBACK
from registry.errors import NotFound, UsageError
from registry.plan import Plan
from registry.rollout import Phase
from registry.settings import Settings

if TYPE_CHECKING:
    import httpx

    from flows.checks import Asking
    from flows.memory import Memory
    from flows.packing import BentoPacking
    from registry.catalog.mlflow_http import MlflowCatalog
    from registry.happening import Happening
    from registry.ledger import Ledger
    from registry.ledger.calls import Calls
    from registry.overview import Served
    from registry.report import Evidence, Report
    from registry.rollout import Rollout
    from registry.shadow_view import ShadowView
    from registry.trial import Trial
    from services.bento.fleet import Fleet
    from services.bento.packer import Packer
    from services.console.ports import Desk
    from services.host.folder import StateFolder
    from services.host.keys import Keys
    from services.host.site import Site
    from services.host.supervisor import Supervisor
    from services.keeper.drivers import PrefectDrivers
    from services.outbox.address import Addresses
    from services.outbox.outbox import Outbox
    from services.telemetry.backlog import Backlog
    from services.telemetry.queries import Queries
    from services.telemetry.store import Store
    from services.traffic.envoy import Envoy


def now() -> datetime:
    """The wall clock: the only one there is."""
    return datetime.now(UTC)


class Parts:
    """Everything concrete, made on first use."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.clock = clock

    @cached_property
    def folder(self) -> StateFolder:
        from services.host.folder import StateFolder

        return StateFolder(root=self.settings.state)

    @cached_property
    def site(self) -> Site:
        from services.host.site import read_site

        return read_site(self.folder)

    @cached_property
    def keys(self) -> Keys:
        from services.host.keys import load_keys

        return load_keys(self.folder.secrets)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; whatever is appended rings the keeper."""
        from flows.ringing import RingingLedger
        from registry.ledger.sql import SqlLedger

        return RingingLedger(SqlLedger(self._ledger_url), self.bell)

    @cached_property
    def calls(self) -> Calls:
        """Who asked the API for what, in the ledger's database."""
        from registry.ledger.sql_calls import SqlCalls

        return SqlCalls(self._ledger_url)

    @cached_property
    def _ledger_url(self) -> str:
        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.settings.ledger or f"sqlite:///{self.folder.root / 'ledger.db'}"

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
        from services.telemetry.store import Store

        self.folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Store(f"sqlite:///{self.folder.root / 'telemetry.db'}", durable=durable)

    @cached_property
    def telemetry(self) -> Queries:
        from services.telemetry.queries import Queries

        return Queries(self.store, self.clock)

    @cached_property
    def catalog(self) -> MlflowCatalog:
        from registry.catalog.mlflow_http import MlflowCatalog

        return MlflowCatalog.connect(self.settings)

    @cached_property
    def packer(self) -> BentoPacking:
        from flows.packing import BentoPacking

        return BentoPacking(self._packer)

    @cached_property
    def _packer(self) -> Packer:
        from services.bento.packer import Packer

        return Packer(self.folder.root / "bento", clock=self.clock)

    @property
    def builds_folder(self) -> Path:
        """Where builds' files are fetched to."""
        return self.folder.root / "builds"

    @cached_property
    def supervisor(self) -> Supervisor:
        from services.host.supervisor import Supervisor

        return Supervisor(self.folder, self.keys.state_token)

    @cached_property
    def fleet(self) -> Fleet:
        from services.bento.fleet import Fleet

        home = self.folder.root / "services"
        return Fleet(home, bentos=self.folder.root / "bento", programs=self.supervisor)

    @cached_property
    def envoy(self) -> Envoy:
        return make_envoy(self.folder.root, self.site.ports["gateway"], self.settings)

    @cached_property
    def drivers(self) -> PrefectDrivers:
        from services.keeper.drivers import PrefectDrivers

        return PrefectDrivers(self.ledger, self.prefect, on_cancel=self.settings.on_cancel)

    @cached_property
    def asking(self) -> Asking:
        """What the checks of plans are asked with."""
        from flows.checks import Asking

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
        from flows.memory import Memory
        from registry.catalog.runs import MlflowRuns

        return Memory(
            ledger=self.ledger,
            runs=MlflowRuns.connect(self.settings),
            versions=self.catalog,
            evidence=self.evidence,
            clock=self.clock,
        )

    @cached_property
    def addresses(self) -> Addresses:
        """Where notifications are sent to."""
        from services.outbox.address import Addresses

        return Addresses(folder=self.folder.secrets)

    @cached_property
    def outbox(self) -> Outbox:
        """What tells the outside of every fact."""
        from services.outbox.notifications import sinks
        from services.outbox.outbox import Outbox
        from services.outbox.prefect_events import PrefectEvents

        events, api = PrefectEvents(self.prefect), self.settings.api()
        console = api.url if api else None
        return Outbox(self.ledger, lambda: (events, *sinks(self.ledger, self.addresses, console)), self._waiting)

    def _waiting(self, now: datetime) -> Sequence[Happening]:
        """What waits for a person."""
        from registry.happening import waiting

        running = [each for each in self.ledger.rollouts() if each.phase is Phase.RUNNING]
        found = [waiting(self.ledger, each, now, _requests(self, each)) for each in running]
        return [each for each in found if each is not None]

    def report(self, rollout: str) -> Report:
        """The report of a rollout as it stands."""
        from registry.report import report

        now = self.ledger.rollout(rollout)
        return report(self.ledger, now, self.clock(), self.evidence(now))

    def evidence(self, rollout: Rollout) -> Evidence:
        """What telemetry knows of a rollout, for its report."""
        from flows.evidence import evidence
        from registry.report_course import asked_weights

        found = evidence(self.telemetry, rollout, asked_weights(self.ledger.entries(rollout.id)))
        return replace(found, shadow=self.shadow(rollout)) if rollout.is_shadow else found

    def shadow(self, rollout: Rollout) -> ShadowView:
        """What the pairs of a shadow say."""
        from flows.shadow import declared_differences
        from flows.shadow_read import read_shadow
        from services.telemetry.shadow_queries import ShadowQueries

        return read_shadow(ShadowQueries(self.store), rollout, declared_differences(self.ledger, rollout))

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        """What serves whom, of these models."""
        from flows.overview import overview

        return overview(self.ledger, self.telemetry, models)

    def try_out(self, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
        """What a request would get; nothing is sent."""
        from flows.trying import try_out

        return try_out(self.ledger, model, metadata, unit)

    def resolve(self, model: str, name: str) -> BuildRef:
        """The build that a version, an alias such as @candidate, or `latest` names."""
        return self.catalog.resolve(model, name)

    def build(self, ref: BuildRef) -> Build:
        """A build as the catalog tells it. Raises NotFound, CatalogUnavailable."""
        return self.catalog.build(ref)

    def builds(self, model: str) -> Sequence[Build]:
        """Every build of a model in the catalog."""
        return self.catalog.builds(model)

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
    from services.traffic.envoy import Envoy

    binary = Path(settings.envoy_bin) if settings.envoy_bin else None
    return Envoy(root / "envoy", port=port, binary=binary)


@lru_cache(maxsize=1)
def parts() -> Parts:
    """The parts of this process."""
    return Parts(Settings.read(os.environ))


def desk() -> Desk:
    """What the console works with: the secrets and links of this machine."""
    found = parts()
    links = {name: url for name, url in found.site.urls().items() if name != "console"}
    return _desk(found, found.keys.admin_token, found.keys.webhook_secret, links)


def desk_without_doors() -> Desk:
    """What a command works with that runs the acts itself. Nobody is let in, so secrets and links are not needed."""
    return _desk(parts(), secrets.token_urlsafe(32), secrets.token_urlsafe(32), {})


def _desk(found: Parts, admin_token: str, webhook_secret: str, links: dict[str, str]) -> Desk:
    from services.console.ports import Desk
    from services.keeper.doors import look_at_catalog

    return Desk(
        ledger=found.ledger,
        calls=found.calls,
        clock=found.clock,
        plan=found.plan,
        resolve=found.resolve,
        builds=found.builds,
        record_outcomes=OutcomeIntake(found).take,
        requests=lambda rollout: _requests(found, rollout),
        evidence=found.evidence,
        try_out=found.try_out,
        overview=found.overview,
        look_at_catalog=lambda: look_at_catalog(found.ledger, found.catalog, found.clock()),
        metrics=lambda: _metrics(found),
        counts=lambda: _counts(found),
        checks=_checks,
        admin_token=admin_token,
        webhook_secret=webhook_secret,
        session_secret=secrets.token_urlsafe(32),
        links=links,
    )


def _requests(found: Parts, rollout: Rollout) -> tuple[int, int] | None:
    """Requests assigned to stable and candidate at the present weight."""
    from flows.evidence import seen_of

    seen = seen_of(found.telemetry, rollout, rollout.epoch)
    return seen.stable.requests, seen.candidate.requests


def _metrics(found: Parts) -> bytes:
    from services.telemetry.metrics import Scrape, exposition

    rollouts = found.ledger.rollouts()
    scrape = Scrape(
        models=sorted({rollout.requested.model for rollout in rollouts}),
        rollouts=[rollout for rollout in rollouts if not rollout.is_ended],
        gateway=_gateway(found),
        backlog=collector_backlog(found),
        now=found.clock().timestamp(),
    )
    return exposition(found.telemetry, scrape)


def _gateway(found: Parts) -> dict[str, float] | None:
    from registry.errors import Unreachable

    try:
        return found.envoy.figures()
    except Unreachable:
        return None


def collector_backlog(found: Parts) -> Backlog:
    """What of the access logs was not read."""
    from services.telemetry.backlog import backlog

    logs = make_envoy(found.folder.root, 0, found.settings).logs
    return backlog(found.store, [logs / name for name in ("live.jsonl", "shadow.jsonl")])


def _checks() -> list[dict[str, object]]:
    """What doctor finds, as JSON values."""
    from flows.machine import examine

    return [
        {"check": each.check, "outcome": each.outcome.value, "found": each.found, "fix": each.fix} for each in examine()
    ]


def _counts(found: Parts) -> dict[str, object]:
    queries, behind = found.telemetry, collector_backlog(found)
    return {
        "collector": {
            "unread_bytes": behind.unread_bytes,
            "waiting_seconds": round(behind.waits(found.clock().timestamp()), 1),
        },
        "counters": {str(name): count for name, count in queries.counters().items()},
        "waiting": queries.waiting(),
        "quarantined": [{"log": line.log, "reason": line.reason, "line": line.line} for line in queries.quarantined()],
    }


@dataclass(frozen=True)
class OutcomeIntake:
    """JSON objects to outcomes, and the receipt back to JSON."""

    found: Parts

    def take(self, items: Sequence[dict[str, object]]) -> dict[str, object]:
        """Record a batch. Raises UsageError naming the object and field; then nothing of the batch is recorded."""
        from services.telemetry.outcomes import record

        batch = [_outcome(position, item) for position, item in enumerate(items)]
        receipt = record(self.found.store, batch, self.found.clock())
        return {
            "accepted": receipt.accepted,
            "duplicate": receipt.duplicate,
            "contradictory": receipt.contradictory,
            "refused": [{"index": refusal.index, "reason": refusal.reason} for refusal in receipt.refused],
        }


_OUTCOME_FIELDS = frozenset({"name", "value", "prediction_id", "model", "unit", "at", "id"})


def _outcome(position: int, item: dict[str, Any]) -> Any:
    from services.telemetry.outcomes import OutcomeIn

    where = f"outcomes[{position}]"
    unknown = set(item) - _OUTCOME_FIELDS
    if unknown:
        known = ", ".join(sorted(_OUTCOME_FIELDS))
        raise UsageError(f"{where}: unknown field {', '.join(sorted(unknown))}; known are {known}.")
    for name in ("name", "value"):
        if name not in item:
            raise UsageError(f"{where}: {name} is missing.")
    texts = {name: item.get(name) for name in ("name", "prediction_id", "model", "unit", "id")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{where}.{name}: a text is required, got {value!r}.")
    return OutcomeIn(**{**texts, "value": item["value"], "at": _time(where, item.get("at"))})


def _time(where: str, text: object) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"{where}.at: {text!r} is not an ISO 8601 time.", fix="2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
