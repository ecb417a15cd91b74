"""The fence: of several processes that write Envoy's files, the one with the newest table is let through.

What was let through last stands in a file beside them. It is looked at again before each write, under a lock: a keeper
that was stopped in the middle of a change and goes on after another one took over writes nothing more.
"""

from __future__ import annotations

import fcntl
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
from sluicegate.services.traffic.table import refuse_older

_PATIENCE = 3.0
"""Seconds to wait for another process, which holds the lock for one write at a time."""
_POLL = 0.002


class Fence:
    """The fence of one folder, as one process meets it."""

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / "fence.json", folder / "fence.lock"
        self._own = BEFORE_ALL

    def token_in_force(self) -> FencingToken:
        """What was let through last."""
        try:
            return FencingToken(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return BEFORE_ALL

    def enter(self, token: FencingToken) -> None:
        """Be let through with a table, from now on as the only one. Raises Fenced where it is an older one."""
        with self._locked():
            held = self.token_in_force()
            refuse_older(token, held)
            if token != held:
                spare = self._file.with_name(f".{self._file.name}.spare")
                durable.replace(self._file, json.dumps(asdict(token)), spare=spare)
        self._own = token

    def is_own(self) -> bool:
        """Whether nobody else was let through since."""
        return self.token_in_force() == self._own

    def go_on(self) -> None:
        """Write in the name of whoever was let through last, who says nothing any more."""
        self._own = self.token_in_force()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Write a file. Raises Fenced where another one was let through since."""
        with self._locked():
            held = self.token_in_force()
            if held != self._own:
                refuse_older(self._own, held)
                raise Fenced(f"another process is applying a route table, from {held}.")
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + _PATIENCE
            while not _try_lock(handle):
                if time.monotonic() > until:
                    raise TimedOut(
                        f"another process has locked {self._lock} for {_PATIENCE:g} s.",
                        fix="check whether a second keeper hangs, and end it: sluice status.",
                    )
                time.sleep(_POLL)
            yield
        finally:
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
