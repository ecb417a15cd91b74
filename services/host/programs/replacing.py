"""After a supervisor has died: brings the programs that outlived it under the new one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import psutil

from sluicegate.services.host.programs.definitions import RESERVED
from sluicegate.services.host.programs.supervising import Supervisor

_LISTEN_SECONDS = 60.0


def take_over_survivors(
    supervisor: Supervisor,
    survivors: Mapping[str, Sequence[psutil.Process]],
    *,
    but: Collection[str],
    note: Callable[[str], None],
) -> None:
    """Run every defined program except those in `but`. A program that runs as defined is adopted without interruption.

    The others are replaced one at a time, each after its predecessor's successor listens, so that no two services are
    down at once. Programs that did not survive, such as after a reboot, start at once.
    """
    defined = [name for name in supervisor.definitions.names() if name not in but and name != RESERVED]
    to_replace = [name for name in defined if name in survivors and not supervisor.adopts(name)]
    for name in defined:
        if name not in to_replace:
            supervisor.revive(name)
    for name in to_replace:
        listened = _listens(survivors[name])
        note(f"replacing {name}, which survived its supervisor and does not match its definition")
        supervisor.revive(name)
        _wait_until_listens(supervisor, name, listened)


def _wait_until_listens(supervisor: Supervisor, name: str, places: set[int | str]) -> None:
    deadline = time.monotonic() + _LISTEN_SECONDS
    while not places <= _listens(supervisor.processes().get(name, ())) and time.monotonic() < deadline:
        time.sleep(0.1)


def _listens(processes: Sequence[psutil.Process]) -> set[int | str]:
    """The TCP ports and Unix sockets on which these processes listen."""
    places: set[int | str] = set()
    for process in processes:
        try:
            connections = process.net_connections(kind="all")
        except psutil.Error:
            continue
        places |= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
        places |= {str(each.laddr) for each in connections if each.family == socket.AF_UNIX and each.laddr}
    return places
