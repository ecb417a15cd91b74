"""A machine of tiny HTTP servers for the tests of services/host: real supervisor, real processes, no stack."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from sluicegate.registry.words.program import Program
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.machine import Machine, Recipe
from sluicegate.services.host.parts import HttpProbe, Part
from sluicegate.services.host.ports import choose_ports
from sluicegate.services.host.programs import identity
from sluicegate.services.host.programs.supervising import Supervisor
from sluicegate.services.host.raising import Progress
from sluicegate.services.loopback import HOST

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{sys.argv[2]} {os.getpid()}".encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SESSION_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""


def eventually(is_true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for something that must come; no test depends on how soon."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)


@contextmanager
def state_folder() -> Iterator[StateFolder]:
    """A state folder of a short path; everything that runs from it is ended afterwards, by its token."""
    root = Path(tempfile.mkdtemp(prefix="sluice-"))
    folder = StateFolder(root=root)
    folder.prepare()
    try:
        yield folder
    finally:
        token = root / "secrets" / "state_token"
        if token.exists():
            end_all(folder, token.read_text().strip())
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def supervised() -> Iterator[Supervisor]:
    """A running supervisor of a fresh folder."""
    with state_folder() as folder:
        token = f"token-of-{folder.root.name}"
        supervisor = Supervisor(folder, token)
        try:
            supervisor.start(ENVIRONMENT)
            yield supervisor
        finally:
            end_all(folder, token)


def end_all(folder: StateFolder, token: str) -> None:
    """End all processes of the token, the supervisor first so that it starts none again."""
    found = identity.ours(token, folder.records)
    identity.end(found.pop("supervisord", []), grace=0.0)
    identity.end([process for group in identity.ours(token, folder.records).values() for process in group], grace=2.0)


def program(
    folder: StateFolder, name: str, code: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Program:
    """A program of a few lines of Python."""
    command = (sys.executable, "-I", "-S", "-u", "-c", code, *arguments)
    return Program(name=name, command=command, env=env or {}, cwd=folder.root, log=folder.log(name), stop_seconds=5.0)


def server(folder: StateFolder, name: str, port: int, says: str = "hello") -> Part:
    """A part that answers `says` and its pid."""
    return Part(
        program=program(folder, name, SERVER, str(port), says),
        probe=HttpProbe(url=f"http://{HOST}:{port}/", contains=says),
    )


class Tiny:
    """A machine whose parts are tiny servers."""

    def __init__(self, folder: StateFolder, names: Sequence[str] = ("alpha", "beta")) -> None:
        self.folder = folder
        self.names = tuple(names)
        self.said: list[Progress] = []
        self.drained = 0
        self.ports = choose_ports(folder.run / "tiny.json", self.names, in_use=())

    def recipe(self) -> Recipe:
        return Recipe(
            folder=self.folder,
            environment=ENVIRONMENT,
            draw=secrets.token_bytes,
            parts=lambda site, keys: [server(self.folder, name, self.ports[name]) for name in self.names],
            prepare=lambda site: None,
            drain=lambda site: self._drain(),
            stop_first=self.names[:1],
        )

    def machine(self) -> Machine:
        return Machine(self.recipe())

    def up(self) -> None:
        self.machine().up(self.said.append, seconds=60)

    def down(self) -> bool:
        return self.machine().down(self.said.append)

    def _drain(self) -> None:
        self.drained += 1

    def supervisor(self) -> Supervisor:
        return Supervisor(self.folder, (self.folder.secrets / "state_token").read_text().strip())

    def pids(self) -> dict[str, list[int]]:
        """Live processes by program, the supervisor's apart."""
        found = self.supervisor().processes()
        return {name: sorted(each.pid for each in group) for name, group in found.items() if name != "supervisord"}


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return bool(identity.alive([psutil.Process(pid)]))
    except psutil.NoSuchProcess:
        return False
