"""Names of keepers. A name identifies a process, so that another keeper on the same machine can see that it has ended.

Also their readable form, and the sentence on which keeper leads and which stand by.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from sluicegate.registry.ledger.record import Keeping
from sluicegate.services.host.programs.launch import boot_id, start_ticks


def own_name() -> str:
    """The name of this process: its machine, its pid, and its start time, since pids are reused."""
    return _name(os.getpid(), start_ticks(os.getpid()))


def is_gone(keeper: str) -> bool:
    """Whether a keeper of this machine has ended. False for keepers of other machines and containers."""
    machine, _, process = keeper.rpartition(":")
    pid, _, ticks = process.partition(".")
    if machine != _machine() or not pid.isdecimal() or not boot_id():
        return False
    return f"{start_ticks(int(pid))}" != ticks or _is_zombie(int(pid))


def _name(pid: int, ticks: int | None) -> str:
    return f"{_machine()}:{pid}.{ticks}"


def _machine() -> str:
    """The machine, its boot, and its pid namespace."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}-{boot_id()[:8]}-{namespace}"


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return True


def readable(keeper: str) -> str:
    """A keeper's name for people."""
    machine, _, process = keeper.rpartition(":")
    return f"process {process.partition('.')[0]} on {machine.rsplit('-', 2)[0]}"


def named_keepers(keepers: Sequence[Keeping]) -> str:
    """Which keeper leads and which stand by, in words."""
    leading = [f"{readable(each.keeper)} is in charge" for each in keepers if each.until is not None]
    waiting = [readable(each.keeper) for each in keepers if not each.term]
    others = f"; ready to take over: {', '.join(waiting)}" if waiting else ""
    return (leading[0] if leading else "no keeper is in charge") + others
