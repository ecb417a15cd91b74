"""service.json: the record of one replica on this machine, so that any process can find and restart it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from sluicegate.registry.words.build import BuildRef, Endpoint, replica_name
from sluicegate.services import durable


@dataclass(frozen=True, kw_only=True)
class ServiceRecord:
    """One replica of a service that was started and not stopped."""

    model: str
    version: str
    socket: str
    bento: str
    env: str
    replica: int = 1
    """The replica's number, from 1."""
    is_leaving: bool = False
    """Whether it is retired: it gets no new requests, and ends after its last answers."""

    @property
    def ref(self) -> BuildRef:
        return BuildRef(model=self.model, version=self.version)

    @property
    def name(self) -> str:
        """The name of its program, folder and log."""
        return replica_name(self.ref, self.replica)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(build=self.ref, socket=self.socket)

    def write(self, folder: Path) -> None:
        """Write the record durably."""
        durable.replace(folder / "service.json", json.dumps(asdict(self)))


def read_record(folder: Path) -> ServiceRecord | None:
    """The record in this folder; None if there is none."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return ServiceRecord(**json.loads((folder / "service.json").read_text()))
    return None


def is_open(record: ServiceRecord, folder: Path) -> bool:
    """Whether the replica has loaded its model and the process that manages its workers lives.

    Workers that outlive that process keep answering for a while, but nobody restarts them, and they end once the next
    process is ready.
    """
    try:
        owner = json.loads((folder / "socket.json").read_text())
        is_ours = Path(record.socket).stat().st_ino == owner["file"]
        process = psutil.Process(owner["pid"])
        return is_ours and process.status() != psutil.STATUS_ZOMBIE and _start_ticks(process.pid) == owner["ticks"]
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):
        return False


def _start_ticks(pid: int) -> int | None:
    """Same as in `serving`."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
