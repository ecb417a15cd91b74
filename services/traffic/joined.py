"""A gateway of another host, as the keeper sees it: it is left its routes, and says what it serves.

Keeper and console of one host meet in a folder: the keeper leaves the sheet of routes, the console what the gateway
said last. A gateway that has been silent for so long that its own dead man's switch has acted counts as away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import RoutesRejected, TimedOut, Unreachable
from sluicegate.registry.words.gateway_report import GatewayReport, read_gateway_report, sheet_name
from sluicegate.registry.words.gateways import Unwatched
from sluicegate.services import durable
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.traffic.sheet import write_sheet
from sluicegate.services.traffic.table import RouteTable

QUIET = 4.0
"""Seconds without a word after which it is not known what a gateway serves."""
ON_THE_WAY = 4.0
"""Seconds that an answer of the console may take; a gateway ignores a later one."""
_SLACK = 3.0
_POLL = 0.005
_SAID, _RENEWED = "said", "renewed"


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
        """What it sent of its access logs."""
        return self.folder / "logs"

    @property
    def is_retired(self) -> bool:
        """Whether it ended in order: it has sent all that it logged, and comes back with what it finds then."""
        return (self.folder / "retired").exists()

    @property
    def _beats(self) -> Heartbeats:
        return Heartbeats(folder=self.folder / "beats")

    def leave(self, text: str) -> str:
        """Leave a sheet for it; the sheet's name."""
        path = self.folder / "sheet.json"
        if self.sheet() != text:
            durable.replace(path, text, mode=durable.PRIVATE)
        return sheet_name(text)

    def sheet(self) -> str | None:
        """What was left last."""
        try:
            return (self.folder / "sheet.json").read_text(encoding="utf-8")
        except OSError:
            return None

    def stamp(self) -> tuple[int, int] | None:
        """What changes whenever another sheet is left."""
        try:
            there = (self.folder / "sheet.json").stat()
        except OSError:
            return None
        return there.st_ino, there.st_mtime_ns

    def sheet_name(self) -> str | None:
        """By which the sheet that was left last is known."""
        stamp = self.stamp()
        return None if stamp is None else _name_at(self, stamp)

    def renew(self) -> None:
        """Note that a keeper watches."""
        self._beats.beat(_RENEWED)

    def renewed_at(self) -> float | None:
        """When that was noted last."""
        return self._beats.last(_RENEWED)

    def renewed_ago(self) -> float | None:
        """How many seconds ago a keeper watched."""
        return self._beats.silence(_RENEWED)

    def hear(self, said: Mapping[str, object], level: float | None) -> None:
        """Note what it says of itself, and until when (seconds since 1970) all that it logged has come."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "retired").unlink(missing_ok=True)
        _write(self.folder / "said.json", json.dumps(said))
        if level is not None:
            _write(self.folder / "level", str(round(level * 1e6)))
        self._beats.beat(_SAID)

    def retire(self) -> None:
        """Note that it has ended, and that its log is whole."""
        (self.folder / "retired").touch(mode=0o600)

    def said(self) -> GatewayReport:
        """What it said last."""
        try:
            return read_gateway_report(json.loads((self.folder / "said.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return GatewayReport()

    def holder(self) -> str | None:
        """Which gateway has spoken lately, and goes on."""
        return self.said().instance if self.is_heard() else None

    def silence(self) -> float | None:
        """Seconds since then; None where it said nothing since this host started."""
        return self._beats.silence(_SAID)

    def is_heard(self) -> bool:
        """Whether it spoke lately, and goes on."""
        silence = self.silence()
        return silence is not None and silence <= QUIET and not self.is_retired

    def unwatched(self) -> Unwatched | None:
        """That it serves its stable-only form, as it said lately."""
        told = self.said().stable_only if self.is_heard() else None
        if told is None:
            return None
        return Unwatched(gateway=self.name, since=datetime.fromisoformat(told["since"]), why=told["why"])

    def level(self) -> int:
        """Until when (microseconds since 1970) all that it logged has come."""
        try:
            return int((self.folder / "level").read_text())
        except (OSError, ValueError):
            return 0


@lru_cache(maxsize=64)
def _name_at(mailbox: Mailbox, _: tuple[int, int]) -> str | None:
    text = mailbox.sheet()
    return None if text is None else sheet_name(text)


def mailboxes(folder: Path) -> tuple[Mailbox, ...]:
    """Of every gateway that ever joined."""
    return tuple(Mailbox(folder=path.parent) for path in sorted(folder.glob("*/said.json")))


class Box(Protocol):
    """What a keeper and one gateway leave for each other."""

    @property
    def name(self) -> str:
        """The gateway's."""
        ...

    @property
    def place(self) -> str:
        """Where people find its log."""
        ...

    def leave(self, text: str) -> str:
        """Leave a sheet for it; the sheet's name. Raises RoutesRejected, TimedOut."""
        ...

    def said(self) -> GatewayReport:
        """What it said last."""
        ...

    def silence(self) -> float | None:
        """Seconds since then; None where it said nothing yet."""
        ...

    def renew(self) -> None:
        """Note that a keeper watches."""
        ...

    def renewed_at(self) -> float | None:
        """When that was noted last."""
        ...


def silence_limit(unwatched: float) -> float:
    """Seconds of silence after which a gateway's own switch has acted, whatever was on its way."""
    return unwatched + ON_THE_WAY + _SLACK


class Joined:
    """One gateway of another host: a DataPlane for the keeper."""

    def __init__(
        self, box: Box, *, unwatched: float, patience: float = 3.0, quiet: float = QUIET,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`unwatched`: seconds without a keeper after which its switch acts; `patience`: seconds for a change; `quiet`:
        seconds without a word after which it is not known what it serves."""
        self._box, self._limit, self._patience, self._quiet = box, silence_limit(unwatched), patience, quiet
        self._elapsed, self._began = elapsed, elapsed()
        self._given: str | None = None

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Leave it a table and wait until it serves that. Raises RoutesRejected, TimedOut, and Unreachable where it is
        cut off: it takes the table when it is back."""
        self._given = name = self._box.leave(write_sheet(table, endpoints.keys()))
        until = self._elapsed() + self._patience
        while not self.is_away():
            said = self._said()
            if said is not None and said.has == name:
                if said.refused:
                    held, fix = frozenset(said.held), f"read its log, {self._box.place}."
                    raise RoutesRejected(said.why, fix=fix, held=held, serving=said.serves if held else None)
                if said.serves == table.version:
                    return
            if self._elapsed() > until:
                why = "it does not answer" if said is None else said.why or "it serves other routes"
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
        """Note that a keeper watches; it hears so with the console's next answer."""
        self._box.renew()

    def renewed_at(self) -> float | None:
        return self._box.renewed_at()

    def go_stable_only(self) -> bool:
        """It does so itself."""
        return False

    def observe(self) -> str | None:
        """The version that it serves, where it was heard of lately."""
        said = self._said()
        return None if said is None else said.serves

    def in_flight(self, build: BuildRef) -> int | None:
        """Requests under way, as it said after it took the present routes."""
        said = self._said()
        if said is None or said.has != self._given:
            return None
        return said.in_flight.get(str(build), 0)

    def is_away(self) -> bool:
        """Whether it was silent for so long that it serves stable builds alone, if it serves anybody."""
        return self._silence() > self._limit

    def served(self) -> Mapping[str, Any] | None:
        """What ought to stand in its logs, as it said lately; None where it said nothing."""
        said = self._said()
        return None if said is None else said.served

    def _silence(self) -> float:
        here = self._elapsed() - self._began
        silence = self._box.silence()
        return here if silence is None else silence

    def _said(self) -> GatewayReport | None:
        return self._box.said() if self._silence() <= self._quiet else None


def _write(path: Path, text: str) -> None:
    """Whole, and not for ever: it is said again soon."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
