"""The state folder: all data of one installation on one machine, readable by its owner only."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting, Refused, TimedOut
from sluicegate.services.locking import try_lock

_SOCKET_PATH_LIMIT = 107  # bytes that a Unix socket's path may have
_LONGEST_SOCKET = "/run/supervisor.sock.00000000000"  # supervisord first binds this longer name
_UNFIT = re.compile(r"[%?#;\"'\\\x00-\x1f]")


@dataclass(frozen=True, kw_only=True)
class StateFolder:
    """The paths in the folder. Nothing is read or created before `prepare`."""

    root: Path

    @property
    def run(self) -> Path:
        """Files that matter only while programs run: sockets, definitions, records, ports."""
        return self.root / "run"

    @property
    def programs(self) -> Path:
        return self.run / "programs"

    @property
    def records(self) -> Path:
        return self.run / "records"

    @property
    def beats(self) -> Path:
        """Heartbeats of our own programs."""
        return self.run / "beats"

    @property
    def socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def tls(self) -> Path:
        """Certificates and keys for other hosts."""
        return self.root / "tls"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def check(self) -> None:
        """Raise InvalidSetting for an unsuitable path, and Refused for another user's folder."""
        path = str(self.root)
        if not self.root.is_absolute() or _UNFIT.search(path):
            raise InvalidSetting(
                f"the state folder {path!r} is not an absolute path of plain characters.",
                fix="Set SLUICE_STATE to an absolute path without quotes, %, ?, #, ; or backslashes.",
            )
        if len(os.fsencode(path + _LONGEST_SOCKET)) > _SOCKET_PATH_LIMIT:
            raise InvalidSetting(
                f"the state folder's path {path!r} is too long for the Unix sockets in it.",
                fix=f"Set SLUICE_STATE to a path of at most {_SOCKET_PATH_LIMIT - len(_LONGEST_SOCKET)} bytes.",
            )
        if self.root.exists() and (owner := self.root.stat().st_uid) != os.geteuid():
            raise Refused(
                f"the state folder {path} belongs to user {owner}, and you are user {os.geteuid()}.",
                fix="Set SLUICE_STATE to a folder of your own.",
            )

    def prepare(self) -> None:
        """Create the folders, inaccessible to other users. Raises InvalidSetting or Refused."""
        self.check()
        for folder in (self.root, self.run, self.programs, self.records, self.secrets, self.logs):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                folder.chmod(0o700)
            except OSError as error:
                raise Refused(
                    f"the state folder {folder} cannot be created: {error.strerror}.",
                    fix="Set SLUICE_STATE to a folder that you may write to.",
                ) from error

    @contextlib.contextmanager
    def locked(self, name: str, *, seconds: float, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the lock with this name; the system releases it when the process ends.

        Raises TimedOut after `seconds`, with the process that holds the lock.
        """
        with (self.run / f"{name}.lock").open("a+") as handle:
            deadline, has_noted = time.monotonic() + seconds, False
            while not try_lock(handle.fileno()):
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"`sluice` in process {holder} has locked {handle.name} for {seconds:.0f} s.",
                        fix="Wait until it is done, or end that process, and try again.",
                    )
                if on_wait and not has_noted:
                    on_wait(f"waiting for process {holder}, which is using {self.root}")
                    has_noted = True
                time.sleep(0.05)
            with contextlib.suppress(OSError):  # full disk; the pid is only information for waiting processes
                handle.truncate(0)
                os.write(handle.fileno(), str(os.getpid()).encode())
            yield
