"""Isolated virtual environments for models that need other packages than the project has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

from sluicegate.registry.words.errors import PackFailed
from sluicegate.services import durable
from sluicegate.services.bento.model_files import described_in, own_needs
from sluicegate.services.bento.process_environment import install_environment
from sluicegate.services.bento.requirements import Requirements

ISOLATED = "isolated:"
_INSTALL_SECONDS = 1800


class VirtualEnvironments:
    """The isolated environments in one folder, one for each set of requirements."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def python(self, env: str) -> Path:
        """The interpreter of an environment. Raises PackFailed if the environment does not exist."""
        if not self.has(env):
            raise PackFailed(f"the environment {env} does not exist.", fix="Pack the build again.")
        if not env.startswith(ISOLATED):
            return Path(sys.executable)
        return self._home / env.removeprefix(ISOLATED) / "bin" / "python"

    def ensure(self, requirements: Requirements, extra: tuple[str, ...] = (), *, named: str | None = None) -> str:
        """The name of an environment with these requirements. Builds it if there is none yet. Raises PackFailed.

        `named`: the name that another machine gave it, since names depend on the interpreter's path.
        """
        lines = [*requirements.lines, f"bentoml=={metadata.version('bentoml')}", *extra]
        python = _python_for(requirements)
        own = hashlib.sha256(json.dumps([sorted(lines), python]).encode()).hexdigest()[:16]
        digest = named.removeprefix(ISOLATED) if named else own
        folder = self._home / digest
        if not (folder / "ready.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self._build(folder, lines, python)
            except PackFailed:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            durable.replace(folder / "ready.json", json.dumps({"requirements": lines, "python": python}))
        return ISOLATED + digest

    def ensure_for(self, model: Path, named: str) -> None:
        """Build the environment for which another machine packed this model, under its name. Raises PackFailed."""
        if not self.has(named):
            self.ensure(Requirements.read(model), own_needs(described_in(model)), named=named)

    def has(self, env: str) -> bool:
        """Whether the environment is here and complete."""
        return not env.startswith(ISOLATED) or (self._home / env.removeprefix(ISOLATED) / "ready.json").exists()

    def names(self) -> tuple[str, ...]:
        """Every environment, complete or not."""
        return tuple(sorted(ISOLATED + path.name for path in self._home.glob("[!.]*")))

    def used_at(self, env: str) -> float:
        """When it was built or last requested, in seconds since 1970."""
        folder = self._home / env.removeprefix(ISOLATED)
        marker = folder / "ready.json"
        return (marker if marker.exists() else folder).stat().st_mtime

    def touch(self, env: str, at: datetime) -> None:
        """Note that it was requested."""
        if env.startswith(ISOLATED):
            os.utime(self._home / env.removeprefix(ISOLATED) / "ready.json", (at.timestamp(), at.timestamp()))

    def remove(self, env: str) -> None:
        """Delete an environment."""
        shutil.rmtree(self._home / env.removeprefix(ISOLATED), ignore_errors=True)

    def _build(self, folder: Path, lines: list[str], python: str) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        listed = folder.parent / f".{folder.name}.txt"
        listed.write_text("\n".join(lines) + "\n")
        interpreter = str(folder / "bin" / "python")
        uv = _uv()
        if uv is not None:
            _run(uv, "venv", "--python", python, str(folder))
            _run(uv, "pip", "install", "--compile-bytecode", "--python", interpreter, "-r", str(listed))
        else:
            _run(python, "-m", "venv", str(folder))
            _run(interpreter, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(listed))
        listed.unlink(missing_ok=True)


def _uv() -> str | None:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def _python_for(requirements: Requirements) -> str:
    """This interpreter if its minor version fits, else the path of one that fits. Raises PackFailed."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = ".".join((requirements.python or own).split(".")[:2])
    if wanted == own or not requirements.has_pickles:
        return sys.executable
    interpreter = shutil.which(f"python{wanted}")
    if interpreter is None:
        raise PackFailed(
            f"the model was saved with Python {wanted} and holds pickled code; this is Python {own}.",
            fix=f"Install python{wanted}, or log the model again with Python {own}.",
        )
    return interpreter


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        env=install_environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise PackFailed(
            f"the isolated environment could not be built:\n{tail}", fix="Correct the model's requirements."
        )
