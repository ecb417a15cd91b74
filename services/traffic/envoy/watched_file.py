"""A file that Envoy watches: publish it, wait until Envoy serves or refuses it, and keep the last good content."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.errors import RoutesRejected, TimedOut, Unreachable
from sluicegate.services import durable
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.log_files import rejection
from sluicegate.services.traffic.envoy.resource_files import keep, read_text

_POLL = 0.002
_WRITTEN_WITHIN = 1.0
_WARMING = "cluster_manager.warming_clusters"


class WatchedFile:
    """A watched file and the statistics of Envoy's subscription to it."""

    def __init__(
        self, path: Path, *, subscription: str, admin: Admin, log: Path, patience: float,
        passing: Callable[[], AbstractContextManager[None]],
    ) -> None:  # fmt: skip
        """`subscription`: prefix of the statistics' names. `patience`: seconds that Envoy may take.

        Each write happens inside `passing()`, which raises if it is not allowed.
        """
        self.path = path
        self._subscription = subscription
        self._admin = admin
        self._log = log
        self._patience = patience
        self._passing = passing

    @property
    def good(self) -> Path:
        """The file with the last content that Envoy served. It survives a crash between publishing and putting back."""
        return self.path.with_name(f"{self.path.name}.good")

    @property
    def statistics(self) -> str:
        """A regular expression for the names of the file's statistics."""
        return f"{_WARMING}|{re.escape(self._subscription)}[.](version_text|update_rejected|update_failure)"

    def version(self) -> str | None:
        """The version that Envoy serves; None before the first. Raises Unreachable."""
        return self._state().version

    def push(self, text: str, version: str, before: State | None = None) -> bool:
        """Publish, and wait until Envoy serves it. Returns False if Envoy does not answer. Undoes a refused content.

        `before`: the present state, if known. Raises RoutesRejected, TimedOut.
        """
        mark = self._log.stat().st_size if self._log.exists() else 0
        try:
            before = before or self._state()
            if before.serves(version) and read_text(self.path) == text:
                return True
            self._write(text)
            self._await(version, before.refusals, mark)
        except Unreachable:
            self._write(text)
            return False
        keep(self.path, self.good)
        return True

    def leave(self, text: str) -> None:
        """Publish without waiting, for an Envoy that does not answer now."""
        if read_text(self.path) != text:
            self._write(text)

    def _why(self, mark: int) -> str:
        """Envoy's reason. Waits for it: Envoy logs a refusal after counting it, and even later in a rotated log."""
        deadline = time.monotonic() + _WRITTEN_WITHIN
        while (why := rejection(self._log, mark)) is None and time.monotonic() < deadline:
            time.sleep(_POLL)
        return why or "its log gives no reason."

    def _await(self, version: str, refused: int, mark: int) -> None:
        deadline = time.monotonic() + self._patience
        while not (state := self._state()).serves(version):
            if state.refusals > refused:
                self._put_back()
                raise RoutesRejected(
                    f"Envoy refused {self.path.name}: {self._why(mark)} The former routes stay in force.",
                    fix="this is a fault of Sluicegate or of a plan it accepted: report it with this message.",
                )
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"Envoy did not apply {self.path.name} within {self._patience:g} s.", fix=f"see {self._log}."
                )
            time.sleep(_POLL)

    def _put_back(self) -> None:
        good = read_text(self.good)
        if good is not None:
            self._write(good)

    def _write(self, text: str) -> None:
        """Write the content, even on a full disk, since an abort must take effect."""
        with self._passing():
            durable.replace(self.path, text, spare=self.path.with_name(f".{self.path.name}.spare"))

    def state(self, stats: Mapping[str, int | str]) -> State:
        """The file's state according to these statistics."""
        refusals = (stats.get(f"{self._subscription}.update_{how}", 0) for how in ("rejected", "failure"))
        return State(
            version=str(stats.get(f"{self._subscription}.version_text", "")) or None,
            warming=int(stats.get(_WARMING, 0)),
            refusals=sum(int(count) for count in refusals),
        )

    def _state(self) -> State:
        return self.state(self._admin.stats(f"^({self.statistics})$"))


@dataclass(frozen=True, kw_only=True)
class State:
    """Envoy's state of a watched file."""

    version: str | None
    warming: int
    refusals: int

    def serves(self, version: str) -> bool:
        """Whether this version is in force and every cluster is ready."""
        return self.version == version and not self.warming
