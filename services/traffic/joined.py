"""A gateway on another host, as the keeper sees it: the keeper leaves routes for it and reads its reports.

Keeper and console of one host share a folder: the keeper leaves the sheet of routes there, the console the gateway's
last report. A gateway counts as away once it was silent for so long that its own dead man's switch must have acted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import RoutesRejected, TimedOut, Unreachable
from sluicegate.registry.words.fencing import made_from
from sluicegate.registry.words.gateway_report import GatewayReport, Served, read_gateway_report, sheet_name
from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services import durable
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.traffic.fence import Fence
from sluicegate.services.traffic.sheet import write_sheet
from sluicegate.services.traffic.table import RouteTable

QUIET = 4.0
"""Seconds without a report after which it is unknown what a gateway serves."""
ON_THE_WAY = 4.0
"""Seconds that an answer of the console may take; a gateway ignores a later one."""
LATE = 10.0
"""Seconds after an answer of the console in which the next report must come. A later one may have been held up, by the
network or by a console that was stopped, so its gateway is asked to report again."""
_SLACK = 3.0
_POLL = 0.005
_REPORT, _RENEWED = "report", "renewed"


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """The folder of one gateway."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def place(self) -> str:
        return "on its host"

    @property
    def logs(self) -> Path:
        """The folder of the access logs that it sent."""
        return self.folder / "logs"

    @property
    def is_retired(self) -> bool:
        """Whether it ended in order, after it had sent its whole log."""
        return (self.folder / "retired").exists()

    @property
    def _beats(self) -> Heartbeats:
        return Heartbeats(folder=self.folder / "beats")

    def leave(self, text: str) -> str:
        """Leave a sheet of routes for it. Returns the sheet's name. Raises Fenced if a newer one was left, TimedOut."""
        if self.sheet() != text:
            fence = Fence(self.folder)
            fence.enter(made_from(text))
            with fence.passing():
                durable.replace(self.folder / "sheet.json", text, mode=durable.PRIVATE)
        return sheet_name(text)

    def sheet(self) -> str | None:
        """The sheet that was left last; None if there is none."""
        try:
            return (self.folder / "sheet.json").read_text(encoding="utf-8")
        except OSError:
            return None

    def stamp(self) -> tuple[int, int] | None:
        """A value that changes whenever another sheet is left."""
        try:
            status = (self.folder / "sheet.json").stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def sheet_name(self) -> str | None:
        """The name of the sheet that was left last."""
        stamp = self.stamp()
        return None if stamp is None else _name_at(self, stamp)

    def renew(self) -> None:
        """Note that a keeper watches."""
        self._beats.beat(_RENEWED)

    def renewed_at(self) -> float | None:
        """When a keeper last watched."""
        return self._beats.last(_RENEWED)

    def renewed_ago(self) -> float | None:
        """Seconds since a keeper last watched."""
        return self._beats.silence(_RENEWED)

    def is_late(self, report: Mapping[str, object], now: float) -> bool:
        """Whether a report is old, or came after a newer one. `now`: the console's clock."""
        after, last = read_gateway_report(json.dumps(report)).after, self.report().after
        is_overtaken = after is not None and last is not None and after < last <= now
        return after is None or is_overtaken or not 0 <= now - after <= LATE

    def hear(self, report: Mapping[str, object], level: float | None) -> None:
        """Store its report, and until when (seconds since 1970) its log has been received completely."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "retired").unlink(missing_ok=True)
        _write(self.folder / "report.json", json.dumps(report))
        if level is not None:
            _write(self.folder / "level", str(round(level * 1e6)))
        self._beats.beat(_REPORT)

    def retire(self) -> None:
        """Note that it has ended and its log is complete."""
        (self.folder / "retired").touch(mode=0o600)

    def report(self) -> GatewayReport:
        """Its last report."""
        try:
            return read_gateway_report((self.folder / "report.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return GatewayReport()

    def holder(self) -> str | None:
        """The instance that uses this mailbox, if it reported lately."""
        return self.report().instance if self.is_heard() else None

    def silence(self) -> float | None:
        """Seconds since its last report; None if there was none since this host started."""
        return self._beats.silence(_REPORT)

    def is_heard(self) -> bool:
        """Whether it reported lately and has not ended."""
        silence = self.silence()
        return silence is not None and silence <= QUIET and not self.is_retired

    def unwatched(self) -> Unwatched | None:
        """Since when and why it serves stable builds only, if it reported so lately."""
        return self.report().unwatched(self.name) if self.is_heard() else None

    def level(self) -> int:
        """Until when (microseconds since 1970) its log has been received completely."""
        try:
            return int((self.folder / "level").read_text())
        except (OSError, ValueError):
            return 0


@lru_cache(maxsize=64)
def _name_at(mailbox: Mailbox, _: tuple[int, int]) -> str | None:
    text = mailbox.sheet()
    return None if text is None else sheet_name(text)


def mailboxes(folder: Path) -> tuple[Mailbox, ...]:
    """The mailboxes of all gateways that ever joined."""
    return tuple(Mailbox(folder=path.parent) for path in sorted(folder.glob("*/report.json")))


class Box(Protocol):
    """Where a keeper and one gateway leave messages for each other."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    @property
    def place(self) -> str:
        """Where people find its log, in words."""
        ...

    def leave(self, text: str) -> str:
        """Leave a sheet of routes for it. Returns the sheet's name. Raises Fenced, RoutesRejected, TimedOut."""
        ...

    def report(self) -> GatewayReport:
        """Its last report."""
        ...

    def silence(self) -> float | None:
        """Seconds since its last report; None if there was none."""
        ...

    def renew(self) -> None:
        """Note that a keeper watches."""
        ...

    def renewed_at(self) -> float | None:
        """When a keeper last watched."""
        ...


def silence_limit(unwatched: float) -> float:
    """Seconds of silence after which a gateway's own switch must have acted, even with answers still on their way."""
    return unwatched + ON_THE_WAY + _SLACK


class Joined:
    """A gateway on another host, as a DataPlane for the keeper."""

    def __init__(
        self, box: Box, *, unwatched: float, patience: float = 3.0, quiet: float = QUIET,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`unwatched`: seconds without a keeper after which its switch acts; `patience`: seconds for a change; `quiet`:
        seconds without a report after which it is unknown what it serves."""
        self._box, self._limit, self._patience, self._quiet = box, silence_limit(unwatched), patience, quiet
        self._elapsed, self._began = elapsed, elapsed()
        self._given: str | None = None

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Leave it a table and wait until it serves it.

        Raises Fenced, RoutesRejected, TimedOut, and Unreachable if it is cut off; it applies the table once it is back.
        """
        self._given = name = self._box.leave(write_sheet(table, endpoints.keys()))
        deadline = self._elapsed() + self._patience
        while not self.is_away():
            report = self._report()
            if report is not None and report.has == name:
                if report.refused:
                    models, fix = frozenset(report.refused_models), f"read its log, {self._box.place}."
                    raise RoutesRejected(report.why, fix=fix, models=models, serving=report.serves if models else None)
                if report.serves == table.version:
                    return
            if self._elapsed() > deadline:
                why = "it does not answer" if report is None else report.why or "it serves other routes"
                raise TimedOut(
                    f"gateway {self._box.name} does not confirm the routes: {why}.",
                    fix=f"read its log, {self._box.place}.",
                )
            time.sleep(_POLL)
        raise Unreachable(
            f"gateway {self._box.name} has not been heard of for {self._silence():.0f} s: it is cut off, and sends "
            "requests to stable builds alone, or it does not run.",
            fix=f"check that it runs and reaches the keeper's host or cluster; its log, {self._box.place}, says more.",
        )

    def renew(self) -> None:
        """Note that a keeper watches. The gateway learns this from the console's next answer."""
        self._box.renew()

    def renewed_at(self) -> float | None:
        return self._box.renewed_at()

    def go_stable_only(self) -> bool:
        """Do nothing: the gateway's own switch does this."""
        return False

    def observe(self) -> str | None:
        """The version that it serves; None if it did not report lately."""
        report = self._report()
        return None if report is None else report.serves

    def in_flight(self, build: BuildRef) -> int | None:
        """Open requests to a build, from a report made after it got the present routes; None without such a report."""
        report = self._report()
        if report is None or report.has != self._given:
            return None
        return report.in_flight.get(str(build), 0)

    def is_away(self) -> bool:
        """Whether it was silent for so long that it serves stable builds only, if it runs at all."""
        return self._silence() > self._limit

    def served(self) -> Served | None:
        """What its logs should contain, by its last report; None if it did not report lately."""
        report = self._report()
        return None if report is None else report.served

    def _silence(self) -> float:
        since_start = self._elapsed() - self._began
        silence = self._box.silence()
        return since_start if silence is None else silence

    def _report(self) -> GatewayReport | None:
        return self._box.report() if self._silence() <= self._quiet else None


def _write(path: Path, text: str) -> None:
    """Replace the file atomically, without fsync, since the next report rewrites it soon."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
