"""Serves one bento. Run as a file: `serving.py SOCKET WORKERS GRACE BENTO [MEMORY]`.

SOCKET is the path of a Unix socket that only its owner can use, or, in a pod, a port number.

`bentoml serve` listens only on TCP, which every user of the machine can reach, and also opens the control ports of its
process manager, through which every user of the machine can run commands. The workers here are BentoML's own, but this
file manages them. Standard library only, since it runs in the bento's environment, which need not have Sluicegate.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

_WORKER = "_bentoml_impl.worker.service"
_BACKLOG = 2048
_SETTLE_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Worker:
    """One worker process."""

    def __init__(self, number: int, endpoint: ServiceSocket | Port, grace: str, bento: str, memory: str) -> None:
        self.number = number
        self._began = time.monotonic()
        listener = endpoint.listener.fileno()
        command = (
            sys.executable, "-m", _WORKER, bento, "--fd", str(listener), "--backlog", str(_BACKLOG),
            "--worker-id", str(number), "--timeout-graceful-shutdown", grace,
        )  # fmt: skip
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **endpoint.known_by},
            pass_fds=(listener,),
            preexec_fn=partial(_set_up, memory),  # noqa: PLW1509
        )

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def has_settled(self) -> bool:
        """Whether it has run for a while, so that its end does not count as a failed start."""
        return time.monotonic() - self._began > _SETTLE_SECONDS


class ServiceSocket:
    """The socket's path, which exists only while a worker answers. Otherwise callers fail at once instead of waiting.

    It is shut at first, so that callers turn to another replica while the model is loaded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}")
        self._owner_file = Path("socket.json").absolute()
        self._probe: socket.socket | None = None
        self.listener = self._listen()

    @property
    def known_by(self) -> dict[str, str]:
        """Environment variables by which workers that outlive this process see whether callers still reach them."""
        return {"BENTO_SOCKET": str(self._path), "BENTO_SOCKET_FILE": str(self._file)}

    @property
    def is_shut(self) -> bool:
        return not self._is_ours(self._path)

    def shut(self) -> None:
        """Drop waiting callers and remove the path, until `reopen`, because no worker answers."""
        if not self.is_shut:
            self._path.unlink()
        self.listener.close()
        self.listener = self._listen()

    def reopen(self) -> None:
        """Open the path again once a worker answers. Never waits."""
        if self._is_answered() and self._is_ours(self._draft):
            self._open()

    def _listen(self) -> socket.socket:
        self._draft.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._draft))
        listener.listen(_BACKLOG)
        self._file = self._draft.stat().st_ino
        return listener

    def _open(self) -> None:
        """Take the path over from an earlier listener, without a moment in which nobody listens.

        First writes the owner into socket.json: if that process has ended, only workers that it left answer there.
        """
        draft = self._owner_file.with_name(f".{self._owner_file.name}")
        draft.write_text(json.dumps({"pid": os.getpid(), "ticks": _start_ticks(), "file": self._file}))
        draft.replace(self._owner_file)
        self._draft.replace(self._path)

    def _is_ours(self, path: Path) -> bool:
        """Whether no other process has taken this path."""
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_ino == self._file
        return False

    def _is_answered(self) -> bool:
        try:
            if self._probe is None:
                self._probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._probe.connect(str(self._draft))
                self._probe.sendall(b"GET /readyz HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n")
                self._probe.setblocking(False)
            answer = self._probe.recv(64)
        except BlockingIOError:
            return False
        except OSError:
            answer = b""
        assert self._probe is not None
        self._probe.close()
        self._probe = None
        return b" 200 " in answer


class Port:
    """A port on all addresses. Connections are refused until a worker has loaded its model and listens."""

    known_by: Mapping[str, str] = MappingProxyType({})
    is_shut = False

    def __init__(self, number: int) -> None:
        self._number = number
        self.listener = self._bound()

    def shut(self) -> None:
        """Drop waiting callers, and refuse new ones until another worker listens."""
        self.listener.close()
        self.listener = self._bound()

    def reopen(self) -> None:
        """Do nothing: the next worker listens by itself."""

    def _bound(self) -> socket.socket:
        is_dual = socket.has_dualstack_ipv6()
        listener = socket.socket(socket.AF_INET6 if is_dual else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_dual:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::" if is_dual else "0.0.0.0", self._number))
        return listener


def main(path: str, workers: str, grace: str, bento: str, memory: str = "") -> int:
    """Serve until a signal to end. Replaces workers that end by themselves. Returns the exit status.

    `memory`: the bytes that each worker may allocate.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    os.umask(0o077)
    os.environ["BENTO_PARENT_PID"] = str(os.getpid())
    endpoint = Port(int(path)) if path.isdigit() else ServiceSocket(Path(path))
    running = [Worker(number, endpoint, grace, bento, memory) for number in range(1, int(workers) + 1)]
    while (signal_number := _next_signal(endpoint)) in (None, signal.SIGCHLD):
        if signal_number is None:
            endpoint.reopen()
            continue
        ended = [worker for worker in running if not worker.lives]
        if len(ended) == len(running):
            if not any(worker.has_settled for worker in ended):
                return 1  # no worker has started; the supervisor decides when to give up
            endpoint.shut()
        running = [
            worker if worker.lives else Worker(worker.number, endpoint, grace, bento, memory) for worker in running
        ]
    endpoint.listener.close()
    for worker in running:
        worker.process.terminate()
    for worker in running:
        worker.process.wait()
    return 0


def _next_signal(endpoint: ServiceSocket | Port) -> int | None:
    """The next signal; None after a short time while the endpoint is waiting to be opened again."""
    if not endpoint.is_shut:
        return signal.sigwait(_SIGNALS)
    received = signal.sigtimedwait(_SIGNALS, _LOOK_SECONDS)
    return None if received is None else received.si_signo


def _start_ticks() -> int | None:
    """When this process started, in clock ticks since boot; identifies it together with its pid. None without /proc."""
    try:
        return int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _set_up(memory: str) -> None:
    """Prepare a worker before it starts: unblock signals and limit its memory."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
