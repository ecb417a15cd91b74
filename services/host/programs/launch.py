"""Become a program, or mind one that lives: what the supervisor runs, as `python -I -S launch.py DEFINITION`.

Standard library only, so that it costs some ten milliseconds. It exists because a program must survive its
supervisor: it writes to its own log instead of to a pipe that breaks, and it leaves a record by which a later
supervisor knows it. The definition is JSON, so no value is ever read by a shell or by a configuration language.

Where the record tells of a process that lives and runs just this definition, it has outlived a supervisor. It is then
adopted: left at work, watched, told every signal, and followed when it ends.
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
    """When the process started, in clock ticks since boot; None where /proc does not tell.

    With the pid and the boot it names one process for ever, which a wall-clock time does not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def boot_id() -> str:
    """A name of this boot of the machine; empty where the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def main() -> None:
    """Adopt who runs already; else take on log, folder and environment, leave the record, and become the command."""
    definition = Path(sys.argv[1])
    text = definition.read_bytes()
    spec = json.loads(text)
    survivor = _survivor(Path(spec["record"]), hashlib.sha256(text).hexdigest())
    if survivor is not None:
        _mind(survivor)
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
    """A handle of the process of this record, where it lives and was started with this definition."""
    try:
        known = json.loads(record.read_text())
        if known["digest"] != digest or known["boot"] != boot_id() or known["pid"] == os.getpid():
            return None
        handle = os.pidfd_open(known["pid"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_it = known["ticks"] is not None and start_ticks(known["pid"]) == known["ticks"]
    return handle if is_it and not _has_ended(handle, 0.0) else None


def _mind(handle: int) -> None:
    """Pass signals on until the process has ended. Whoever's own supervisor died leaves it to the next one."""

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
    """Whether a process ends within this time; a zombie has."""
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
    known = {"pid": pid, "ticks": start_ticks(pid), "boot": boot_id(), "began": time.monotonic(), "digest": digest}
    draft = record.with_name(f".{record.name}.{pid}")
    draft.write_text(json.dumps(known))
    draft.replace(record)


if __name__ == "__main__":
    main()
