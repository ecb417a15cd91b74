"""A gateway's pod: its agent, its Envoy, and the collector of its log, which is a separate process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sluicegate.flows.wiring.cluster_gateway import ClusterAgent
from sluicegate.flows.wiring.loops import Loops
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.services.cluster.lease import Owner
from sluicegate.services.heartbeat import SILENT
from sluicegate.services.host.installation import GATEWAY, make_site
from sluicegate.services.loopback import own_folder
from sluicegate.services.telemetry.tailing.backlog import access_logs
from sluicegate.services.traffic.envoy.plane import Envoy

if TYPE_CHECKING:
    from sluicegate.services.heartbeat import Heartbeats

log = structlog.get_logger("gateway")

_PAUSE = 0.5
_SHORTEST, _LONGEST = 0.5, 30.0
"""Seconds between two starts of a collector that ends at once, for instance while the ledger is away."""
_LAST_SECONDS = 20.0
"""Time limit for reading the rest of the log."""
_START_SECONDS = 60.0
"""Time that a collector may take to start."""


@dataclass(kw_only=True)
class Collecting:
    """The collector of this pod: a process that is started again if it ends or hangs."""

    beats: Heartbeats
    environment: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def keep_running(self, stop: threading.Event) -> None:
        """Keep the collector running until stopped."""
        pause = _SHORTEST
        while not stop.is_set():
            if self._process is not None and self._process.poll() is None and self._hangs():
                log.error("the collector hangs; it is ended, to be started again")
                self._process.kill()
                self._process.wait()
            if self._process is None or self._process.poll() is not None:
                lived = time.monotonic() - self._since
                pause = _SHORTEST if lived > _START_SECONDS else min(2 * pause, _LONGEST)
                command = (sys.executable, "-m", "sluicegate.flows.wiring.processes", "collector")
                self._process = subprocess.Popen(command, env=dict(self.environment), start_new_session=True)
                self._since = time.monotonic()
            stop.wait(pause)

    def end(self) -> None:
        """End the collector; kill it if it does not end in time."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _hangs(self) -> bool:
        silence, age = self.beats.silence("collector"), time.monotonic() - self._since
        return age > _START_SECONDS and (silence is None or silence > SILENT)


def serve(runtime: Runtime, port: int, mounted: Path) -> None:
    """Run a gateway of a cluster until stopped. Raises UsageError if SLUICE_CLUSTER is not set."""
    settings = runtime.settings
    if settings.cluster is None:
        raise UsageError(
            "this gateway does not know which cluster it belongs to.",
            fix="set SLUICE_CLUSTER to the namespace, and SLUICE_LEDGER and SLUICE_TELEMETRY to its databases.",
        )
    root, name = runtime.folder.root, os.environ.get("SLUICE_POD") or socket.gethostname()
    own_folder(root)
    uid = os.environ.get("SLUICE_POD_UID")
    make_site(runtime.folder, {GATEWAY: port}, {})  # for the collector
    envoy = pod_envoy(runtime, port)
    envoy.prepare()
    collecting = Collecting(beats=runtime.heartbeats, environment=os.environ)
    agent = ClusterAgent(
        envoy=envoy, unwatched=settings.unwatched_seconds, api=runtime.cluster_api, name=name, mounted=mounted,
        owner=None if uid is None else Owner(name=name, uid=uid),
        logs={path.stem: f"{runtime.host}:{path}" for path in access_logs(envoy.logs)},
    )  # fmt: skip
    agent.begin()
    loops = Loops("gateway", runtime.heartbeats)
    loops.beside("envoy", agent.keep_running)
    loops.beside("collector", collecting.keep_running)
    loops.beside("routes", agent.follow_table)
    loops.beside("addresses", agent.follow_addresses)
    loops.beside("keeper", agent.follow_keeper)
    loops.beside("switch", agent.look_whether_watched)
    loops.beside("watch", loops.end_where_one_hangs)
    loops.run("words", agent.run)
    end(agent, collecting, runtime)


def end(agent: ClusterAgent, collecting: Collecting, runtime: Runtime) -> None:
    """Let requests finish, end Envoy, wait until its log is read to the end, and report that no more will come."""
    from sluicegate.services.telemetry.tailing.readers import retire

    agent.end_envoy()
    deadline, is_whole = time.monotonic() + _LAST_SECONDS, False
    while not is_whole and time.monotonic() < deadline:
        left = backlog(runtime, agent.envoy.logs)
        is_whole = bool(left) and not any(left.values())
        time.sleep(0 if is_whole else _PAUSE)
    collecting.end()
    if not is_whole:
        log.error("the rest of the log was not read; it goes with this pod, unless the pod is started again")
        return
    try:
        retire(runtime.store, runtime.host)
        agent.send_report(retired=True)
    except SluiceError as error:
        log.error("the keeper cannot be told that this gateway ended; it finds out by itself", why=str(error))
    log.warning("ended; all that was logged has been read")


def pod_envoy(runtime: Runtime, port: int) -> Envoy:
    """The pod's Envoy. Everybody who can reach the pod may call it; a NetworkPolicy limits who can."""
    binary = Path(runtime.settings.envoy_bin) if runtime.settings.envoy_bin else None
    return Envoy(
        runtime.folder.root / "envoy", host="0.0.0.0", port=port, binary=binary, spans=runtime.settings.spans
    )  # fmt: skip


def backlog(runtime: Runtime, logs: Path) -> Mapping[str, int]:
    """Unread bytes of each log; empty if the telemetry does not answer."""
    import sqlalchemy as sa

    from sluicegate.services.telemetry.tailing.backlog import read_of

    try:
        return {path.stem: read_of(runtime.store, path).unread for path in access_logs(logs)}
    except (SluiceError, OSError, sa.exc.SQLAlchemyError):
        return {}
