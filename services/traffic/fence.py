"""The fence: if several processes write the files of a data plane, only the one with the newest table gets through.

A file beside them holds the token that was admitted last. Each write checks it again, under a lock, so that a keeper
that was suspended in the middle of a change, and continues after another one took over, writes nothing more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sluicegate.registry.words.errors import Fenced, TimedOut
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken
from sluicegate.services import durable
from sluicegate.services.locking import try_lock
from sluicegate.services.traffic.table import refuse_older

_PATIENCE = 3.0
"""Seconds to wait for another process, which holds the lock for one write at a time."""
_POLL = 0.002


class Fence:
    """The fence of one folder, for one process."""

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / "fence.json", folder / "fence.lock"
        self._own = BEFORE_ALL

    def token_in_force(self) -> FencingToken:
        """The token that was admitted last."""
        try:
            return FencingToken(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return BEFORE_ALL

    def enter(self, token: FencingToken) -> None:
        """Admit this table's token, and from now on no other. Raises Fenced if the table is older."""
        with self._locked():
            in_force = self.token_in_force()
            refuse_older(token, in_force)
            if token != in_force:
                spare = self._file.with_name(f".{self._file.name}.spare")
                durable.replace(self._file, json.dumps(asdict(token)), spare=spare)
        self._own = token

    def is_own(self) -> bool:
        """Whether no other token was admitted since."""
        return self.token_in_force() == self._own

    def go_on(self) -> None:
        """Take over the token that was admitted last, for the switch: its keeper is silent."""
        self._own = self.token_in_force()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Write files inside this block. Raises Fenced if another token was admitted since."""
        with self._locked():
            in_force = self.token_in_force()
            if in_force != self._own:
                refuse_older(self._own, in_force)
                raise Fenced(f"another process is applying a route table, from {in_force}.")
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not try_lock(handle):
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"another process has locked {self._lock} for {_PATIENCE:g} s.",
                        fix="check whether a second keeper hangs, and end it: sluice status.",
                    )
                time.sleep(_POLL)
            yield
        finally:
            os.close(handle)
