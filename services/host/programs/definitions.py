"""The files that define programs: for each, a JSON definition for launch.py, and a section for supervisor."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.program import Program
from sluicegate.services import durable
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.programs import launch

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,120}\Z")
RESERVED = "supervisord"
_STOP_SECONDS = 10.0


class Definitions:
    """The definitions in one state folder."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """All defined programs, in alphabetical order."""
        return tuple(sorted(path.stem for path in self._folder.programs.glob("[!.]*.conf")))

    def digest(self, program: Program) -> str:
        """The digest in the program's record if it runs as defined here."""
        return hashlib.sha256(self._json(program).encode()).hexdigest()

    def stored_digest(self, name: str) -> str | None:
        """The digest of the definition on disk; None if there is none."""
        path = self._definition(name)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def write(self, program: Program) -> None:
        """Write both files; supervisor's section last, because that is the one that is looked for."""
        if not _NAME.match(program.name) or program.name == RESERVED:
            raise InvalidSetting(
                f"{program.name!r} cannot be a program's name.",
                fix="Use lower-case letters, digits, dots, dashes and underscores.",
            )
        if not program.command:
            raise InvalidSetting(f"program {program.name} has no command.", fix="Name an executable.")
        durable.replace(self._definition(program.name), self._json(program), mode=durable.PRIVATE)
        durable.replace(self._section(program.name), self._ini(program), mode=durable.PRIVATE)

    def remove(self, name: str) -> None:
        """Delete a program's files, if they exist."""
        for path in (self._section(name), self._definition(name), self.record(name)):
            path.unlink(missing_ok=True)

    def record(self, name: str) -> Path:
        """The file in which the program records its identity when it starts."""
        return self._folder.records / name

    def log(self, name: str) -> Path:
        """The log in the program's definition, or else the default path."""
        definition = self._read(name)
        return Path(str(definition["log"])) if "log" in definition else self._folder.log(name)

    def command(self, name: str) -> tuple[str, ...]:
        """The command that launches the program."""
        return (sys.executable, "-I", "-S", launch.__file__, str(self._definition(name)))

    def stop_seconds(self, name: str) -> float:
        """The seconds that the program may take to stop."""
        return float(str(self._read(name).get("stop_seconds", _STOP_SECONDS)))

    def main_section(self) -> str:
        """The supervisor's own configuration: a Unix socket for the owner only, and no TCP."""
        return _MAIN.format(
            files=_open_files(),
            socket=self._folder.socket,
            log=self._folder.log(RESERVED),
            run=self._folder.run,
            logs=self._folder.logs,
        )

    def _read(self, name: str) -> dict[str, object]:
        try:
            definition: dict[str, object] = json.loads(self._definition(name).read_text())
        except (OSError, ValueError):
            return {}
        return definition

    def _definition(self, name: str) -> Path:
        return self._folder.programs / f"{name}.json"

    def _section(self, name: str) -> Path:
        return self._folder.programs / f"{name}.conf"

    def _json(self, program: Program) -> str:
        fields = {**asdict(program), "record": self.record(program.name)}
        return json.dumps(fields, default=str, sort_keys=True, indent=1)

    def _ini(self, program: Program) -> str:
        return _PROGRAM.format(
            name=program.name,
            command=shlex.join(self.command(program.name)).replace("%", "%%"),
            stop=max(1, round(program.stop_seconds)),
            settle=max(1, round(program.settle_seconds)),
            retries=program.retries,
        )


def _open_files() -> int:
    """The limit of open files: OPEN_FILES, or less if the machine does not allow that many."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return OPEN_FILES if allowed == resource.RLIM_INFINITY else min(OPEN_FILES, allowed)


OPEN_FILES = 20_000
"""Open files that a program may have, if the machine allows it, because Envoy handles thousands of connections."""
_MAIN = """\
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={log}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={run}/supervisord.pid
childlogdir={logs}
nocleanup=true
umask=077
minfds={files}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=programs/*.conf
"""

# Programs write to their own logs: a pipe to the supervisor would break with it.
_PROGRAM = """\
[program:{name}]
command={command}
environment=SLUICE_PROGRAM="{name}"
autostart=false
autorestart=true
startsecs={settle}
startretries={retries}
stopsignal=TERM
stopwaitsecs={stop}
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
"""
