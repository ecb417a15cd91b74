"""Executes a program, or adopts it if it is running; the supervisor runs this as `python -I -S launch.py DEFINITION`.

It uses only the standard library, so that it takes about ten milliseconds. It exists because programs must survive
their supervisor: a program writes to its own log instead of a pipe that would break, and leaves a record by which a
later supervisor identifies it. The definition is JSON, so that no shell or configuration language interprets its
values.

If the record belongs to a live process with exactly this definition, the process has outlived a supervisor and is
adopted: it keeps running, gets all signals passed on, and this process ends when it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

ROTATE_AT_BYTES = 16 << 20
OPEN_FILES = 65_536


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if /proc does not show it.

    Together with the pid and the boot id, it identifies a process uniquely, unlike a wall-clock time.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def boot_id() -> str:
    """The id of this boot of the machine; empty if the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def main() -> None:
    """Adopt a running process; otherwise set up log, folder and environment, write the record, and run the command."""
    definition = Path(sys.argv[1])
    text = definition.read_bytes()
    spec = json.loads(text)
    survivor = _survivor(Path(spec["record"]), hashlib.sha256(text).hexdigest())
    if survivor is not None:
        _wait_for(survivor)
        return
    _take_log(Path(spec["log"]))
    try:
        _reset_inheritance()
        _leave_record(Path(spec["record"]), hashlib.sha256(text).hexdigest())
        os.chdir(spec["cwd"])
        os.execvpe(spec["command"][0], spec["command"], {**os.environ, **spec["env"]})  # noqa: S606
    except OSError as error:
        sys.exit(f"sluice: {spec['name']} cannot start: {error}")


def _survivor(record: Path, digest: str) -> int | None:
    """A pidfd of the process in this record, if it is alive and was started with this definition."""
    try:
        identity = json.loads(record.read_text())
        if identity["digest"] != digest or identity["boot"] != boot_id() or identity["pid"] == os.getpid():
            return None
        handle = os.pidfd_open(identity["pid"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_it = identity["ticks"] is not None and start_ticks(identity["pid"]) == identity["ticks"]
    return handle if is_it and not _has_ended(handle, 0.0) else None


def _wait_for(handle: int) -> None:
    """Pass signals on until the process has ended. Returns early if the own supervisor has died; the next one adopts
    it."""

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)

    _reset_inheritance()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    supervisor = os.getppid()
    while not _has_ended(handle, 1.0) and os.getppid() == supervisor:
        continue


def _has_ended(handle: int, seconds: float) -> bool:
    """Whether a process ends within this time; a zombie has ended."""
    return bool(select.select([handle], [], [], seconds)[0])


def _take_log(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > ROTATE_AT_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _reset_inheritance() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _leave_record(record: Path, digest: str) -> None:
    pid = os.getpid()
    identity = {"pid": pid, "ticks": start_ticks(pid), "boot": boot_id(), "began": time.monotonic(), "digest": digest}
    draft = record.with_name(f".{record.name}.{pid}")
    draft.write_text(json.dumps(identity))
    draft.replace(record)


if __name__ == "__main__":
    main()
