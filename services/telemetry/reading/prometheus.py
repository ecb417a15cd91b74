"""Metrics in the text format of Prometheus; docs/reference/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.sight import Listener, Sight
from sluicegate.services.telemetry.reading import prometheus_rollouts
from sluicegate.services.telemetry.reading.accounts import Gap
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.tailing.backlog import Backlog


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """The values of one scrape, besides the counters of the store."""

    ledger_up: bool = True
    """Whether the ledger can be read; if not, the metrics that come from it are left out."""
    telemetry_up: bool = True
    """Whether the telemetry could be read so far; if not, the metrics that come from it are left out."""
    models: Sequence[str] = ()
    rollouts: Sequence[Rollout] = ()
    gateway: Mapping[str, float] | None = None
    """The gateway's figures by name; None if it does not answer."""
    stable_only: Mapping[str, bool] = field(default_factory=dict)
    """Whether each gateway serves only stable builds because no keeper is watching it."""
    backlog: Backlog | None = None
    gaps: Sequence[Gap] = ()
    """Requests whose lines were never read."""
    now: float = 0.0
    """Seconds since 1970."""
    untended: int = 0
    """Rollouts that the keeper cannot judge."""
    overdue: int = 0
    """Rollouts whose desired weight is not in force in time."""
    undriven: int = 0
    """Rollouts without a working driver."""
    waiting: int | None = 0
    """Rollouts that wait for a person; None if that needs the telemetry, which cannot be read."""
    free: float | None = None
    """The free share of the state folder's disk."""
    silence: Mapping[str, float] = field(default_factory=dict)
    """Seconds since the last heartbeat, by program."""
    expiries: Mapping[str, float] = field(default_factory=dict)
    """Seconds until each token expires, by its name; negative if it has expired."""
    sights: Mapping[Listener, Sight] = field(default_factory=dict)
    """How many requests of each listener are counted."""
    families: Sequence[Metric] = ()
    """Metrics of other rooms, exported unchanged."""


def exposition(queries: Queries, scrape: Scrape) -> bytes:
    """The response to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(queries, scrape))
    return generate_latest(registry)


class _Families:
    """A prometheus_client collector with the metric families of one scrape."""

    def __init__(self, queries: Queries, scrape: Scrape) -> None:
        self._queries = queries
        self._scrape = scrape

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._unwatched()
        yield from self._gateway()
        counted = self._counted()
        meaning = "1 if the telemetry can be read; at 0 all metrics that come from it are missing."
        yield _gauge("sluice_telemetry_up", meaning, float(counted is not None))
        yield from counted or ()
        yield from self._scrape.families
        if self._scrape.free is not None:
            meaning = "Share of the state folder's disk that is free."
            yield _gauge("sluice_state_disk_free_ratio", meaning, self._scrape.free)
        silence = GaugeMetricFamily("sluice_silence_seconds", "Time since a program's last beat.", labels=["program"])
        for program, seconds in self._scrape.silence.items():
            silence.add_metric([program], seconds)
        yield silence
        meaning = "1 if the ledger can be read; at 0 all metrics that come from it are missing."
        yield _gauge("sluice_ledger_up", meaning, float(self._scrape.ledger_up))
        if self._scrape.ledger_up:
            yield from self._ledger()

    def _counted(self) -> Sequence[Metric] | None:
        """The metrics that come from the telemetry; None if it cannot be read."""
        if not self._scrape.telemetry_up:
            return None
        try:
            families = [*self._collector()]
            if self._scrape.ledger_up:
                families += [*self._builds(), *prometheus_rollouts.counted(self._queries, self._scrape.rollouts)]
        except Unreachable:
            return None
        return families

    def _ledger(self) -> Iterator[Metric]:
        meaning = "Rollouts under way that the keeper cannot judge: their guardrails do not work."
        yield _gauge("sluice_rollouts_untended", meaning, float(self._scrape.untended))
        meaning = "Rollouts whose weight was ordered more than 10 s ago and is not in force."
        yield _gauge("sluice_rollouts_overdue", meaning, float(self._scrape.overdue))
        meaning = "Rollouts under way on which no driver works: they do not advance."
        yield _gauge("sluice_rollouts_undriven", meaning, float(self._scrape.undriven))
        if self._scrape.waiting is not None:
            meaning = "Rollouts that wait for a person, such as for an approval."
            yield _gauge("sluice_rollouts_waiting", meaning, float(self._scrape.waiting))
        meaning = "Time until a token of the console expires; below 0 it has. Tokens that never expire are left out."
        expiry = GaugeMetricFamily("sluice_token_expires_in_seconds", meaning, labels=["name"])
        for name, seconds in self._scrape.expiries.items():
            expiry.add_metric([name], seconds)
        yield expiry
        yield from self._sights()
        yield from prometheus_rollouts.standing(self._scrape.rollouts)

    def _unwatched(self) -> Iterator[Metric]:
        stable_only = GaugeMetricFamily("sluice_gateway_stable_only", _STABLE_ONLY, labels=["gateway"])
        for gateway, is_so in self._scrape.stable_only.items():
            stable_only.add_metric([gateway], float(is_so))
        yield stable_only

    def _gateway(self) -> Iterator[Metric]:
        gateway = self._scrape.gateway
        yield _gauge("sluice_gateway_up", "1 where the gateway's statistics can be read.", float(gateway is not None))
        if gateway is None:
            return
        for family, start in (
            (CounterMetricFamily("sluice_gateway_answers", _ANSWERS, labels=["code"]), "answers."),
            (CounterMetricFamily("sluice_gateway_refused_bodies", _REFUSED_BODIES, labels=["size"]), "refused_bodies."),
            (GaugeMetricFamily("sluice_gateway_waiting_bodies", _WAITING_BODIES, labels=["size"]), "waiting_bodies."),
        ):
            for name, value in gateway.items():
                if name.startswith(start):
                    family.add_metric([name.removeprefix(start)], value)
            yield family
        for name, meaning in _COUNTERS.items():
            family = CounterMetricFamily(f"sluice_gateway_{name}", meaning)
            family.add_metric([], gateway[name])
            yield family
        for name, meaning in _GAUGES.items():
            yield _gauge(f"sluice_gateway_{name}", meaning, gateway[name])

    def _collector(self) -> Iterator[Metric]:
        counted = CounterMetricFamily("sluice_telemetry", "What the collector and the intake counted.", labels=["what"])
        for count, n in self._queries.counters().items():
            counted.add_metric([count.value], n)
        yield counted
        meaning = "Rows that are not yet added to tallies."
        waiting = GaugeMetricFamily("sluice_telemetry_waiting", meaning, labels=["what"])
        for what, n in self._queries.waiting().items():
            waiting.add_metric([what], n)
        yield waiting
        backlog = self._scrape.backlog
        if backlog is not None:
            waits = backlog.waits(self._scrape.now)
            yield _gauge("sluice_collector_unread_bytes", "Access log that was not read.", backlog.unread_bytes)
            yield _gauge("sluice_collector_waiting_seconds", "Time since a line was read, while there are some.", waits)
        meaning = "Requests that a gateway has served and of which no line was ever read: they are in no tally."
        missing = GaugeMetricFamily("sluice_missing_requests", meaning, labels=["gateway", "log"])
        for gap in self._scrape.gaps:
            missing.add_metric([gap.gateway, gap.log], gap.requests)
        yield missing

    def _sights(self) -> Iterator[Metric]:
        meaning = "1 where too many requests of a listener are not counted: gates say NO DATA, nothing advances."
        blind = GaugeMetricFamily("sluice_blind", meaning, labels=["listener"])
        what = "Share of a listener's recent requests that ought to be counted and is not."
        share = GaugeMetricFamily("sluice_uncounted_ratio", what, labels=["listener"])
        for listener, sight in self._scrape.sights.items():
            blind.add_metric([listener.value], float(sight.blind is not None))
            share.add_metric([listener.value], sight.share)
        yield from (blind, share)

    def _builds(self) -> Iterator[Metric]:
        labels = ["model", "variation", "build"]
        rate = GaugeMetricFamily("sluice_build_requests_per_second", "Requests assigned, last minute.", labels=labels)
        what = "Share of them that failed or were abandoned."
        errors = GaugeMetricFamily("sluice_build_error_share", what, labels=labels)
        shown = {
            q: GaugeMetricFamily(f"sluice_build_{q}_seconds", f"Duration that {q[1:]} % stay below.", labels=labels)
            for q in ("p50", "p95", "p99")
        }
        for model, builds in self._queries.recent(self._scrape.models).items():
            for recent in builds:
                values = [model, recent.variation, recent.build]
                rate.add_metric(values, recent.requests_per_second)
                errors.add_metric(values, recent.error_share)
                for q, family in shown.items():
                    if (value := getattr(recent, q)) is not None:
                        family.add_metric(values, value)
        yield from (rate, errors, *shown.values())


_STABLE_ONLY = "1 while a gateway serves stable builds only, as no keeper has watched it for a while."
_ANSWERS = "Answers to callers by class of code."
_REFUSED_BODIES = "Requests with larger bodies answered 503 because too many wait for their budget already."
_WAITING_BODIES = "Requests with larger bodies that wait, unread, for their budget; others are served meanwhile."
_COUNTERS = {
    "abandoned": "Requests whose caller left before the answer.",
    "refused_connections": "Connections closed at once because too many are open already.",
    "refused_configurations": "Configurations that Envoy refused; the one before stays in force.",
    "failed_log_writes": "Writes to the access log that failed, such as on a full disk: their lines are lost.",
}
_GAUGES = {
    "active_requests": "Requests under way.",
    "active_connections": "Connections of callers.",
    "uptime_seconds": "Time since Envoy started.",
}


def _gauge(name: str, meaning: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, meaning)
    family.add_metric([], value)
    return family
