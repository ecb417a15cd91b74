"""Answers for one bento on a Unix socket of its owner. Run as a file: `serving.py SOCKET WORKERS GRACE BENTO`.

`bentoml serve` listens on TCP alone, where every user of the machine may knock, and beside it opens the control ports
of its process arbiter, where every user of the machine may have a command run. The workers here are BentoML's own; who
minds them is this file. Standard library only: it runs in the bento's environment, which need not have Sluicegate.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_WORKER = "_bentoml_impl.worker.service"
_BACKLOG = 2048
_SETTLE_SECONDS = 30.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Worker:
    """One process that answers."""

    def __init__(self, number: int, listener: socket.socket, grace: str, bento: str) -> None:
        self.number = number
        self._began = time.monotonic()
        command = (
            sys.executable, "-m", _WORKER, bento, "--fd", str(listener.fileno()), "--backlog", str(_BACKLOG),
            "--worker-id", str(number), "--timeout-graceful-shutdown", grace,
        )  # fmt: skip
        self.process = subprocess.Popen(command, pass_fds=(listener.fileno(),), preexec_fn=_hear_signals)  # noqa: PLW1509

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def has_settled(self) -> bool:
        """Whether it answered for a while before it ended."""
        return time.monotonic() - self._began > _SETTLE_SECONDS


def main(path: str, workers: str, grace: str, bento: str) -> int:
    """Serve until told to end. A worker that ends alone is followed by another; returns the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    os.umask(0o077)
    os.environ["BENTO_PARENT_PID"] = str(os.getpid())
    listener = _listen(Path(path))
    crew = [Worker(number, listener, grace, bento) for number in range(1, int(workers) + 1)]
    while signal.sigwait(_SIGNALS) == signal.SIGCHLD:
        ended = [worker for worker in crew if not worker.lives]
        if len(ended) == len(crew) and not any(worker.has_settled for worker in ended):
            return 1  # nobody has begun to answer: whoever started us knows when to give up
        crew = [worker if worker.lives else Worker(worker.number, listener, grace, bento) for worker in crew]
    for worker in crew:
        worker.process.terminate()
    for worker in crew:
        worker.process.wait()
    return 0


def _listen(path: Path) -> socket.socket:
    """Take this place from whoever listened there before, without a moment in which nobody does."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(draft))
    listener.listen(_BACKLOG)
    draft.replace(path)
    return listener


def _hear_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
