"""What `sluice gateway --cluster` runs: an Envoy in a pod, which follows routes and pods of its namespace itself.

Routes come from a ConfigMap, addresses from EndpointSlices, that a keeper watches from its Lease; what is so here goes
into a Lease of our own. While the API is away, Envoy serves by its last files, and after a restart by these or by the
ConfigMap that is mounted. A collector beside it reads its log into the telemetry.
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
from sluicegate.services.cluster.lease import KEEPER, Owner, gateway_lease, read_keeper
from sluicegate.services.cluster.names import Component, build_name, labels
from sluicegate.services.cluster.objects import PORT
from sluicegate.services.cluster.slices import endpoints_of
from sluicegate.services.cluster.table_map import TABLE, mounted_sheet, sheet_of

if TYPE_CHECKING:
    from sluicegate.services.cluster.api import Api

log = structlog.get_logger("gateway")

BEAT_EVERY = 3.0
"""Seconds between two beats; what is new is said at once."""
_FRESH = 9.0
"""Seconds after which a beat that comes back says nothing of now."""
_KEPT = 64
"""Beats whose time is remembered."""
_PAUSE = 0.25
"""Seconds between two looks whether the process is to end."""
_GREETING_PAUSE = 0.1


@dataclass(kw_only=True)
class ClusterAgent(Agent):
    """A gateway of a cluster, for as long as its process lives."""

    api: Api
    name: str
    """The pod's, and that of its Lease."""
    owner: Owner | None = None
    mounted: Path
    """Where the ConfigMap is mounted."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """By which name the telemetry has each log."""
    beat_every: float = BEAT_EVERY
    greeting: float = 2.5
    """Seconds that the first word of a keeper is waited for."""
    wall: Callable[[], datetime] = now
    elapsed: Callable[[], float] = time.monotonic
    news: threading.Event = field(default_factory=threading.Event, init=False)
    """Something is to be said at once."""
    _slices: tuple[Object, ...] | None = field(default=None, init=False)
    """None: the API was not heard yet."""
    _looked_for: str = field(default="", init=False)
    """The sheet for whose builds the slices were listed again."""
    _coming: str = field(default="", init=False)
    _process_id: str = field(default_factory=lambda: secrets.token_hex(4), init=False)
    _beats: dict[str, float] = field(default_factory=dict, init=False)
    """When each beat was sent."""
    _count: int = field(default=0, init=False)

    def begin(self) -> None:
        """Take the present routes before Envoy starts. Where the API does not give them, take the mounted ones if they
        are not older than those that Envoy has. Where no keeper is heard to watch, start with stable alone."""
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
        """Have the routes in force with the addresses of now; where the switch has acted, in their stable-only form."""
        super().hold(is_watched=is_watched and self._mark().read() is None)

    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """Where these builds are, by the slices; by their names while the API was not heard yet.

        The keeper has seen each: where one has no address here, the slices are listed again, once for each sheet.
        """
        if self._slices is None:
            return {build: there for build in builds if (there := _resolved(build, self.api.namespace))}
        found = self._by_slices(builds)
        if found.keys() != set(builds) and self._looked_for != self._coming:
            self._looked_for = self._coming
            with contextlib.suppress(SluiceError):
                self._fetch_slices()
                found = self._by_slices(builds)
        return found

    def _by_slices(self, builds: Collection[BuildRef]) -> Endpoints:
        return {build: there for build in builds if (there := endpoints_of(build, self._slices or ()))}

    def follow_table(self, stop: threading.Event) -> None:
        """Take what the ConfigMap holds, until stopped."""
        told = False
        for seen in follow(self.api, CONFIG_MAP, labels(Component.GATEWAY), stop.wait):
            if (seen.why is not None) != told:
                told = not told
                log.warning("the cluster's API is away" if told else "the cluster's API answers again", why=seen.why)
            if TABLE in seen.objects:
                self.see_table(seen.objects[TABLE])

    def follow_addresses(self, stop: threading.Event) -> None:
        """Send requests to the pods that there are, until stopped."""
        for seen in follow(self.api, ENDPOINT_SLICE, labels(Component.SERVICE), stop.wait):
            if seen.why is None:
                self._slices = tuple(seen.objects.values())
                self._hold_and_tell()

    def follow_keeper(self, stop: threading.Event) -> None:
        """Hear whether a keeper watches, until stopped."""
        for seen in follow(self.api, LEASE, labels(Component.CONTROL), stop.wait):
            if seen.why is None and KEEPER in seen.objects:
                self.see_keeper(seen.objects[KEEPER])

    def see_table(self, thing: Object) -> None:
        """Take the routes of this ConfigMap, where they are new."""
        try:
            sheet = sheet_of(thing)
        except SluiceError as error:
            log.error("the routes cannot be read; the last ones stay in force", why=str(error))
            return
        if sheet is not None and sheet_name(sheet) != self.has:
            self._take(sheet)

    def see_keeper(self, thing: Object) -> None:
        """A keeper watches where it heard a beat of ours, and we have the routes that it left."""
        told = read_keeper(thing)
        self.unwatched = told.unwatched or self.unwatched
        sent = self._beats.get(told.heard.get(self.name, ""))
        if sent is None or self.elapsed() - sent >= _FRESH:
            return
        sheet = None
        if told.sheet != self.has:  # the watch of the ConfigMap may hang
            try:
                sheet = self._fetched()
            except SluiceError:
                return
            if sheet is None or sheet_name(sheet) != told.sheet:
                return
        self._mark().clear()
        if sheet is not None:
            self._take(sheet)
        elif not self.refused:
            self._hold_and_tell()
        self.heed(self.elapsed() - sent)

    def run(self, stop: threading.Event) -> None:
        """Say what is so here, at once where it is new, until stopped."""
        told, due = False, 0.0
        while not stop.is_set():
            if not self.news.wait(_PAUSE) and self.elapsed() < due:
                continue
            self.news.clear()
            due = self.elapsed() + self.beat_every
            try:
                self.say()
                told = False
            except SluiceError as error:
                if not told:
                    log.error("the cluster does not hear this gateway", why=str(error))
                told = True
                due = self.elapsed() + 2 * _PAUSE

    def say(self, *, retired: bool = False) -> None:
        """Write our Lease. Raises SluiceError."""
        self._count += 1
        beat = f"{self._process_id}-{self._count}"
        said = self.said()
        self._beats[beat] = self.elapsed()
        for old in list(self._beats)[:-_KEPT]:
            del self._beats[old]
        lease = gateway_lease(self.name, beat, said, self.wall(), owner=self.owner, retired=retired)
        self.api.apply(LEASE, lease, manager="sluicegate-gateway")

    def said(self, **more: object) -> dict[str, object]:
        """What is so here."""
        said = super().said(instance=self.name, **more)
        under_way = said["in_flight"]
        assert isinstance(under_way, dict)
        said["in_flight"] = {build: count for build, count in under_way.items() if count}
        served = said["served"]
        if isinstance(served, dict):
            served["logs"] = dict(self.logs)
        return said

    def _is_greeted(self) -> bool:
        """Whether a keeper answers that it hears this gateway, and watches it."""
        self.say()
        until, watched = self.elapsed() + self.greeting, self.envoy.renewed_at()
        while self.elapsed() < until:
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

    def _hold_and_tell(self) -> None:
        """Have the routes in force; say at once where that turned out otherwise than before."""
        before = (self.why, self.refused, self.held)
        self.hold()
        if (self.why, self.refused, self.held) != before:
            self.news.set()

    def _fetched(self) -> str | None:
        return sheet_of(self.api.get(CONFIG_MAP, TABLE))

    def _fetch_slices(self) -> None:
        self._slices = self.api.select(ENDPOINT_SLICE, labels(Component.SERVICE)).items


def _resolved(build: BuildRef, namespace: str) -> tuple[Endpoint, ...]:
    """Where a build is, as the name of its headless Service says it."""
    name = f"{build_name(build)}.{namespace}.svc"
    try:
        found = {each[4][0] for each in socket.getaddrinfo(name, PORT, type=socket.SOCK_STREAM)}
    except OSError:
        return ()
    return tuple(Endpoint(build=build, host=str(host), port=PORT) for host in sorted(map(str, found)))
