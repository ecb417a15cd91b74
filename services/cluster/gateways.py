"""The keeper's side of a cluster's gateways: it leaves them routes in a ConfigMap, and reads their Leases.

It writes the ConfigMap when the routes change, and every few seconds one Lease for all gateways together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from sluicegate.registry.words.errors import (
    Fenced,
    NotFound,
    ObjectConflict,
    RoutesRejected,
    SluiceError,
    TimedOut,
)
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken, made_from
from sluicegate.registry.words.gateway_report import GatewayReport, sheet_name
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.following import follow
from sluicegate.services.cluster.kinds import CONFIG_MAP, LEASE, Object
from sluicegate.services.cluster.lease import Watching, keeper_lease, read_gateway_lease
from sluicegate.services.cluster.names import Component, labels
from sluicegate.services.cluster.table_map import TABLE, sheet_of, table_map

log = structlog.get_logger("gateways")

RENEW_EVERY = 3.0
"""Seconds between two writes of the keeper's Lease."""
_SOONEST = 0.5
"""The same, if a gateway waits to read for the first time that a keeper watches it."""
_RESTATE = 30.0
"""Seconds after which routes that did not change are applied again: somebody may have deleted the ConfigMap."""
_LOOK = 0.1


@dataclass
class _Heard:
    """What is known of one gateway."""

    beat: str
    report: GatewayReport
    at: float | None
    """When its last beat was read, by the monotonic clock; None: what its Lease says may be old."""
    echo: str | None = None
    """Its last beat that had been read when the keeper last looked."""
    renewed_at: float | None = None
    is_gone: bool = False
    """Whether its Lease is gone although it did not end in order."""


class ClusterGateways:
    """Every gateway of one namespace."""

    def __init__(
        self, api: Api, *, keeper: str, unwatched: float, forgotten: float,
        refuse_older: Callable[[FencingToken, FencingToken], None], wall: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`forgotten`: seconds of silence after which a gateway whose Lease is gone serves stable builds alone, if
        anybody: it may be on a node that is cut off. `refuse_older` raises Fenced if a table must not follow
        another."""
        self._refuse_older = refuse_older
        self._api, self._keeper, self._unwatched, self._forgotten = api, keeper, unwatched, forgotten
        self._wall, self._elapsed = wall, elapsed
        self._heard: dict[str, _Heard] = {}
        self._lost: list[GatewayReport] = []
        self._has_listed = False
        self._known = threading.Lock()
        self._writing = threading.Lock()
        self._left: tuple[str, float] | None = None
        """The name of the sheet that was left last, and when."""
        self._failed: tuple[str, float, SluiceError] | None = None
        """The name of the last sheet that could not be left, when, and why."""
        self._version: str | None = None
        self._held = BEFORE_ALL
        """The state of the ledger from which the ConfigMap was made, as far as is known."""
        self._renewed: tuple[Mapping[str, str], float] = ({}, -RENEW_EVERY)

    def boxes(self) -> tuple[LeaseBox, ...]:
        """The boxes of the gateways that serve callers, or may."""
        with self._known:
            now = self._elapsed()
            for name, each in list(self._heard.items()):
                if each.is_gone and (each.at is None or now - each.at > self._forgotten):
                    self._lost.append(self._heard.pop(name).report)
            return tuple(LeaseBox(name, self) for name in sorted(self._heard))

    def lost(self) -> tuple[GatewayReport, ...]:
        """The last reports of gateways whose pods are gone and that did not end in order, until `forget`."""
        with self._known:
            return tuple(self._lost)

    def forget(self, report: GatewayReport) -> None:
        """Note that a lost gateway has been dealt with."""
        with self._known:
            self._lost = [each for each in self._lost if each is not report]

    def leave(self, sheet: str) -> str:
        """Leave this sheet for every gateway, and return its name. A sheet that is there already is not written.

        Raises RoutesRejected if it is too large, Fenced if a newer one is there, and TimedOut if it could not be
        written.
        """
        name, asked = sheet_name(sheet), self._elapsed()
        with self._writing:
            now = self._elapsed()
            if self._left is not None and self._left[0] == name and now - self._left[1] < _RESTATE:
                return name
            if self._failed is not None and self._failed[0] == name and self._failed[1] >= asked:
                raise self._failed[2]  # another thread tried meanwhile: nobody waits for each of ten in turn
            try:
                self._write(sheet)
            except SluiceError as error:
                self._version = None
                self._failed = name, self._elapsed(), _meaning(error)
                raise self._failed[2] from error
            self._left = name, now
        return name

    def hear(self, stop: threading.Event) -> None:
        """Read the gateways' Leases until stopped."""
        is_silent = False
        for seen in follow(self._api, LEASE, labels(Component.GATEWAY), stop.wait):
            if seen.why is None:
                for name in self.see(seen.objects):
                    with suppress(SluiceError):
                        self._api.delete(LEASE, name)
            if (seen.why is not None) != is_silent:
                is_silent = not is_silent
                log.warning("gateways are not heard" if is_silent else "gateways are heard again", why=seen.why)

    def see(self, leases: Mapping[str, Object]) -> tuple[str, ...]:
        """Record what the Leases say. Returns the names of gateways that ended in order, whose Leases may be
        deleted."""
        retired = []
        with self._known:
            now = self._elapsed()
            for name, lease in leases.items():
                gateway = read_gateway_lease(lease)
                if gateway.retired:
                    retired.append(name)
                    self._heard.pop(name, None)
                elif name not in self._heard:
                    self._heard[name] = _Heard(gateway.beat, gateway.report, now if self._has_listed else None)
                elif gateway.beat != self._heard[name].beat:
                    known = self._heard[name]
                    known.beat, known.report, known.at, known.is_gone = gateway.beat, gateway.report, now, False
            for name, each in self._heard.items():
                each.is_gone = name not in leases
            self._has_listed = True
        return tuple(retired)

    def renew(self, stop: threading.Event) -> None:
        """Tell gateways that a keeper watches, as long as one does, until stopped."""
        has_warned = False
        while not stop.wait(_LOOK):
            try:
                self.renew_lease()
                has_warned = False
            except SluiceError as error:
                if not has_warned:
                    log.warning("gateways cannot be told that a keeper watches", why=str(error))
                has_warned = True
                stop.wait(_SOONEST)

    def renew_lease(self) -> None:
        """Write the keeper's Lease if it is time to."""
        with self._known:
            echoes = {name: each.echo for name, each in self._heard.items() if each.echo is not None}
        before, at = self._renewed
        waits = _SOONEST if echoes.keys() - before.keys() else RENEW_EVERY
        now = self._elapsed()
        if echoes == before or now - at < waits:
            return
        sheet = "" if self._left is None else self._left[0]
        watching = Watching(beats=echoes, sheet=sheet, unwatched=self._unwatched)
        self._api.apply(LEASE, keeper_lease(self._keeper, watching, self._wall()))
        self._renewed = echoes, now

    def known_of(self, name: str) -> _Heard | None:
        """What is known of a gateway."""
        with self._known:
            return self._heard.get(name)

    def note_watching(self, name: str) -> None:
        """Note that the keeper watches a gateway, up to the last beat that was read."""
        with self._known:
            each = self._heard.get(name)
            if each is not None:
                each.renewed_at = self._elapsed()
                each.echo = each.beat if each.at is not None else None

    def silence(self, name: str) -> float | None:
        """Seconds since its last beat was read."""
        each = self.known_of(name)
        return None if each is None or each.at is None else self._elapsed() - each.at

    def place(self, name: str) -> str:
        """The command that shows its log."""
        return f"kubectl --namespace {self._api.namespace} logs {name}"

    def _write(self, sheet: str) -> None:
        """Write the ConfigMap, unless a later keeper wrote the present one. Tries again if somebody writes it
        meanwhile."""
        own = made_from(sheet)
        for _ in range(3):
            if self._version is None:
                self._version, self._held = self._present()
            self._refuse_older(own, self._held)
            try:
                there = self._api.apply(CONFIG_MAP, table_map(sheet, self._version))
                self._version, self._held = str(there["metadata"]["resourceVersion"]), own
                return
            except (ObjectConflict, NotFound):
                self._version = None
        raise TimedOut(f"the ConfigMap {TABLE} is written by somebody else, again and again.", fix="see who does so.")

    def _present(self) -> tuple[str | None, FencingToken]:
        """The version of the present ConfigMap, None if there is none, and the state of the ledger it was made from."""
        try:
            there = self._api.get(CONFIG_MAP, TABLE)
        except NotFound:
            return None, BEFORE_ALL
        return str(there["metadata"]["resourceVersion"]), made_from(sheet_of(there) or "")


def _meaning(error: SluiceError) -> SluiceError:
    """The error for routes that could not be left."""
    if isinstance(error, RoutesRejected | Fenced):
        return error
    return TimedOut(f"the routes cannot be left in the cluster: {error.message}", fix=error.fix)


@dataclass(frozen=True)
class LeaseBox:
    """The exchange between the keeper and one gateway of the cluster."""

    name: str
    gateways: ClusterGateways

    @property
    def place(self) -> str:
        """The command that shows its log."""
        return self.gateways.place(self.name)

    def leave(self, text: str) -> str:
        """Leave a sheet for this gateway and all others."""
        return self.gateways.leave(text)

    def report(self) -> GatewayReport:
        """The gateway's last report."""
        each = self.gateways.known_of(self.name)
        return GatewayReport() if each is None or each.at is None else each.report

    def silence(self) -> float | None:
        """Seconds since its last beat was read."""
        return self.gateways.silence(self.name)

    def renew(self) -> None:
        """Note that a keeper watches."""
        self.gateways.note_watching(self.name)

    def renewed_at(self) -> float | None:
        """When `renew` last noted that a keeper watches."""
        each = self.gateways.known_of(self.name)
        return None if each is None else each.renewed_at
