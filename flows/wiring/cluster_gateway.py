"""What `sluice gateway --cluster` runs: an Envoy in a pod, whose agent follows the routes and pods of its namespace.

Routes come from a ConfigMap, addresses from EndpointSlices, and the keeper's Lease shows that a keeper watches. The
agent writes its reports into its own Lease. While the API is away, Envoy keeps its last files; after a restart it uses
these or the mounted ConfigMap. A collector beside it reads its log into the telemetry.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sluicegate.flows.wiring.agent import Agent
from sluicegate.flows.wiring.runtime import now
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.registry.words.gateway_report import sheet_name
from sluicegate.services.cluster.following import follow
from sluicegate.services.cluster.kinds import CONFIG_MAP, ENDPOINT_SLICE, LEASE, Object
from sluicegate.services.cluster.lease import KEEPER, Owner, gateway_lease, read_keeper_lease
from sluicegate.services.cluster.names import Component, build_name, labels
from sluicegate.services.cluster.objects import PORT
from sluicegate.services.cluster.slices import endpoints_of
from sluicegate.services.cluster.table_map import TABLE, mounted_sheet, sheet_of

if TYPE_CHECKING:
    from sluicegate.services.cluster.api import Api

log = structlog.get_logger("gateway")

BEAT_EVERY = 3.0
"""Seconds between two reports; news is reported at once."""
_FRESH = 9.0
"""Seconds after which a beat that the keeper repeats is too old to show that it watches now."""
_KEPT = 64
"""Number of beats whose times are remembered."""
_PAUSE = 0.25
"""Seconds between two checks whether the process should end."""
_GREETING_PAUSE = 0.1


@dataclass(kw_only=True)
class ClusterAgent(Agent):
    """A gateway of a cluster, for as long as its process lives."""

    api: Api
    name: str
    """The name of the pod and of its Lease."""
    owner: Owner | None = None
    mounted: Path
    """The folder where the ConfigMap is mounted."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """The name of each log in the telemetry."""
    beat_every: float = BEAT_EVERY
    greeting: float = 2.5
    """Seconds to wait for the first sign of a keeper."""
    wall: Callable[[], datetime] = now
    elapsed: Callable[[], float] = time.monotonic
    news: threading.Event = field(default_factory=threading.Event, init=False)
    """Set when there is something to report at once."""
    _slices: tuple[Object, ...] | None = field(default=None, init=False)
    """None until the API has answered."""
    _looked_for: str = field(default="", init=False)
    """The sheet for whose builds the slices were last listed again."""
    _coming: str = field(default="", init=False)
    _process_id: str = field(default_factory=lambda: secrets.token_hex(4), init=False)
    _beats: dict[str, float] = field(default_factory=dict, init=False)
    """When each beat was sent."""
    _count: int = field(default=0, init=False)

    def begin(self) -> None:
        """Fetch the present routes before Envoy starts.

        If the API does not give them, use the mounted ones, unless Envoy has newer ones. If no keeper shows that it
        watches, start with stable builds only.
        """
        if not self.envoy.is_away():
            return
        with contextlib.suppress(OSError):
            self._mark().put("no keeper was heard since this gateway started")
        try:
            self._fetch_slices()
            sheet = self._fetched()
            if self._is_greeted():
                return
            log.warning("no keeper watches; it starts with stable builds alone")
            if sheet is not None:
                self._take(sheet)
        except NotFound:
            log.warning("no keeper has left routes yet")
        except SluiceError as error:
            log.error("the cluster's API gives no routes; it starts with those that are mounted", why=str(error))
            self._take_mounted()
        self.begin_unwatched()

    def hold(self, *, is_watched: bool = True) -> None:
        """Apply the routes with the present addresses; in their stable-only form if the switch has acted."""
        super().hold(is_watched=is_watched and self._mark().read() is None)

    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """The addresses of these builds, from the slices, or from DNS until the API has answered.

        The keeper has seen an address of each build. If one is missing here, lists the slices again, once a sheet.
        """
        if self._slices is None:
            return {build: addresses for build in builds if (addresses := _resolved(build, self.api.namespace))}
        endpoints = self._by_slices(builds)
        if endpoints.keys() != set(builds) and self._looked_for != self._coming:
            self._looked_for = self._coming
            with contextlib.suppress(SluiceError):
                self._fetch_slices()
                endpoints = self._by_slices(builds)
        return endpoints

    def _by_slices(self, builds: Collection[BuildRef]) -> Endpoints:
        return {build: addresses for build in builds if (addresses := endpoints_of(build, self._slices or ()))}

    def follow_table(self, stop: threading.Event) -> None:
        """Apply the routes of the ConfigMap whenever they change, until stopped."""
        is_away = False
        for update in follow(self.api, CONFIG_MAP, labels(Component.GATEWAY), stop.wait):
            if (update.why is not None) != is_away:
                is_away = not is_away
                log.warning(
                    "the cluster's API is away" if is_away else "the cluster's API answers again", why=update.why
                )
            if TABLE in update.objects:
                self.see_table(update.objects[TABLE])

    def follow_addresses(self, stop: threading.Event) -> None:
        """Send requests to the pods that exist, until stopped."""
        for update in follow(self.api, ENDPOINT_SLICE, labels(Component.SERVICE), stop.wait):
            if update.why is None:
                self._slices = tuple(update.objects.values())
                self._hold_and_report()

    def follow_keeper(self, stop: threading.Event) -> None:
        """Follow the keeper's Lease, until stopped."""
        for update in follow(self.api, LEASE, labels(Component.CONTROL), stop.wait):
            if update.why is None and KEEPER in update.objects:
                self.see_keeper(update.objects[KEEPER])

    def see_table(self, thing: Object) -> None:
        """Apply the routes of this ConfigMap if they are new."""
        try:
            sheet = sheet_of(thing)
        except SluiceError as error:
            log.error("the routes cannot be read; the last ones stay in force", why=str(error))
            return
        if sheet is not None and sheet_name(sheet) != self.has:
            self._take(sheet)

    def see_keeper(self, thing: Object) -> None:
        """Note that a keeper watches, if its Lease repeats a recent beat of ours and we have the routes it left."""
        keeper = read_keeper_lease(thing)
        self.unwatched = keeper.unwatched or self.unwatched
        sent = self._beats.get(keeper.beats.get(self.name, ""))
        if sent is None or self.elapsed() - sent >= _FRESH:
            return
        sheet = None
        if keeper.sheet != self.has:  # the watch on the ConfigMap may hang
            try:
                sheet = self._fetched()
            except SluiceError:
                return
            if sheet is None or sheet_name(sheet) != keeper.sheet:
                return
        self._mark().clear()
        if sheet is not None:
            self._take(sheet)
        elif not self.refused:
            self._hold_and_report()
        self.envoy.renew(self.elapsed() - sent)

    def run(self, stop: threading.Event) -> None:
        """Report regularly, and at once if there is news, until stopped."""
        was_logged, due = False, 0.0
        while not stop.is_set():
            if not self.news.wait(_PAUSE) and self.elapsed() < due:
                continue
            self.news.clear()
            due = self.elapsed() + self.beat_every
            try:
                self.send_report()
                was_logged = False
            except SluiceError as error:
                if not was_logged:
                    log.error("the cluster does not hear this gateway", why=str(error))
                was_logged = True
                due = self.elapsed() + 2 * _PAUSE

    def send_report(self, *, retired: bool = False) -> None:
        """Write the report into our Lease. Raises SluiceError."""
        self._count += 1
        beat = f"{self._process_id}-{self._count}"
        report = self.report()
        self._beats[beat] = self.elapsed()
        for old_beat in list(self._beats)[:-_KEPT]:
            del self._beats[old_beat]
        lease = gateway_lease(self.name, beat, report, self.wall(), owner=self.owner, retired=retired)
        self.api.apply(LEASE, lease, manager="sluicegate-gateway")

    def report(self, **more: object) -> dict[str, object]:
        """The gateway's report on itself."""
        report = super().report(instance=self.name, **more)
        under_way = report["in_flight"]
        assert isinstance(under_way, dict)
        report["in_flight"] = {build: count for build, count in under_way.items() if count}
        served = report["served"]
        if isinstance(served, dict):
            served["logs"] = dict(self.logs)
        return report

    def _is_greeted(self) -> bool:
        """Whether a keeper shows in time that it hears and watches this gateway."""
        self.send_report()
        deadline, watched = self.elapsed() + self.greeting, self.envoy.renewed_at()
        while self.elapsed() < deadline:
            for each in self.api.select(LEASE, labels(Component.CONTROL)).items:
                if each["metadata"]["name"] == KEEPER:
                    self.see_keeper(each)
            if self.envoy.renewed_at() != watched:
                return True
            time.sleep(_GREETING_PAUSE)
        return False

    def _take_mounted(self) -> None:
        try:
            sheet = mounted_sheet(self.mounted)
        except SluiceError as error:
            log.error("the mounted routes cannot be read", why=str(error))
            return
        if sheet is not None:
            self._take(sheet)

    def _take(self, sheet: str) -> None:
        with self._turn:
            self._coming = sheet_name(sheet)
            if self._coming != self.has:
                self.take(self._coming, sheet)
        self.news.set()

    def _hold_and_report(self) -> None:
        """Apply the routes, and report at once if the result differs from before."""
        before = (self.why, self.refused, self.refused_models)
        self.hold()
        if (self.why, self.refused, self.refused_models) != before:
            self.news.set()

    def _fetched(self) -> str | None:
        return sheet_of(self.api.get(CONFIG_MAP, TABLE))

    def _fetch_slices(self) -> None:
        self._slices = self.api.select(ENDPOINT_SLICE, labels(Component.SERVICE)).items


def _resolved(build: BuildRef, namespace: str) -> tuple[Endpoint, ...]:
    """A build's addresses, from the DNS name of its headless Service."""
    name = f"{build_name(build)}.{namespace}.svc"
    try:
        hosts = {each[4][0] for each in socket.getaddrinfo(name, PORT, type=socket.SOCK_STREAM)}
    except OSError:
        return ()
    return tuple(Endpoint(build=build, host=str(host), port=PORT) for host in sorted(map(str, hosts)))
