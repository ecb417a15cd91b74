"""Joined agent: the agent of a gateway on a host without a keeper.

It fetches routes from another host's console, applies them, reports what it serves, and sends its access logs. While
the console cannot be reached, Envoy keeps its last files.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.flows.wiring import gateway_guard, successor
from sluicegate.flows.wiring.agent import Agent
from sluicegate.flows.wiring.housekeeping import ROTATE_BYTES
from sluicegate.flows.wiring.joined_console import Console
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services import durable
from sluicegate.services.loopback import address_towards, own_folder
from sluicegate.services.telemetry.tailing.backlog import access_logs
from sluicegate.services.telemetry.tailing.shipping import Shipper
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.joined import ON_THE_WAY

if TYPE_CHECKING:
    from sluicegate.services.heartbeat import Heartbeats

log = structlog.get_logger("gateway")

PAUSE = 0.5
"""Seconds to wait after the console did not answer."""
_SUCCEED_EVERY, _SUCCEED_AGAIN = 1.0, 60.0
_SHIP_EVERY = 0.2
_TIDY_EVERY = 30.0
_LAST_SECONDS = 20.0
"""Time limit for sending the rest of the log."""


@dataclass(kw_only=True)
class JoinedAgent(Agent):
    """A gateway of another host's installation, for as long as its process lives."""

    folder: Path
    console: Console
    relay: Mapping[str, Any]
    """The address of the relay that leads to the services."""
    callers: str = ""
    """The token that callers on other hosts must send."""
    with_token: Callable[[str], Envoy] | None = None
    """Makes its Envoy with another token; None if callers on other hosts are not answered."""
    shipped_at: float | None = None
    """When everything logged had been sent, in seconds of the monotonic clock."""

    def turn(self) -> None:
        """Report to the console once, and apply what is new."""
        sent_at = time.monotonic()
        answer = self.console.exchange(self.report())
        took, ago = time.monotonic() - sent_at - answer["waited"], answer["renewed_ago"]
        is_watched = ago is not None and took + ago < ON_THE_WAY
        if is_watched:
            self.envoy.renew(took + ago)
        self.unwatched = answer["unwatched"]
        if "relay" in answer:
            self.relay = answer["relay"]
            self._keep(answer)
            self._follow_callers(str(answer["callers"]))
        if answer.get("sheet") is not None:
            is_watched = is_watched or not self._starts_unwatched()
            self.take(str(answer["name"]), answer["sheet"], is_watched=is_watched)
        elif is_watched and not self.refused:
            self.hold()

    def _starts_unwatched(self) -> bool:
        """Whether this process has no routes yet, and Envoy does not run or serves stable builds only.

        The console may then have routes that a keeper left before it died.
        """
        return not self.has and (self.envoy.is_away() or self._stable_only() is not None)

    def _follow_callers(self, token: str) -> None:
        """Prepare an Envoy with the callers' present token, which Envoy reads only when it starts."""
        if token == self.callers or self.with_token is None:
            return
        self.callers, self.envoy = token, self.with_token(token)
        self.envoy.prepare()

    def succeed(self, stop: threading.Event) -> None:
        """Replace Envoy whenever something that it reads only at its start has changed, until stopped."""
        while not stop.wait(_SUCCEED_EVERY):
            if self.envoy.is_away() or not successor.is_changed(self.envoy):
                continue
            try:
                self._process = successor.follow(self.envoy)
                log.warning("another Envoy has taken over: the callers' token or the package has changed")
            except (SluiceError, OSError) as error:
                log.error("Envoy goes on by what it read at its start", why=str(error))
                stop.wait(_SUCCEED_AGAIN)

    def report(self, **more: object) -> dict[str, object]:
        """The gateway's report on itself."""
        until = None if self.shipped_at is None else self.console.time_of(self.shipped_at)
        own_address = address_towards(str(self.relay["address"]), int(self.relay["port"])) if self.relay else None
        return super().report(shipped_until=until, own_address=own_address, **more)

    def run(self, stop: threading.Event) -> None:
        """Report and apply routes until stopped."""
        was_logged = False
        while not stop.is_set():
            try:
                self.turn()
                if was_logged:
                    log.warning("the console answers again")
                was_logged = False
            except SluiceError as error:
                if not was_logged:
                    log.error("the console gives no routes; the last ones stay in force", why=str(error))
                was_logged = True
                stop.wait(PAUSE)

    def ship(self, stop: threading.Event) -> None:
        """Send the logs until stopped."""
        shippers, tidied, was_logged = self._shippers(), time.monotonic(), False
        while not stop.is_set():
            at, answers = time.monotonic(), self.envoy.observe() is not None or self.envoy.is_away()
            try:
                if _all_shipped(shippers) and answers:
                    self.shipped_at = at
                if at - tidied > _TIDY_EVERY:
                    tidied = at
                    self._tidy(shippers)
                was_logged = False
            except (SluiceError, OSError) as error:
                if not was_logged:
                    log.warning("the log was not sent; it waits here", why=str(error))
                was_logged = True
                stop.wait(PAUSE)
            stop.wait(_SHIP_EVERY)

    def end(self) -> None:
        """Let requests finish, end Envoy, and send the rest of its log."""
        self.end_envoy()
        until, shippers = time.monotonic() + _LAST_SECONDS, self._shippers()
        while time.monotonic() < until:
            try:
                if _all_shipped(shippers):
                    self.shipped_at = time.monotonic()
                    if self.console.exchange(self.report(retired=True))["heard"]:
                        log.warning("ended; all that was logged has been sent")
                        return
            except (SluiceError, OSError) as error:
                log.warning("the rest of the log was not sent yet", why=str(error))
                time.sleep(PAUSE)
        log.error("the rest of the log could not be sent; start the gateway here again to send it")

    def begin(self) -> None:
        """Fetch the present routes before Envoy starts. Without them, or without a keeper, it starts with stable builds
        only."""
        try:
            self.turn()
        except (SluiceError, OSError):
            self.begin_unwatched()

    def guard(self, beats: Heartbeats, stop: threading.Event) -> None:
        """Keep this process's guard running until stopped."""
        process = gateway_guard.start(self.folder, beats)
        while not stop.wait(PAUSE):
            if process.poll() is not None:
                log.warning("the guard of this gateway ended; it is started again", code=process.returncode)
                process = gateway_guard.start(self.folder, beats)

    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """The relay's address for every build, since all are behind it."""
        host, port = str(self.relay["address"]), int(self.relay["port"])
        return {build: (Endpoint(build=build, host=host, port=port),) for build in builds}

    def _keep(self, answer: Mapping[str, Any]) -> None:
        """Store what the console said, if it is new. On a full disk the former stays; routes are applied anyway."""
        try:
            keep_connection(self.folder, answer)
        except OSError as error:
            log.warning("what the console told is not kept: its certificate for the relay is renewed", why=str(error))

    def _shippers(self) -> list[Shipper]:
        return [Shipper(path, self.console.send) for path in access_logs(self.envoy.logs)]

    def _tidy(self, shippers: list[Shipper]) -> None:
        if any(path.exists() and path.stat().st_size > ROTATE_BYTES for path in access_logs(self.envoy.logs)):
            self.envoy.rotate()
        self.envoy.rotate_own_log()
        for each in shippers:
            each.let_go()


def _all_shipped(shippers: list[Shipper]) -> bool:
    """Send what is new in each log. Returns whether nothing is left."""
    unfinished = [each for each in shippers if not each.ship()]
    return not unfinished


def keep_connection(folder: Path, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Store what the console said, if it is new, since the console may be away when this gateway starts again."""
    known = {name: answer[name] for name in ("relay", "callers", "unwatched")}
    for path, text in (
        (folder / "pair" / "pair.pem", str(known["relay"]["pair"])),
        (folder / gateway_guard.KNOWN, json.dumps(known)),
    ):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            own_folder(path.parent)
            durable.replace(path, text, mode=durable.PRIVATE)
    return known
